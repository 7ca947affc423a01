"""An archive that is asked over C-FIND: many requests over one association, each timed."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import build_context
from pynetdicom.association import Association

from node.dicom.message_reader import InstanceStore
from node.dicom.sop_classes import STUDY_ROOT_FIND
from node.errors import PeerError, Refusal, Status, printable
from node.pull.politeness.patience import Patience
from node.query.data_set import read_data_set
from node.retrieve.source import MESSAGE_ID, SourceArchive
from node.settings import Settings

CUTTING: Final = frozenset({Status.OUT_OF_RESOURCES, Status.RESPONSE_LIMIT_REACHED, Status.CANCEL})
"""Final statuses of an archive that has more matches than it returned."""
UNABLE: Final = range(0xC000, 0xD000)
"""Final statuses of an archive that was unable to process a query (PS3.4 table C.4-1): of too wide a one, too."""
Check = Callable[[], None]


class PullStoppedError(Exception):
    """The job may not go on now: it is paused, out of its hours, or the role ends."""


@dataclass(frozen=True, slots=True)
class Found:
    """Answer to one query.

    Attributes
    ----------
    is_cut
        True if there are more matches for certain.
    """

    datasets: list[Dataset]
    is_cut: bool


class Archive:
    """One archive of the table of peers, as a job asks it.

    Parameters
    ----------
    store
        Takes the instances of C-GET.
    patience
        Is told how long the archive takes.
    rest
        Called with the seconds for which the archive is to be left alone.
    check
        Called repeatedly; what it raises ends a request.
    """

    def __init__(
        self,
        settings: Settings,
        ae_title: str,
        store: InstanceStore,
        patience: Patience,
        rest: Callable[[float], None],
        check: Check,
    ) -> None:
        self.source = SourceArchive(settings, store, ae_title)
        self.patience, self.check, self._rest = patience, check, rest
        self._silence_s = settings.retrieve_timeout_s

    @contextmanager
    def queries(self) -> Iterator["ArchiveQueries"]:
        """An association for any number of queries.

        Raises
        ------
        PeerError
            The archive cannot be reached, rejects us, or does not offer C-FIND.
        """
        self.check()
        with self.source.association([build_context(STUDY_ROOT_FIND)]) as association:
            self.source.check_accepts(association, STUDY_ROOT_FIND)
            yield ArchiveQueries(self, association)

    def responses(self, association: Association) -> Iterator[Any]:
        """Responses to the request under way; the time to the first one is noted.

        Raises
        ------
        PeerError
            The association ended, or the archive is silent for the setting `retrieve_timeout_s`.
        """
        begun_s = heard_s = time.monotonic()

        def watch() -> None:
            """Raise if the job may not go on, or the archive is silent."""
            self.check()
            if time.monotonic() - heard_s > self._silence_s:
                raise PeerError(f"archive {self.source.peer.ae_title} is silent for {self._silence_s:.0f} s")

        pause_s = None
        for response in self.source.responses(association, watch):
            heard_s = time.monotonic()
            if pause_s is None:
                pause_s = self.patience.responded(heard_s - begun_s)
            yield response
        if pause_s:
            self._rest(pause_s)


class ArchiveQueries:
    """Queries over one association."""

    def __init__(self, archive: Archive, association: Association) -> None:
        self._archive, self._association = archive, association
        self._syntax = UID(association.accepted_contexts[0].transfer_syntax[0])

    def find(self, level: str, keys: Mapping[str, str], returned: tuple[str, ...], most: int = 0) -> Found:
        """Ask for the entities of a level.

        Parameters
        ----------
        keys
            Matching keys by keyword.
        returned
            Keywords of further attributes to return.
        most
            Number of matches after which the query is cancelled; 0 for no limit.

        Raises
        ------
        PeerError
            The archive refuses the query, for another reason than the number of its matches, or went away.
        """
        self._archive.check()
        identifier = Dataset()
        identifier.QueryRetrieveLevel = level
        for keyword, value in {**dict.fromkeys(returned, ""), **keys}.items():
            setattr(identifier, keyword, value)
        self._association.send_c_find(identifier, STUDY_ROOT_FIND, MESSAGE_ID)  # its responses are read below
        datasets, is_cancelled, status, comment = [], False, Status.SUCCESS, ""
        for response in self._archive.responses(self._association):
            status, comment = response.Status, response.ErrorComment or ""
            if response.Identifier is not None and not is_cancelled:
                datasets.append(self._read(response.Identifier.getvalue()))
            if most and len(datasets) > most and not is_cancelled:
                self._association.send_c_cancel(MESSAGE_ID, query_model=STUDY_ROOT_FIND)
                is_cancelled = True
        return Found(datasets, is_cancelled or _is_cut(status, comment, self._archive.source.peer.ae_title))

    def _read(self, encoded: bytes) -> Dataset:
        try:
            return read_data_set(encoded, self._syntax)
        except Refusal as refusal:
            title = self._archive.source.peer.ae_title
            raise PeerError(f"archive {title} sends what cannot be read: {refusal}") from refusal


def _is_cut(status: int, comment: str, ae_title: str) -> bool:
    """True if a final status says that there are more matches.

    Raises
    ------
    PeerError
        It says something else than that or Success.
    """
    if status == Status.SUCCESS:
        return False
    if status in CUTTING or status in UNABLE:
        return True
    raise PeerError(f"archive {ae_title} refuses a query: status {status:04X} {printable(comment)}".rstrip())
