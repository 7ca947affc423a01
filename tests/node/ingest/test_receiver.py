"""C-STORE: what is durable, and what is refused before anything is kept."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    SecondaryCaptureImageStorage,
)
from pynetdicom.dsutils import encode

from node.dicom.command_set import C_STORE_RQ, Request
from node.errors import Refusal, Status
from node.ingest.pressure import Pressure
from node.ingest.receiver import Receiver
from node.ingest.refusals import Refusals
from node.settings import Settings
from node.version import IMPLEMENTATION_CLASS_UID
from storage.spool.queue import Spool
from tests.support.dicom.answering import AMPLE_BYTES, Node, answering_node
from tests.support.hashing.images import image

SOP_INSTANCE_UID = "2.25.1"
SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
UNKNOWN_SYNTAX = UID("1.2.840.113619.5.99")


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", capacity=3, free_bytes=0)


def picture(**attributes: Any) -> Dataset:
    return image(np.arange(64, dtype=np.uint8).reshape(8, 8), PatientID="P", Modality="OT", **attributes)


def octets_of(dataset: Dataset, syntax: UID = ExplicitVRLittleEndian) -> bytes:
    octets = encode(
        dataset,
        syntax == ImplicitVRLittleEndian,
        syntax != ExplicitVRBigEndian,
        syntax == DeflatedExplicitVRLittleEndian,
    )
    assert octets is not None
    return octets


def receiver_of(spool: Spool, **values: Any) -> Receiver:
    """Return a receiver that keeps nobody waiting, unless told otherwise."""
    chosen = Settings(home=spool.path, **{"longest_delay_s": 0, "receiver_memory_bytes": AMPLE_BYTES, **values})
    return Receiver(spool, Pressure(spool, chosen), Refusals(spool.path / "run", 1))


def store(
    spool: Spool,
    octets: bytes | None,
    syntax: UID = ExplicitVRLittleEndian,
    sop_instance_uid: str = SOP_INSTANCE_UID,
    calling_ae_title: str = "MODALITY",
) -> Refusal | None:
    """Let an instance arrive in pieces, as from the network."""
    request = Request(C_STORE_RQ, 1, SecondaryCaptureImageStorage, sop_instance_uid, octets is not None)
    receiving = receiver_of(spool).begin(request, syntax, calling_ae_title)
    octets = octets or b""
    for start in range(0, len(octets), 50):
        receiving.write(memoryview(octets)[start : start + 50])
    return receiving.finish()


def refused(
    spool: Spool,
    octets: bytes | None,
    syntax: UID = ExplicitVRLittleEndian,
    sop_instance_uid: str = SOP_INSTANCE_UID,
) -> Refusal:
    refusal = store(spool, octets, syntax, sop_instance_uid)
    assert refusal is not None
    assert len(spool) == 0
    assert not any((spool.path / "tmp").iterdir())
    assert str(refusal) == refusal.comment, "no comment is cut off"
    return refusal


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_what_is_stored_is_a_dicom_file_of_the_very_bytes_received(spool: Spool, syntax: UID) -> None:
    octets = octets_of(picture(), syntax)

    assert store(spool, octets, syntax, calling_ae_title="MODALITY 1") is None

    [entry] = spool
    stored = dcmread(entry.path)
    assert stored.file_meta.TransferSyntaxUID == syntax
    assert stored.file_meta.MediaStorageSOPClassUID == SecondaryCaptureImageStorage
    assert stored.file_meta.MediaStorageSOPInstanceUID == stored.SOPInstanceUID == SOP_INSTANCE_UID
    assert stored.file_meta.SourceApplicationEntityTitle == "MODALITY 1"
    assert stored.file_meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert entry.path.read_bytes().endswith(octets)
    assert spool.is_waiting(SOP_INSTANCE_UID)


@pytest.mark.parametrize("syntax", [UNKNOWN_SYNTAX, JPEG2000Lossless])
def test_a_transfer_syntax_that_is_not_known_is_kept_all_the_same(spool: Spool, syntax: UID) -> None:
    assert store(spool, octets_of(picture()), syntax) is None

    [entry] = spool
    assert dcmread(entry.path, stop_before_pixels=True).file_meta.TransferSyntaxUID == syntax


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(
    ("changes", "offending"),
    [
        ({"SOPInstanceUID": "2.25.2"}, Tag("SOPInstanceUID")),
        ({"SOPInstanceUID": None}, Tag("SOPInstanceUID")),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, Tag("SOPClassUID")),
        ({"SOPClassUID": None}, Tag("SOPClassUID")),
    ],
)
def test_uids_that_are_missing_or_not_those_of_the_command_are_refused(
    spool: Spool, syntax: UID, changes: dict[str, str | None], offending: int
) -> None:
    dataset = picture()
    for keyword, value in changes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)

    refusal = refused(spool, octets_of(dataset, syntax), syntax)

    assert (refusal.status, refusal.offending) == (Status.DATA_SET_MISMATCH, offending)


@pytest.mark.parametrize("octets", [None, b""])
def test_a_command_without_data_set_is_refused(spool: Spool, octets: bytes | None) -> None:
    assert refused(spool, octets).status == Status.DATA_SET_MISMATCH


@pytest.mark.parametrize("uid", ["../../etc/passwd", "1.2.3/4", "1.2 3", ""])
def test_an_instance_whose_uid_is_none_is_refused(spool: Spool, uid: str) -> None:
    assert refused(spool, octets_of(picture()), sop_instance_uid=uid).status == Status.DATA_SET_MISMATCH


@settings(max_examples=60, deadline=None)
@given(octets=st.binary(max_size=200), syntax=st.sampled_from(SYNTAXES))
def test_garbage_is_refused_and_never_kept(
    tmp_path_factory: pytest.TempPathFactory, octets: bytes, syntax: UID
) -> None:
    spool = Spool(tmp_path_factory.getbasetemp() / "garbage", capacity=3, free_bytes=0)

    assert refused(spool, octets, syntax).status in (Status.CANNOT_UNDERSTAND, Status.DATA_SET_MISMATCH)


@pytest.mark.parametrize(
    ("octets", "syntax"),
    [
        (b"this is no deflated stream", DeflatedExplicitVRLittleEndian),
        (b"\x08\x00\x05\x00SQ\0\0\xff\xff\xff\xff" + b"x" * 40, ExplicitVRLittleEndian),
    ],
)
def test_a_stream_that_cannot_be_parsed_is_not_understood(spool: Spool, octets: bytes, syntax: UID) -> None:
    assert refused(spool, octets, syntax).status == Status.CANNOT_UNDERSTAND


def test_a_full_spool_refuses_until_there_is_room_again(spool: Spool) -> None:
    octets = octets_of(picture())
    for _ in range(spool.capacity):
        assert store(spool, octets) is None

    refusal = store(spool, octets)

    assert refusal is not None
    assert (refusal.status, refusal.comment) == (Status.OUT_OF_RESOURCES, "busy, retry")
    assert len(spool) == spool.capacity
    spool.remove(spool.take(1))
    assert store(spool, octets) is None


def test_a_full_disk_refuses(tmp_path: Path) -> None:
    spool = Spool(tmp_path, capacity=3, free_bytes=1 << 60)

    refusal = refused(spool, octets_of(picture()))

    assert (refusal.status, refusal.comment) == (Status.OUT_OF_RESOURCES, "disk full, retry later")


def test_an_association_that_ends_in_the_middle_leaves_nothing(spool: Spool) -> None:
    request = Request(C_STORE_RQ, 1, SecondaryCaptureImageStorage, SOP_INSTANCE_UID, has_data_set=True)
    receiving = receiver_of(spool).begin(request, ExplicitVRLittleEndian, "MODALITY")
    receiving.write(memoryview(octets_of(picture())))

    receiving.abandon()

    assert len(spool) == 0
    assert not any((spool.path / "tmp").iterdir())


def test_a_disk_that_fills_up_on_the_way_refuses(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fdatasync", full)

    refusal = refused(spool, octets_of(picture()))

    assert (refusal.status, refusal.comment) == (Status.OUT_OF_RESOURCES, "disk full, retry later")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with answering_node(tmp_path_factory.mktemp("node")) as node:
        yield node


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_an_instance_sent_over_an_association_waits_with_its_sender(node: Node, syntax: UID) -> None:
    spool = node.finder.retriever.spool
    dataset = picture()
    dataset.file_meta.TransferSyntaxUID = syntax
    association = node.associate(SecondaryCaptureImageStorage, syntax)

    status = association.send_c_store(dataset)
    association.release()

    [entry] = spool
    assert status.Status == 0
    assert dcmread(entry.path).file_meta.SourceApplicationEntityTitle == "CLIENT"
    spool.remove([entry])


def test_a_sender_is_told_that_the_spool_is_full(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    association = node.associate(SecondaryCaptureImageStorage)
    monkeypatch.setattr(node.finder.retriever.spool, "capacity", 0)

    status = association.send_c_store(picture())
    association.release()

    assert (status.Status, status.ErrorComment) == (0xA700, "busy, retry")
