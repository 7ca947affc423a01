"""Reports of storage commitment that did not reach their peers at once: over associations of their own."""

import logging
import time
from collections.abc import Callable
from threading import Event
from typing import Any, Final

from pydicom.uid import UID
from pynetdicom import build_context, build_role

from node.commitment.request import COMMITMENT_INSTANCE
from node.commitment.request_book import RequestBook, WaitingRequest
from node.commitment.service import HERE_S
from node.commitment.verdict import Judge, report
from node.dicom.client import Peer, PeerConnection
from node.dicom.sop_classes import STORAGE_COMMITMENT
from node.errors import PeerError, Status
from node.settings import Settings

logger = logging.getLogger(__name__)

LOOK_S: Final = 1.0
AFTER_S: Final = HERE_S + 3.0
"""Age from which a request is reported here: no association reports it any more."""
FIRST_PAUSE_S, MAX_PAUSE_S = 2.0, 300.0


class CommitmentReporter:
    """Reports what waits, again until the peer takes it or `commitment_limit_s` is over. One process runs one."""

    def __init__(self, settings: Settings, judge: Judge) -> None:
        self._settings, self._judge = settings, judge
        self._book = RequestBook(settings.commitments_path)
        self._pauses: dict[str, tuple[float, float]] = {}

    def run(self, stop: Event) -> None:
        """Report until `stop` is set."""
        self._book.sweep()
        while not stop.wait(LOOK_S):
            self.report_all(lambda: not stop.is_set())

    def report_all(self, goes_on: Callable[[], bool] = lambda: True) -> None:
        """Try once each report that is due."""
        for waiting in self._book.waiting():
            age_s, (_, not_before_s) = time.time() - waiting.received_s, self._pauses.get(waiting.name, (0.0, 0.0))
            if goes_on() and age_s >= AFTER_S and time.monotonic() >= not_before_s:
                self._try(waiting, is_overdue=age_s > self._settings.commitment_limit_s)

    def _try(self, waiting: WaitingRequest, *, is_overdue: bool) -> None:
        verdict = self._judge.judge(waiting.request)
        if verdict.undecided and not is_overdue:
            return
        try:
            self._send(waiting, *report(waiting.request, verdict.given_up(), self._settings.ae_title))
        except (PeerError, OSError) as error:
            if not is_overdue:
                pause_s, _ = self._pauses.get(waiting.name, (FIRST_PAUSE_S, 0.0))
                self._pauses[waiting.name] = min(2 * pause_s, MAX_PAUSE_S), time.monotonic() + pause_s
                logger.warning("storage commitment is not reported to %s yet: %s", waiting.caller, error)
                return
            logger.error("storage commitment is never reported to %s: %s", waiting.caller, error)
        self._pauses.pop(waiting.name, None)
        self._book.remove(waiting)

    def _send(self, waiting: WaitingRequest, event_type: int, information: Any) -> None:
        peer = Peer.of(self._settings, waiting.caller)
        roles = [build_role(STORAGE_COMMITMENT, scp_role=True)]
        with PeerConnection(peer, [build_context(STORAGE_COMMITMENT)], roles=roles) as association:
            try:
                status, _ = association.send_n_event_report(
                    information, event_type, STORAGE_COMMITMENT, UID(COMMITMENT_INSTANCE)
                )
            except (ValueError, RuntimeError) as error:  # the peer does not take it in this role, or is gone
                raise PeerError(f"{peer} takes no report") from error
        if status.get("Status") != Status.SUCCESS:
            raise PeerError(f"{peer} refused the report")
        logger.info("storage commitment reported to %s: event %d", waiting.caller, event_type)
