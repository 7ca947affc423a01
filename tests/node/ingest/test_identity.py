"""UIDs are checked in the first bytes of a data set, and garbage is told from a data set that names others."""

import json
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
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

from node.dicom.command_set import C_STORE_RQ, Request
from node.errors import Refusal, Status
from node.ingest import identity
from node.ingest.identity import HEAD_BYTES, SOP_CLASS_UID, SOP_INSTANCE_UID, IdentityCheck, head_by_pydicom, walk
from tests.node.ingest.test_receiver import SYNTAXES, octets_of, picture

PLAIN = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)
REQUEST = Request(C_STORE_RQ, 1, SecondaryCaptureImageStorage, "2.25.1", has_data_set=True)
GARBAGE = {
    "nothing but zeros": bytes(5000),
    "nothing but ones": b"\xff" * 5000,
    "text": b"This is not a data set, it is a letter to a radiologist. " * 90,
    "JSON": json.dumps({"00080018": {"vr": "UI", "Value": ["2.25.1"]}}).encode() * 9,
    "XML": b"<?xml version='1.0'?><NativeDicomModel/>" * 20,
    "a JPEG": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01" + bytes(range(256)) * 9,
    "a gzip file": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03" + bytes(range(255, 0, -1)) * 9,
    "a PDF": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<</Type/Catalog>>\nendobj\n" * 9,
    "an HTTP request": b"POST /studies HTTP/1.1\r\nHost: node\r\n\r\n" * 9,
    "a file with its preamble": bytes(128) + b"DICM\x02\x00\x00\x00UL\x04\x00" + bytes(range(256)),
    "one byte": b"\x08",
    "a tag and no more": b"\x08\x00\x05\x00",
    "an item": b"\xfe\xff\x00\xe0\x10\x00\x00\x00" + bytes(16),
    "counting bytes": bytes(range(256)) * 20,
}


def verdict(octets: bytes, syntax: UID = ExplicitVRLittleEndian, size: int = 50) -> Status:
    """Status that a data set gets which comes in fragments of a size."""
    check = IdentityCheck(REQUEST, syntax)
    try:
        for start in range(0, len(octets), size):
            check.take(memoryview(octets)[start : start + size])
        check.finish()
    except Refusal as refusal:
        return refusal.status
    return Status.SUCCESS


@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_fragments_of_any_size_name_the_instance(syntax: UID, size: int) -> None:
    assert verdict(octets_of(picture(), syntax), syntax, size) == Status.SUCCESS


@pytest.mark.filterwarnings("ignore:Expected (im|ex)plicit VR")
@pytest.mark.parametrize("name", GARBAGE)
@pytest.mark.parametrize("syntax", [*SYNTAXES, JPEG2000Lossless])
def test_garbage_is_not_understood(name: str, syntax: UID) -> None:
    assert verdict(GARBAGE[name], syntax) == Status.CANNOT_UNDERSTAND


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(
    "changes",
    [
        {"SOPInstanceUID": "2.25.2"},
        {"SOPInstanceUID": None},
        {"SOPInstanceUID": ""},
        {"SOPClassUID": None},
        {"SOPClassUID": None, "SOPInstanceUID": None},
    ],
)
def test_a_data_set_that_names_another_instance_or_none_is_a_mismatch(
    syntax: UID, changes: dict[str, str | None]
) -> None:
    dataset = picture(StudyDescription="A study")
    for keyword, value in changes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)

    assert verdict(octets_of(dataset, syntax), syntax) == Status.DATA_SET_MISMATCH


@pytest.mark.parametrize("syntax", PLAIN)
def test_a_data_set_cut_within_an_element_of_its_first_bytes_is_never_a_success(syntax: UID) -> None:
    octets = octets_of(picture(ImageType=["ORIGINAL", "PRIMARY"]), syntax)
    ends = {len(octets), *_ends(octets, syntax)}

    for length in range(1, len(octets)):
        outcome = verdict(octets[:length], syntax, 100_000)
        if length not in ends:
            assert outcome == Status.CANNOT_UNDERSTAND, f"cut after {length} of {len(octets)} bytes"


