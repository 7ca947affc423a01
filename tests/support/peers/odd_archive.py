"""An archive that answers over real associations and misbehaves as archives do: cuts, halves, refuses, slows, dies."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage
from pynetdicom import AE, evt

from node.dicom.client import send_at_once
from tests.support.peers.pacs import FIND, GET
from tests.support.running import free_port

LEVELS = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}


@dataclass
class OddArchive:
    """What it holds, and what is wrong with it.

    Attributes
    ----------
    cuts_at
        Number of matches of any query that it returns, always with Success.
    halves
        Number of C-GETs of which it sends only every other image, and says B000.
    silent
        True if it then says 0000 instead.
    refuses
        Number of associations that it refuses at first.
    delay_s
        Time before each response.
    sent
        SOP Instance UIDs that it sent, each as often as it did.
    asked
        Time of each request.
    """

    datasets: Sequence[Dataset]
    cuts_at: int = 10**9
    halves: int = 0
    silent: bool = False
    refuses: int = 0
    delay_s: float = 0
    never: frozenset[str] = frozenset()
    port: int = field(default_factory=free_port)
    sent: list[str] = field(default_factory=list)
    asked: list[float] = field(default_factory=list)
    lock: Any = field(default_factory=Lock)

    def accept(self, event: Any) -> None:
        """Refuse the first associations, for now (PS3.8 9.3.4)."""
        with self.lock:
            self.refuses -= 1
            refused = self.refuses >= 0
        if refused:
            event.assoc.acse.send_reject(2, 3, 2)
            event.assoc.kill()

    def find(self, event: Any) -> Iterator[Any]:
        """Answer at a level by dates, times, UIDs and Patient ID."""
        self.asked.append(time.monotonic())
        request = event.identifier
        keyword = LEVELS[request.QueryRetrieveLevel]
        found: dict[str, list[Dataset]] = {}
        for dataset in self.datasets:
            if matches(dataset, request):
                found.setdefault(dataset[keyword].value, []).append(dataset)
        for group in list(found.values())[: self.cuts_at]:
            if event.is_cancelled:
                yield 0xFE00, None
                return
            time.sleep(self.delay_s)
            yield 0xFF00, response(request, group)

    def get(self, event: Any) -> Iterator[Any]:
        """Send what is named, or half of it."""
        self.asked.append(time.monotonic())
        time.sleep(self.delay_s)
        chosen = [
            one for one in self.datasets if matches(one, event.identifier) and one.SOPInstanceUID not in self.never
        ]
        half, self.halves = self.halves > 0, self.halves - 1
        coming = chosen[::2] if half else chosen
        yield len(coming if self.silent else chosen)
        for dataset in coming:
            self.sent.append(dataset.SOPInstanceUID)
            yield 0xFF00, dataset
        if half and not self.silent:
            failed = Dataset()
            failed.FailedSOPInstanceUIDList = [one.SOPInstanceUID for one in chosen[1::2]]
            yield 0xB000, failed


def matches(dataset: Dataset, request: Dataset) -> bool:
    """Whether a data set matches the keys of a request."""
    for element in request:
        keyword, wanted = element.keyword, element.value
        if keyword == "QueryRetrieveLevel" or element.is_empty:
            continue
        value = str(dataset.get(keyword) or "")
        if isinstance(wanted, str) and keyword in ("StudyDate", "StudyTime"):
            first, _, last = wanted.partition("-")
            if not value or not first <= value <= (last or first):
                return False
        elif isinstance(wanted, str) and wanted.endswith("*"):
            if not value.startswith(wanted[:-1]):
                return False
        elif value not in ([str(wanted)] if isinstance(wanted, str | int | float) else [str(one) for one in wanted]):
            return False
    return True


def response(request: Dataset, group: Sequence[Dataset]) -> Dataset:
    """A response with what was asked for of an entity."""
    answer = Dataset()
    answer.QueryRetrieveLevel = request.QueryRetrieveLevel
    for element in request:
        keyword = element.keyword
        if keyword == "ModalitiesInStudy":
            answer.ModalitiesInStudy = sorted({one.Modality for one in group})
        elif keyword.startswith("NumberOf"):
            setattr(answer, keyword, str(len(group)))
        elif keyword != "QueryRetrieveLevel" and keyword in group[0]:
            setattr(answer, keyword, group[0][keyword].value)
    return answer


@contextmanager
def running_archive(archive: OddArchive) -> Iterator[OddArchive]:
    """The archive, listening."""
    ae = AE("PACS")
    for sop_class in (FIND, GET):
        ae.add_supported_context(sop_class)
    ae.add_supported_context(SecondaryCaptureImageStorage, ExplicitVRLittleEndian, scu_role=True, scp_role=True)
    handlers: list[Any] = [
        (evt.EVT_C_FIND, archive.find),
        (evt.EVT_C_GET, archive.get),
        (evt.EVT_CONN_OPEN, send_at_once),
        (evt.EVT_REQUESTED, archive.accept),
    ]
    server = ae.start_server(("127.0.0.1", archive.port), block=False, evt_handlers=handlers)
    assert server is not None
    try:
        yield archive
    finally:
        server.shutdown()
