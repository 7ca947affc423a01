"""A PACS behind the node: a pynetdicom archive that finds, moves and gets, and destinations that take images."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage
from pynetdicom import AE, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    PatientRootQueryRetrieveInformationModelGet,
    PatientRootQueryRetrieveInformationModelMove,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from node.dicom.client import send_at_once
from tests.node.ingest.test_receiver import picture
from tests.support.running import free_port

FIND = StudyRootQueryRetrieveInformationModelFind
MOVE, PATIENT_MOVE = StudyRootQueryRetrieveInformationModelMove, PatientRootQueryRetrieveInformationModelMove
GET, PATIENT_GET = StudyRootQueryRetrieveInformationModelGet, PatientRootQueryRetrieveInformationModelGet
ALL = (FIND, MOVE, PATIENT_MOVE, GET, PATIENT_GET, Verification)
STUDY, SERIES = "2.25.9", "2.25.9.1"


def numbered(number: int) -> Dataset:
    """An image of the study."""
    dataset = picture(SOPInstanceUID=f"2.25.9.1.{number}", StudyInstanceUID=STUDY, SeriesInstanceUID=SERIES)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def study(**keys: str) -> Dataset:
    """Identifier that names the study."""
    identifier = Dataset()
    identifier.QueryRetrieveLevel, identifier.StudyInstanceUID = "STUDY", STUDY
    for keyword, value in keys.items():
        setattr(identifier, keyword, value)
    return identifier


@dataclass
class Pacs:
    """What an archive holds and does; `seen` are the identifiers it got.

    Attributes
    ----------
    destinations
        Port of each move destination it knows.
    aborts_after, pause_s
        Number of images after which it aborts the association, and time before each.
    ignores_cancel
        True if it sends everything whatever comes.
    """

    datasets: Sequence[Dataset]
    port: int = field(default_factory=free_port)
    destinations: Mapping[str, int] = field(default_factory=dict)
    services: tuple[UID, ...] = ALL
    aborts_after: int | None = None
    pause_s: float = 0
    ignores_cancel: bool = False
    seen: list[tuple[UID, Dataset]] = field(default_factory=list)

    def find(self, event: Any) -> Iterator[Any]:
        """Answer by SOP Instance UID."""
        self.seen.append((event.context.abstract_syntax, event.identifier))
        for dataset in self.datasets:
            if dataset.SOPInstanceUID == event.identifier.SOPInstanceUID:
                response = study(SeriesInstanceUID=SERIES, SOPInstanceUID=dataset.SOPInstanceUID)
                response.SOPClassUID, response.QueryRetrieveLevel = dataset.SOPClassUID, "IMAGE"
                yield 0xFF00, response

    def move(self, event: Any) -> Iterator[Any]:
        """Send to a destination."""
        port = self.destinations.get(event.move_destination)
        yield (None, None) if port is None else ("127.0.0.1", port)
        yield from self.get(event)

    def get(self, event: Any) -> Iterator[Any]:
        """Send what the request names."""
        self.seen.append((event.context.abstract_syntax, event.identifier))
        only = event.identifier.get("SOPInstanceUID")
        chosen = [dataset for dataset in self.datasets if only in (None, "", dataset.SOPInstanceUID)]
        yield len(chosen)
        for number, dataset in enumerate(chosen):
            time.sleep(self.pause_s)
            if number == self.aborts_after:
                event.assoc.abort()
            if event.is_cancelled and not self.ignores_cancel:
                yield 0xFE00, None
                return
            yield 0xFF00, dataset


@contextmanager
def running_pacs(pacs: Pacs) -> Iterator[Pacs]:
    """The archive, listening."""
    ae = AE("PACS")
    for sop_class in pacs.services:
        ae.add_supported_context(sop_class)
    ae.add_supported_context(SecondaryCaptureImageStorage, ExplicitVRLittleEndian, scu_role=True, scp_role=True)
    ae.add_requested_context(SecondaryCaptureImageStorage, ExplicitVRLittleEndian)
    handlers: list[Any] = [
        (evt.EVT_C_FIND, pacs.find),
        (evt.EVT_C_MOVE, pacs.move),
        (evt.EVT_C_GET, pacs.get),
        (evt.EVT_CONN_OPEN, send_at_once),
    ]
    server = ae.start_server(("127.0.0.1", pacs.port), block=False, evt_handlers=handlers)
    assert server is not None
    try:
        yield pacs
    finally:
        server.shutdown()


@contextmanager
def destination(received: list[str]) -> Iterator[int]:
    """Port of an application entity that takes images and notes their UIDs."""

    def note(event: Any) -> int:
        received.append(event.request.AffectedSOPInstanceUID)
        return 0

    ae, port = AE("VIEW"), free_port()
    ae.add_supported_context(SecondaryCaptureImageStorage)
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, note)])
    assert server is not None
    try:
        yield port
    finally:
        server.shutdown()


def peers(source: int, view: int = 1) -> dict[str, Any]:
    """Settings of a node with this source PACS, and VIEW as move destination; SECRET may get nothing."""
    entry = {"host": "127.0.0.1", "port": source}
    table = {"PACS": entry, "VIEW": entry | {"port": view, "move_destination": True}, "SECRET": entry}
    return {"peers": table, "source_peer": "PACS", "peer_timeout_s": 5}


def counts(status: Dataset) -> tuple[int | None, ...]:
    """Status, and numbers of completed, failed, warning and remaining sub-operations."""
    names = ("Completed", "Failed", "Warning", "Remaining")
    return status.Status, *(status.get(f"NumberOf{name}Suboperations") for name in names)
