"""Associations that we ask for: the sub-operations of a C-GET stream into the spool as any received instance does."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, SecondaryCaptureImageStorage
from pynetdicom import AE, build_context, build_role, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelGet as Get  # type: ignore[attr-defined]

from node.dicom.upper_layer import StreamingEntity
from storage.spool.queue import Spool
from tests.node.ingest.test_receiver import picture, receiver_of
from tests.support.running import free_port, program, run_peer, wait_until

COUNT = 5


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", capacity=100, free_bytes=0)


@contextmanager
def archive(datasets: list[Dataset]) -> Iterator[int]:
    """Port of a C-GET SCP that sends these, each with the statuses of its sub-operations."""

    def send(_: Any) -> Iterator[Any]:
        yield len(datasets)
        for dataset in datasets:
            yield 0xFF00, dataset

    ae, port = AE("ARCHIVE"), free_port()
    ae.add_supported_context(Get)
    ae.add_supported_context(SecondaryCaptureImageStorage, ExplicitVRLittleEndian, scu_role=True, scp_role=True)
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_GET, send)])
    assert server is not None
    try:
        yield port
    finally:
        server.shutdown()


@contextmanager
def retrieving(spool: Spool, port: int, title: str = "ARCHIVE") -> Iterator[Association]:
    """An association of ours in which an archive may store."""
    entity = StreamingEntity("LOOKALIKE", receiver_of(spool), timeout_s=20)
    contexts = [build_context(Get), build_context(SecondaryCaptureImageStorage, ExplicitVRLittleEndian)]
    role = build_role(SecondaryCaptureImageStorage, scp_role=True)
    association = entity.associate("127.0.0.1", port, contexts, title, ext_neg=[role])
    assert association.is_established
    try:
        yield association
    finally:
        association.release()


def study() -> Dataset:
    identifier = Dataset()
    identifier.QueryRetrieveLevel, identifier.StudyInstanceUID = "STUDY", "2.25.9"
    return identifier


def numbered(number: int) -> Dataset:
    dataset = picture(SOPInstanceUID=f"2.25.9.1.{number}", StudyInstanceUID="2.25.9", SeriesInstanceUID="2.25.9.1")
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def test_sub_operations_are_durable_before_they_are_answered(spool: Spool) -> None:
    with archive([numbered(number) for number in range(COUNT)]) as port, retrieving(spool, port) as association:
        last = Dataset()
        for last, _ in association.send_c_get(study(), Get):
            assert last.NumberOfCompletedSuboperations <= len(spool)

    assert (last.Status, len(spool)) == (0, COUNT)
    stored = [dcmread(entry.path) for entry in spool]
    assert {dataset.SOPInstanceUID for dataset in stored} == {f"2.25.9.1.{number}" for number in range(COUNT)}
    assert {dataset.file_meta.SourceApplicationEntityTitle for dataset in stored} == {"ARCHIVE"}
    assert not any((spool.path / "tmp").iterdir())


def test_a_sub_operation_that_is_refused_is_reported_by_the_archive(spool: Spool) -> None:
    spool.capacity = 2
    with archive([numbered(number) for number in range(COUNT)]) as port, retrieving(spool, port) as association:
        last = [status for status, _ in association.send_c_get(study(), Get)][-1]

    assert last.Status == 0xB000
    assert (last.NumberOfCompletedSuboperations, last.NumberOfFailedSuboperations) == (2, COUNT - 2)
    assert len(spool) == 2


def test_an_archive_that_goes_away_ends_the_retrieval(spool: Spool) -> None:
    def leave(event: Any) -> Iterator[Any]:
        yield 2
        yield 0xFF00, numbered(1)
        event.assoc.abort()
        yield 0xFF00, numbered(2)

    ae, port = AE("ARCHIVE"), free_port()
    ae.add_supported_context(Get)
    ae.add_supported_context(SecondaryCaptureImageStorage, ExplicitVRLittleEndian, scu_role=True, scp_role=True)
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_GET, leave)])
    assert server is not None
    try:
        with retrieving(spool, port) as association:
            statuses = [status.get("Status") for status, _ in association.send_c_get(study(), Get)]
    finally:
        server.shutdown()

    assert statuses[-1] is None
    assert set(statuses[:-1]) <= {0xFF00}, "the abort may overtake the pending response"
    assert len(spool) == 1


def test_nothing_can_be_asked_of_us_in_an_association_of_ours(spool: Spool) -> None:
    """A class for which we took no role of SCP: its data is dropped with 0122."""
    with archive([picture(SOPClassUID=MRImageStorage)]) as port, retrieving(spool, port) as association:
        last = [status for status, _ in association.send_c_get(study(), Get)][-1]

    assert last.NumberOfFailedSuboperations == 1
    assert len(spool) == 0


def test_an_archive_that_does_not_listen_is_no_association(spool: Spool) -> None:
    entity = StreamingEntity("LOOKALIKE", receiver_of(spool), timeout_s=5)

    association = entity.associate("127.0.0.1", free_port(), [build_context(Get)], "ARCHIVE")

    assert not association.is_established
    wait_until(lambda: not association.dul.is_alive(), "the thread of the upper layer to end", 10)


CONFIGURATION = """
NetworkTCPPort = {port}
MaxPDUSize = 16384
MaxAssociations = 16
HostTable BEGIN
HostTable END
VendorTable BEGIN
VendorTable END
AETable BEGIN
DCMTK {folder} RW (9, 1024mb) ANY
AETable END
"""


@pytest.mark.peers
def test_dcmtk_sends_what_we_retrieve(spool: Spool, tmp_path: Path) -> None:
    folder, port = tmp_path / "dcmtk", free_port()
    folder.mkdir()
    (tmp_path / "dcmqrscp.cfg").write_text(CONFIGURATION.format(port=port, folder=folder))
    for number in range(COUNT):
        numbered(number).save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
    command = [program("dcmqrscp"), "-c", str(tmp_path / "dcmqrscp.cfg")]
    with subprocess.Popen(command, env=os.environ | {"TCP_NODELAY": "1"}) as server:
        try:
            echo = [program("echoscu"), "-aec", "DCMTK", "127.0.0.1", str(port)]
            wait_until(lambda: run_peer(*echo, check=False).returncode == 0, "dcmqrscp to listen", 20)
            run_peer(program("storescu"), "-aec", "DCMTK", "127.0.0.1", str(port), *sorted(tmp_path.glob("*.dcm")))
            with retrieving(spool, port, "DCMTK") as association:
                last = [status for status, _ in association.send_c_get(study(), Get)][-1]
        finally:
            server.terminate()

    assert last.Status == 0
    assert len(spool) == COUNT
