"""Received files that are damaged or odd: read on, and nothing is taken for missing that may only be unreadable."""

import struct
import zlib
from pathlib import Path

import pytest
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    KeyObjectSelectionDocumentStorage,
)

from hashing.images.pixel_error import PixelError
from node.errors import NO_PIXELS
from node.ingest.outcome import Outcome, Prepared, Unusable
from node.ingest.preparation import prepare
from node.ingest.reading import Received, read_received
from tests.support.dicom.hostile import (
    END_OF_ITEM,
    END_OF_SEQUENCE,
    ITEM,
    SEQUENCE,
    UNDEFINED,
    body,
    file_of,
    picture,
    plain,
    with_elements,
)

MIB = 1 << 20
BITS_ALLOCATED = b"\x28\0\0\1"
PIXEL_DATA = b"\xe0\x7f\x10\0"


def received(octets: bytes, folder: Path, limit: int = 64 * MIB) -> Received:
    path = folder / "object"
    path.write_bytes(octets)
    return read_received(path, limit)


def outcome(octets: bytes, folder: Path) -> Outcome:
    path = folder / "object"
    path.write_bytes(octets)
    return prepare(path, 1, 32, 8)


def before(tag: bytes, element: bytes) -> bytes:
    """A good file with an element before another one."""
    data = body(picture(1))
    at = data.index(tag)
    return file_of(data[:at] + element + data[at:])


def short(tag: tuple[int, int], vr: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2sH", *tag, vr, len(value)) + value


def long(tag: tuple[int, int], vr: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2sHL", *tag, vr, 0, len(value)) + value


INVALID = [
    short((0x0028, 0x0034), b"  ", b"\x88\x13"),
    short((0x0028, 0x0034), b"\0\0", b"1\\1 "),
    short((0x0028, 0x0034), b"us", b"1\\1 " * 100),
    short((0x0028, 0x0034), b"??", b""),
    short((0x0028, 0x0034), b"XX", b"1\\1 "),
    long((0x0028, 0x0034), b"XX", b"1\\1 "),
    long((0x0028, 0x0034), b"ZZ", bytes(70_000)),
    long((0x0028, 0x0034), b"--", bytes(70_000)),
    struct.pack("<HHL", 0x0028, 0x0034, 4) + b"1\\1 ",  # in implicit VR
    short((0x0028, 0x0034), b"  ", b"12") + short((0x0028, 0x0035), b"\0 ", b"1234"),
    short((0x0029, 0x0010), b"@@", b"OWNER "),
]


@pytest.mark.parametrize("element", INVALID)
def test_an_element_with_an_invalid_vr_costs_only_itself(tmp_path: Path, element: bytes) -> None:
    good, odd = outcome(plain(1), tmp_path), outcome(before(BITS_ALLOCATED, element), tmp_path)

    assert isinstance(good, Prepared)
    assert isinstance(odd, Prepared), odd
    assert odd.record == good.record


@pytest.mark.parametrize("element", INVALID[:5])
@pytest.mark.parametrize("is_measured", [True, False])
def test_an_invalid_vr_inside_a_sequence_costs_only_itself(tmp_path: Path, element: bytes, is_measured: bool) -> None:
    nested = short((0x0008, 0x1150), b"UI", b"1.2.3.4\0") + element
    if is_measured:
        item = ITEM + struct.pack("<L", len(nested)) + nested
        sequence = SEQUENCE + struct.pack("<L", len(item)) + item
    else:
        sequence = SEQUENCE + UNDEFINED + ITEM + UNDEFINED + nested + END_OF_ITEM + END_OF_SEQUENCE

    assert isinstance(outcome(with_elements(1, sequence), tmp_path), Prepared)


@pytest.mark.parametrize(
    "octets",
    [
        before(BITS_ALLOCATED, short((0x0028, 0x0034), b"LO", b"")[:6] + b"\xf0\xff"),
        before(BITS_ALLOCATED, struct.pack("<HH2sHL", 0x0028, 0x0034, b"UN", 0, 0x7FFFFFF0)),
        before(BITS_ALLOCATED, b"\xfe\xff\x0d\xe0\0\0\0\0"),
        before(BITS_ALLOCATED, b"garbage"),
        plain(1)[: plain(1).index(BITS_ALLOCATED)] + b"\x28\0",
        plain(1)[: plain(1).rindex(PIXEL_DATA)] + bytes(9),
    ],
)
def test_an_image_that_cannot_be_read_to_its_end_is_not_readable_and_kept(tmp_path: Path, octets: bytes) -> None:
    why = outcome(octets, tmp_path)

    assert isinstance(why, Unusable)
    assert (why.reason, why.keeps_bytes) == ("not-readable", True)


def test_an_image_whose_pixels_another_element_has_swallowed_is_kept(tmp_path: Path) -> None:
    data = body(picture(1))
    at = data.index(BITS_ALLOCATED)
    swallowing = long((0x0028, 0x0034), b"UN", data[at:])

    why = outcome(file_of(data[:at] + swallowing), tmp_path)

    assert isinstance(why, Unusable)
    assert (why.reason, why.keeps_bytes) == (NO_PIXELS, True)


@pytest.mark.parametrize("value", [b"", None])
def test_an_image_without_pixels_is_kept(tmp_path: Path, value: bytes | None) -> None:
    dataset = picture(1)
    del dataset.PixelData
    if value is not None:
        dataset.PixelData = value
        dataset["PixelData"].VR = "OW"

    why = outcome(file_of(body(dataset)), tmp_path)

    assert isinstance(why, Unusable)
    assert (why.reason, why.keeps_bytes) == (NO_PIXELS, True)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_a_report_that_was_read_to_its_end_is_the_only_object_whose_bytes_go(tmp_path: Path, syntax: UID) -> None:
    dataset = picture(1, SOPClassUID=KeyObjectSelectionDocumentStorage)
    del dataset.PixelData
    dataset.file_meta.TransferSyntaxUID = syntax
    path = tmp_path / "report"
    dataset.save_as(path, enforce_file_format=True)

    why = prepare(path, 1, 32, 8)

    assert isinstance(why, Unusable)
    assert (why.reason, why.keeps_bytes) == (NO_PIXELS, False)
    path.write_bytes(path.read_bytes()[:-3])
    cut = prepare(path, 1, 32, 8)
    assert isinstance(cut, Unusable)
    assert (cut.reason, cut.keeps_bytes) == ("not-readable", True)


def deflated(size: int, padding: bytes) -> bytes:
    dataset = picture(1, Rows=size, Columns=1024, BitsAllocated=8, BitsStored=8, HighBit=7)
    dataset.PixelData = bytes(range(256)) * 4 * size
    dataset["PixelData"].VR = "OB"
    deflater = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    return file_of(deflater.compress(body(dataset)) + deflater.flush() + padding, DeflatedExplicitVRLittleEndian)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("size", [900, 1200, 3000])
@pytest.mark.parametrize("padding", [b"", b"\0", b"\0" * 5000, b"odd"])
def test_what_follows_a_deflated_data_set_is_padding(tmp_path: Path, size: int, padding: bytes) -> None:
    assert isinstance(outcome(deflated(size, padding), tmp_path), Prepared)


def test_a_deflated_data_set_that_grows_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PixelError, match="too large"):
        received(deflated(3000, b"\0"), tmp_path, limit=2 * MIB)


def test_a_disk_that_cannot_be_read_says_nothing_of_the_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("node.ingest.reading.dcmread", failing)

    why = outcome(plain(1), tmp_path)

    assert isinstance(why, Unusable)
    assert why.is_environmental
