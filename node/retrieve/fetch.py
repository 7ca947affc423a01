"""An example that the node lacks is fetched from the source PACS, so that a query by example can be answered."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import ALL_TRANSFER_SYNTAXES, build_context, build_role
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation

from node.dicom.sop_classes import STUDY_ROOT_FIND, STUDY_ROOT_GET, STUDY_ROOT_MOVE, Service, service_of
from node.errors import PeerError, Refusal, Status
from node.query.data_set import read_data_set
from node.retrieve.source import MESSAGE_ID, SourceArchive, Watch
from node.settings import Settings
from storage.spool.queue import Spool

logger = logging.getLogger(__name__)

WAIT_S: Final = 0.05
"""Interval at which the spool is looked at while an example is indexed."""
RELATIONAL: Final = b"\x01"
"""Extended negotiation of relational queries (PS3.4 C.5.1.1): the study and series of the example are not known."""
UNIQUE_KEYS: Final = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


class ExampleFetcher:
    """Fetches single instances from the source PACS into the spool, by C-GET, or else by C-MOVE to ourselves."""

    def __init__(self, settings: Settings, source: SourceArchive, spool: Spool) -> None:
        self._settings, self._source, self._spool = settings, source, spool

    def fetch(self, sop_instance_uids: Sequence[str], check: Watch) -> list[str]:
        """Fetch instances, and wait until they are indexed or set aside; all together for `fetch_limit_s` at most.

        Parameters
        ----------
        check
            Called repeatedly; an error that it raises ends the fetch.

        Returns
        -------
        list of str
            SOP Instance UIDs of those that the PACS delivered, even if they are not indexed yet.
        """
        deadline_s = time.monotonic() + self._settings.fetch_limit_s
        watch, delivered = _watch(check, deadline_s), []
        for uid in sop_instance_uids:
            try:
                if self._deliver(uid, watch, deadline_s):
                    delivered.append(uid)
            except PeerError as error:
                logger.warning("example %s cannot be fetched: %s", uid, error)
        while any(map(self._spool.is_waiting, delivered)) and time.monotonic() < deadline_s:
            check()
            time.sleep(WAIT_S)
        return delivered

    def _deliver(self, sop_instance_uid: str, watch: Watch, deadline_s: float) -> bool:
        """Have the PACS deliver an instance; True if it did."""
        response = self._find(sop_instance_uid, watch, deadline_s)
        if response is None:
            logger.info("example %s is not in the source PACS either", sop_instance_uid)
            return False
        request = Dataset()
        request.QueryRetrieveLevel = "IMAGE"
        for keyword in UNIQUE_KEYS:
            setattr(request, keyword, response.get(keyword, ""))
        try:
            if self._get(request, str(response.get("SOPClassUID", "")), watch, deadline_s):
                return True
        except PeerError as error:
            logger.warning("no C-GET of example %s: %s", sop_instance_uid, error)
        return self._move(request, watch, deadline_s)

    def _find(self, sop_instance_uid: str, watch: Watch, deadline_s: float) -> Dataset | None:
        """Response of the PACS that names study, series and SOP class of an instance; None if it has none."""
        query = Dataset()
        query.QueryRetrieveLevel = "IMAGE"
        query.StudyInstanceUID = query.SeriesInstanceUID = query.SOPClassUID = ""
        query.SOPInstanceUID = sop_instance_uid
        relational = SOPClassExtendedNegotiation()
        relational.sop_class_uid, relational.service_class_application_information = STUDY_ROOT_FIND, RELATIONAL
        contexts, limit_s = [build_context(STUDY_ROOT_FIND)], _left(deadline_s)
        instance = None
        with self._source.association(contexts, [relational], limit_s=limit_s) as association:
            self._source.check_accepts(association, STUDY_ROOT_FIND)
            syntax = association.accepted_contexts[0].transfer_syntax[0]
            association.send_c_find(query, STUDY_ROOT_FIND, MESSAGE_ID)  # its responses are read below
            for response in self._source.responses(association, watch):
                if response.Identifier is not None and instance is None:
                    instance = _readable(response.Identifier.getvalue(), syntax)
        return instance if instance is not None and instance.get("SOPInstanceUID") == sop_instance_uid else None

    def _get(self, request: Dataset, sop_class_uid: str, watch: Watch, deadline_s: float) -> bool:
        """Request one instance by C-GET; it arrives in the spool as any other."""
        if service_of(sop_class_uid) is not Service.STORAGE:
            raise PeerError("the source PACS does not name its SOP class")
        contexts = [build_context(STUDY_ROOT_GET)]  # then one for each syntax: the PACS need not convert anything
        contexts += [build_context(sop_class_uid, syntax) for syntax in ALL_TRANSFER_SYNTAXES]
        roles = [build_role(UID(sop_class_uid), scp_role=True)]
        with self._source.association(contexts, roles, limit_s=_left(deadline_s)) as association:
            self._source.check_accepts(association, STUDY_ROOT_GET)
            association.send_c_get(request, STUDY_ROOT_GET, MESSAGE_ID)
            return _delivered(list(self._source.responses(association, watch))[-1])

    def _move(self, request: Dataset, watch: Watch, deadline_s: float) -> bool:
        """Request one instance by C-MOVE to our own listener."""
        with self._source.association([build_context(STUDY_ROOT_MOVE)], limit_s=_left(deadline_s)) as association:
            self._source.check_accepts(association, STUDY_ROOT_MOVE)
            association.send_c_move(request, self._settings.ae_title, STUDY_ROOT_MOVE, MESSAGE_ID)
            return _delivered(list(self._source.responses(association, watch))[-1])


def _delivered(response: Any) -> bool:
    """True if the final response tells of an instance that arrived."""
    completed = (response.NumberOfCompletedSuboperations or 0) + (response.NumberOfWarningSuboperations or 0)
    return completed > 0 or (response.Status == Status.SUCCESS and response.NumberOfCompletedSuboperations is None)


def _readable(encoded: bytes, syntax: UID) -> Dataset | None:
    try:
        return read_data_set(encoded, syntax)
    except Refusal as refusal:
        logger.warning("a response of the source PACS cannot be read: %s", refusal)
        return None


def _left(deadline_s: float) -> float:
    """Time that is left, seconds.

    Raises
    ------
    PeerError
        None is left.
    """
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise PeerError("the time for it is over")
    return left_s


def _watch(check: Callable[[], None], deadline_s: float) -> Watch:
    def watch() -> None:
        """Raise if the caller is gone or the time is over."""
        check()
        _left(deadline_s)

    return watch
