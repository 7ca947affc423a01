"""Instances collected from the source PACS by C-GET, for a reader that takes one DICOM file after the other."""

import logging
from collections.abc import Container, Iterator, Mapping, Sequence
from queue import Empty, Full, Queue
from tempfile import SpooledTemporaryFile
from threading import Event, Thread
from typing import IO, Final

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import ALL_TRANSFER_SYNTAXES, build_context, build_role

from node.dicom.command_set import Request
from node.dicom.message_sink import DataSink
from node.dicom.sop_classes import STUDY_ROOT_GET
from node.errors import PeerError, Refusal, Status
from node.ingest.receiver import PREAMBLE, file_meta
from node.retrieve.caller import SubOperations
from node.retrieve.forward import IN_MEMORY_BYTES
from node.retrieve.source import CHECK_S, MESSAGE_ID, SourceArchive
from node.settings import Settings

logger = logging.getLogger(__name__)

MAX_CONTEXTS: Final = 127
"""Presentation contexts beside that of C-GET: their IDs are odd, 1 to 255 (PS3.8 9.3.2.2)."""


class Collector:
    """Collects instances from the source PACS; a reader that stops reading ends the retrieval.

    Parameters
    ----------
    hidden
        SOP Instance UIDs of instances that are taken from the source PACS but never handed on.
    """

    def __init__(self, settings: Settings, source: SourceArchive, hidden: Container[str]) -> None:
        self._settings, self._source, self._hidden = settings, source, hidden

    def collect(
        self, unique_keys: Mapping[str, str], sop_classes: Sequence[str], transfer_syntaxes: Sequence[str] = ()
    ) -> Iterator[IO[bytes]]:
        """Yield each instance as a DICOM file at its beginning, which is closed when the next one is asked for.

        Parameters
        ----------
        unique_keys
            Values of the unique keys by keyword; the lowest one given is the level of the retrieval.
        sop_classes
            SOP classes that the instances may have.
        transfer_syntaxes
            Transfer syntaxes to accept; none to take each instance as the PACS stores it, which spares converting it.

        Raises
        ------
        PeerError
            The PACS cannot be reached, does not offer C-GET, or did not send everything.
        """
        inbox = _Inbox(self._settings, self._hidden)
        contexts = _contexts(sop_classes, transfer_syntaxes)
        thread = Thread(target=self._run, args=[inbox, _request(unique_keys), contexts], daemon=True)
        thread.start()
        try:
            while (file := inbox.next()) is not None:
                with file:
                    yield file
        finally:
            inbox.close()
            thread.join()

    def _run(self, inbox: "_Inbox", request: Dataset, contexts: Sequence[tuple[UID, str]]) -> None:
        roles = [build_role(sop_class, scp_role=True) for sop_class in dict(contexts)]
        proposed = [build_context(STUDY_ROOT_GET), *(build_context(*context) for context in contexts)]
        try:
            with self._source.association(proposed, roles, inbox) as association:
                self._source.check_accepts(association, STUDY_ROOT_GET)
                association.send_c_get(request, STUDY_ROOT_GET, MESSAGE_ID)  # its responses are read below
                *_, last = self._source.responses(association, inbox.watch)
            inbox.end(_failure(last.Status, SubOperations.of(last)))
        except PeerError as error:
            inbox.end(error)
        except _ClosedError:
            logger.info("a retrieval ended early: its reader is gone")
        except Exception:
            logger.exception("internal error while collecting instances")
            inbox.end(PeerError("internal error: see the log of the node"))


class _ClosedError(Exception):
    """Nobody reads any more."""