def _ends(octets: bytes, syntax: UID) -> set[int]:
    """Offsets at which elements end: a data set cut there is whole as far as anybody can see."""
    return {
        length
        for length in range(len(octets))
        if walk(octets[:length], is_implicit=syntax == ImplicitVRLittleEndian, is_big=syntax == ExplicitVRBigEndian).end
        <= length
    }


def test_pixels_that_are_cut_far_behind_the_first_bytes_are_noticed() -> None:
    octets = octets_of(picture()) + b"\xfc\xff\xfc\xffOB\0\0" + (1 << 20).to_bytes(4, "little") + bytes(1 << 20)

    assert verdict(octets, size=9999) == Status.SUCCESS
    assert verdict(octets[:-1], size=9999) == Status.CANNOT_UNDERSTAND


def test_an_odd_value_representation_behind_the_uids_refuses_nothing() -> None:
    octets = octets_of(picture()).replace(b"\x10\x00\x20\x00LO", b"\x10\x00\x20\x00??")

    assert verdict(octets) == Status.SUCCESS


@pytest.mark.filterwarnings("ignore:Expected implicit VR")
def test_explicit_data_in_a_context_of_implicit_vr_is_still_identified() -> None:
    assert verdict(octets_of(picture()), ImplicitVRLittleEndian) == Status.SUCCESS


def test_a_sequence_before_the_uids_is_passed() -> None:
    language = Dataset()
    language.CodeValue = "en"
    dataset = picture(LanguageCodeSequence=Sequence([language]))
    dataset["LanguageCodeSequence"].is_undefined_length = True

    assert verdict(octets_of(dataset)) == Status.SUCCESS


def test_a_zero_behind_the_end_does_no_harm() -> None:
    assert verdict(octets_of(picture()) + b"\0") == Status.SUCCESS


def test_a_deflated_stream_that_is_none_is_not_understood() -> None:
    deflated = octets_of(picture(), DeflatedExplicitVRLittleEndian)

    assert verdict(zlib.compress(b"x" * 99), DeflatedExplicitVRLittleEndian) == Status.CANNOT_UNDERSTAND
    assert verdict(deflated[:20], DeflatedExplicitVRLittleEndian) == Status.CANNOT_UNDERSTAND


def test_a_plain_head_needs_no_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "head_by_pydicom", None)

    assert verdict(octets_of(picture(ImageType=["DERIVED"]))) == Status.SUCCESS


def test_no_more_than_the_first_bytes_are_held() -> None:
    check = IdentityCheck(REQUEST, ImplicitVRLittleEndian)

    for _ in range(100):
        check.take(memoryview(b"\x08\x00\x05\x00\xf0\xff\xff\xff" + bytes(HEAD_BYTES // 9)))

    assert len(check._head) == HEAD_BYTES


@settings(max_examples=150, deadline=None)
@given(
    texts=st.lists(st.text("ABC ", max_size=15), min_size=3, max_size=3),
    syntax=st.sampled_from(PLAIN),
    left_out=st.sets(st.sampled_from(["SOPClassUID", "SOPInstanceUID", "StudyDate"])),
)
def test_the_walk_sees_the_uids_that_pydicom_sees(texts: list[str], syntax: UID, left_out: set[str]) -> None:
    attributes: dict[str, Any] = {"ImageType": texts[:2], "StudyDescription": texts[2], "SpecificCharacterSet": ""}
    dataset = picture(StudyDate="20200101", **attributes)
    for keyword in left_out:
        delattr(dataset, keyword)
    octets = octets_of(dataset, syntax)

    walked = walk(octets, is_implicit=syntax == ImplicitVRLittleEndian, is_big=syntax == ExplicitVRBigEndian)

    assert walked.uids == head_by_pydicom(octets, syntax)
    assert (walked.fault, walked.end) == (None, len(octets))
    assert set(walked.uids) <= {SOP_CLASS_UID, SOP_INSTANCE_UID}
    assert all(Tag(tag).group == 8 for tag in walked.uids)
