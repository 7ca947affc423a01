"""STOW-RS: what is named as stored is durable in the spool byte for byte; what is not has its reason."""

import io
import json
import struct
import tracemalloc
from collections.abc import Iterator, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from node.dicom.sop_classes import VERIFICATION
from node.errors import Status
from node.ingest.receiver import PREAMBLE
from tests.support.web.web_archive import BASE, WebArchive, served, web_archive

BOUNDARY = "edge-of-a-part"
TYPE = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
HEADERS = {"Content-Type": TYPE}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebArchive]:
    with web_archive(tmp_path_factory.mktemp("web") / "home", [], max_stored_part_bytes=1 << 22) as archive:
        yield archive


@pytest.fixture(autouse=True)
def empty(archive: WebArchive) -> None:
    archive.spool.remove(list(archive.spool))


def file(uid: str = "2.25.7.1.1", syntax: UID = ExplicitVRLittleEndian, pixels: bytes = b"\1\2\3\4") -> bytes:
    """A DICOM file of study 2.25.7."""
    dataset, meta = Dataset(), FileMetaDataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, uid
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "2.25.7", "2.25.7.1"
    dataset.PatientName, dataset.PixelData = "Doe^Jane", pixels
    dataset["PixelData"].VR = "OW"
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = (
        CTImageStorage,
        UID(uid),
        syntax,
    )
    octets = io.BytesIO()
    dataset.file_meta = meta
    dataset.save_as(octets, enforce_file_format=True)
    return octets.getvalue()


def body(*parts: bytes, kind: str = "application/dicom", end: bytes = b"--\r\n") -> bytes:
    head = f"\r\n--{BOUNDARY}\r\nContent-Type: {kind}\r\n\r\n".encode()
    return b"".join(head + part for part in parts) + f"\r\n--{BOUNDARY}".encode() + end


def post(archive: WebArchive, content: Any, path: str = "/studies", **headers: str) -> Any:
    return archive.client.post(BASE + path, content=content, headers=HEADERS | headers)


def waiting(archive: WebArchive) -> list[str]:
    return [entry.sop_instance_uid for entry in archive.spool]


def reasons(answer: Any, tag: str = "00081198") -> list[int]:
    return [item["00081197"]["Value"][0] for item in answer.json()[tag]["Value"]]