class _Inbox:
    """The `InstanceStore` of a retrieval: it holds one whole instance until the reader takes it."""

    def __init__(self, settings: Settings, hidden: Container[str]) -> None:
        self.settings, self._hidden, self._closed = settings, hidden, Event()
        self._queue: Queue[IO[bytes] | PeerError | None] = Queue(1)

    def begin(self, request: Request, transfer_syntax: UID, sending_ae_title: str) -> DataSink:
        """Let one instance arrive."""
        if request.sop_instance_uid in self._hidden:
            logger.info("%s is hidden by a rejection note: not handed on", request.sop_instance_uid)
            return _HiddenInstance()
        return _CollectedInstance(self, PREAMBLE + file_meta(request, transfer_syntax, sending_ae_title))

    def note(self, request: Request, refusal: Refusal, sending_ae_title: str) -> None:
        """Log what the source PACS was refused."""
        logger.warning("refused %04XH of %s: %s", request.command_field, sending_ae_title, refusal)

    def next(self) -> IO[bytes] | None:
        """Wait for the next file; None after the last. Raises the PeerError that the retrieval ended with."""
        found = self._queue.get()
        if isinstance(found, PeerError):
            raise found
        return found

    def end(self, error: PeerError | None) -> None:
        """Tell the reader that nothing follows."""
        self.put(error)

    def put(self, item: IO[bytes] | PeerError | None) -> bool:
        """Hand an item to the reader once it has taken the one before; False if it is gone."""
        while not self._closed.is_set():
            try:
                self._queue.put(item, timeout=CHECK_S)
            except Full:
                continue
            return True
        return False

    def close(self) -> None:
        """Take nothing more, and drop what was not read."""
        self._closed.set()
        try:
            left = self._queue.get_nowait()
        except Empty:
            return
        if left is not None and not isinstance(left, PeerError):
            left.close()

    def watch(self) -> None:
        """Raise `_ClosedError` once nobody reads any more."""
        if self._closed.is_set():
            raise _ClosedError


class _HiddenInstance:
    """An instance that is read and handed to nobody (a `DataSink`)."""

    def write(self, piece: memoryview) -> None:
        """Drop the next piece of the data set."""

    def finish(self) -> None:
        """Return no refusal: to the source PACS the instance has arrived."""

    def abandon(self) -> None:
        """Keep nothing."""


class _CollectedInstance:
    """One instance on its way (a `DataSink`); beyond `IN_MEMORY_BYTES` it lies in an unnamed temporary file."""

    def __init__(self, inbox: _Inbox, head: bytes) -> None:
        self._inbox, self._size = inbox, 0
        self._file: IO[bytes] = SpooledTemporaryFile(IN_MEMORY_BYTES, dir=str(inbox.settings.home))  # noqa: SIM115
        self._file.write(head)
        self._refusal: Refusal | None = None

    def write(self, piece: memoryview) -> None:
        """Take the next piece of the data set."""
        self._size += len(piece)
        if self._size > self._inbox.settings.max_relayed_bytes:
            self._refusal = Refusal(Status.OUT_OF_RESOURCES, "larger than max_relayed_bytes")
        elif self._refusal is None:
            try:
                self._file.write(piece)
            except OSError as error:
                logger.error("an instance on its way cannot be written: %s", error.strerror)
                self._refusal = Refusal(Status.OUT_OF_RESOURCES, "no room for the instance")

    def finish(self) -> Refusal | None:
        """Hand the instance to the reader; return why it could not have it."""
        self._file.seek(0)
        if self._refusal is None and not self._inbox.put(self._file):
            self._refusal = Refusal(Status.SUBOPERATIONS_NOT_PERFORMED, "nobody reads any more")
        if self._refusal is not None:
            self._file.close()
        return self._refusal

    def abandon(self) -> None:
        """Drop what came."""
        self._file.close()


def _request(unique_keys: Mapping[str, str]) -> Dataset:
    request = Dataset()
    levels = {"StudyInstanceUID": "STUDY", "SeriesInstanceUID": "SERIES", "SOPInstanceUID": "IMAGE"}
    for keyword, level in levels.items():
        if keyword in unique_keys:
            setattr(request, keyword, unique_keys[keyword])
            request.QueryRetrieveLevel = level
    return request


def _contexts(sop_classes: Sequence[str], transfer_syntaxes: Sequence[str]) -> list[tuple[UID, str]]:
    """SOP class and transfer syntax of each context to propose, a context for each pair as far as they reach."""
    syntaxes = transfer_syntaxes or ALL_TRANSFER_SYNTAXES
    pairs = [(UID(sop_class), syntax) for syntax in syntaxes for sop_class in sop_classes]
    return pairs[:MAX_CONTEXTS]


def _failure(status: int, counts: SubOperations) -> PeerError | None:
    if status == Status.SUCCESS and not counts.failed:
        return None
    return PeerError(f"the source PACS did not send everything: status {status:04X}, {counts.failed or 0} failed")