def pieces(content: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    for size in sizes:
        yield content[:size]
        content = content[size:]
    yield content


@given(st.lists(st.integers(1, 400), max_size=12), st.sampled_from([ExplicitVRLittleEndian, ImplicitVRLittleEndian]))
@settings(max_examples=25, deadline=None)
def test_a_file_lies_in_the_spool_however_it_comes_in_pieces(
    archive: WebArchive, sizes: Sequence[int], syntax: UID
) -> None:
    archive.spool.remove(list(archive.spool))
    sent = [file(f"2.25.7.1.{number}", syntax, pixels=bytes([13, 10, 45, 45]) * 9) for number in range(2)]

    answer = post(archive, pieces(body(*sent), sizes))

    assert answer.status_code == 200, answer.text
    assert waiting(archive) == ["2.25.7.1.0", "2.25.7.1.1"]
    for entry, original in zip(archive.spool, sent, strict=True):
        kept, was = (dcmread(io.BytesIO(octets)) for octets in (entry.path.read_bytes(), original))
        assert kept == was
        assert entry.path.read_bytes().endswith(original[-60:])


def test_the_answer_names_each_stored_instance_and_where_it_will_be(archive: WebArchive) -> None:
    answer = post(archive, body(file()), Accept="application/dicom+json")
    in_xml = post(archive, body(file()), Accept="application/dicom+xml")

    found = Dataset.from_json(answer.json())
    assert answer.headers["content-type"] == "application/dicom+json"
    stored = found.ReferencedSOPSequence[0]
    assert (stored.ReferencedSOPClassUID, stored.ReferencedSOPInstanceUID) == (CTImageStorage, "2.25.7.1.1")
    assert stored.RetrieveURL.endswith("/dicom-web/studies/2.25.7/series/2.25.7.1/instances/2.25.7.1.1")
    assert "FailedSOPSequence" not in found
    assert in_xml.text.count("2.25.7.1.1") == 2


@pytest.mark.parametrize(
    ("part", "tag", "reason"),
    [
        (file().replace(b"2.25.7.1.1", b"2.25.7.1.9", 1), "00081198", Status.DATA_SET_MISMATCH),
        (file().replace(CTImageStorage.encode(), VERIFICATION.ljust(25, "\0").encode(), 1), "00081198", 0x0122),
        (file()[:-2], "00081198", Status.CANNOT_UNDERSTAND),
        (file(pixels=b"\0" * (5 << 20)), "00081198", Status.OUT_OF_RESOURCES),
        (b"hello", "0008119A", Status.CANNOT_UNDERSTAND),
        (b"", "0008119A", Status.CANNOT_UNDERSTAND),
        (PREAMBLE, "0008119A", Status.CANNOT_UNDERSTAND),
        (PREAMBLE + b"\xff" * 300, "0008119A", Status.CANNOT_UNDERSTAND),
        (PREAMBLE + struct.pack("<HH2sHI", 2, 1, b"OB", 0, 1 << 31) + b"\0" * 70_000, "0008119A", 0xC000),
        (file().replace(b"2.25.7.1.1", b"../../x.7."), "00081198", Status.DATA_SET_MISMATCH),
    ],
)  # fmt: skip
def test_a_part_that_cannot_be_stored_costs_only_itself(
    archive: WebArchive, part: bytes, tag: str, reason: int
) -> None:
    alone, beside = post(archive, body(part)), post(archive, body(part, file("2.25.7.1.2")))

    assert (alone.status_code, beside.status_code) == (503 if reason == Status.OUT_OF_RESOURCES else 409, 202)
    assert reasons(alone, tag) == reasons(beside, tag) == [reason]
    assert waiting(archive) == ["2.25.7.1.2"]
    assert list((archive.resources.settings.spool_path / "tmp").iterdir()) == []


def test_instances_of_another_study_than_that_in_the_path_are_refused(archive: WebArchive) -> None:
    own, other = post(archive, body(file()), "/studies/2.25.7"), post(archive, body(file()), "/studies/2.25.8")

    assert (own.status_code, other.status_code, reasons(other)) == (200, 409, [Status.DATA_SET_MISMATCH])
    assert own.json()["00081190"]["Value"] == ["http://127.0.0.1/dicom-web/studies/2.25.7"]


def test_a_part_of_another_media_type_is_not_stored(archive: WebArchive) -> None:
    answer = post(archive, body(file(), kind="application/json"))

    assert (answer.status_code, reasons(answer, "0008119A"), waiting(archive)) == (409, [0xC000], [])


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (body(), TYPE, 400),
        (b"", TYPE, 400),
        (b"nothing of the kind", TYPE, 400),
        (body(file()), 'multipart/related; type="application/dicom"', 400),
        (body(file()), f"multipart/related; boundary={'x' * 71}", 400),
        (body(file()), "multipart/related; boundary=another", 400),
        (file(), "application/dicom", 415),
        (body(file()), f'multipart/related; type="application/dicom+json"; boundary={BOUNDARY}', 415),
        (f"--{BOUNDARY}\r\n".encode() + b"X: y\r\n" * 5000, TYPE, 409),
        (f"--{BOUNDARY}\r\nX: ".encode() + b"y" * 1_000_000, TYPE, 409),
    ],
)
def test_a_malformed_body_is_refused(archive: WebArchive, content: bytes, content_type: str, status: int) -> None:
    answer = archive.client.post(f"{BASE}/studies", content=content, headers={"Content-Type": content_type})

    assert (answer.status_code, waiting(archive)) == (status, [])


def test_a_body_that_is_cut_says_which_instances_are_stored(archive: WebArchive) -> None:
    answer = post(archive, body(file("2.25.7.1.2"), file("2.25.7.1.3"), end=b"")[:-60])

    assert answer.status_code == 202
    assert reasons(answer) == [Status.CANNOT_UNDERSTAND]
    assert waiting(archive) == ["2.25.7.1.2"]


def stream(connection: HTTPConnection, content: Iterator[bytes]) -> tuple[int, Any]:
    """Status and JSON of the answer to a body that is sent in chunks, each when the one before is under way."""
    connection.request("POST", f"{BASE}/studies", content, HEADERS, encode_chunked=True)
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def test_a_large_body_is_never_whole_in_memory(archive: WebArchive) -> None:
    head, block = body(file(pixels=b""), end=b"")[: -len(BOUNDARY) - 4], bytes(1 << 20)

    with served(archive) as connection:
        tracemalloc.start()
        status, answer = stream(connection, (head if number == 0 else block for number in range(100)))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert (status, answer["00081198"]["Value"][0]["00081155"]["Value"]) == (503, ["2.25.7.1.1"])
    assert most < 20 << 20


def test_a_request_beyond_the_limit_of_all_keeps_what_it_names(tmp_path: Path) -> None:
    sent = body(*[file(f"2.25.7.1.{number}", pixels=bytes(100_000)) for number in range(9)])
    with web_archive(tmp_path / "home", [], max_stored_request_bytes=500_000) as archive:
        with served(archive) as connection:
            status, answer = stream(connection, pieces(sent, [50_000] * 17))

        named = [item["00081155"]["Value"][0] for item in answer["00081199"]["Value"]]
        assert (post(archive, sent).status_code, status) == (413, 202)
        assert waiting(archive) == named
        assert 0 < len(named) < 9


def test_a_full_spool_is_to_try_again(tmp_path: Path) -> None:
    with web_archive(tmp_path / "home", []) as archive:
        for number in range(9):
            archive.spool.put([b"x"], f"1.{number}")

        answer = post(archive, body(file()))

        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        assert len(waiting(archive)) == 9
