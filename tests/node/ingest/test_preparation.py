"""From a spooled file to what is kept: the same content however it is encoded, and a reason for what is unusable."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import config as pydicom_config
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileDataset
from pydicom.multival import MultiValue
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from node.dicom.hierarchy import ATTRIBUTES
from node.errors import NO_PIXELS
from node.ingest.outcome import Prepared, Unusable
from node.ingest.preparation import prepare
from storage.record import LEVELS, Level, patient_key
from storage.spool.set_aside import REASON
from tests.support.hashing.images import image, scene

SIZE, MOST_FRAMES = 32, 3
NAME = "SECRET^NAME"
UIDS = {"SOPInstanceUID": "2.25.1.1.1", "SeriesInstanceUID": "2.25.1.1", "StudyInstanceUID": "2.25.1"}


@pytest.fixture(autouse=True)
def _as_in_a_worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Odd values raise no warning, as `limit_process` sets it."""
    monkeypatch.setattr(pydicom_config.settings, "reading_validation_mode", pydicom_config.IGNORE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def picture(*, bits: int = 8, **attributes: Any) -> Dataset:
    pixels = scene(40, 36, 1 << bits).astype(np.uint16 if bits > 8 else np.uint8)
    dataset = image(pixels, **UIDS, PatientID="P1", PatientName=NAME, Modality="OT", InstanceNumber="7")
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def written(dataset: Dataset, folder: Path, syntax: UID = ExplicitVRLittleEndian) -> Path:
    """File of a data set in a transfer syntax; compressed where that says so."""
    path = folder / "instance.dcm"
    if syntax == ExplicitVRBigEndian and dataset.BitsAllocated == 16:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").byteswap().tobytes()
    if syntax.is_compressed and syntax != DeflatedExplicitVRLittleEndian:
        dataset.compress(syntax, generate_instance_uid=False)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path, enforce_file_format=True)
    return path


def prepared(path: Path) -> Prepared:
    outcome = prepare(path, 5, SIZE, MOST_FRAMES)
    assert isinstance(outcome, Prepared), outcome
    return outcome


def unusable(path: Path) -> Unusable:
    outcome = prepare(path, 5, SIZE, MOST_FRAMES)
    assert isinstance(outcome, Unusable), outcome
    assert REASON.fullmatch(outcome.reason)
    assert "SECRET" not in outcome.detail
    return outcome


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize(
    "syntax",
    [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless, JPEGLSLossless,
     JPEG2000Lossless],
)  # fmt: skip
def test_a_lossless_re_encoding_is_the_same_content(tmp_path: Path, syntax: UID, bits: int) -> None:
    plain = prepared(written(picture(bits=bits, BitsStored=bits, HighBit=bits - 1), tmp_path))

    again = prepared(written(picture(bits=bits, BitsStored=bits, HighBit=bits - 1), tmp_path, syntax))

    assert np.array_equal(again.images, plain.images)
    assert (again.record, again.pixel_digest) == (plain.record, plain.pixel_digest)


def test_the_same_text_in_another_character_set_is_the_same_content(tmp_path: Path) -> None:
    latin = prepared(written(picture(SpecificCharacterSet="ISO_IR 100", PatientName="Müller^Jörg"), tmp_path))
    utf_8 = prepared(written(picture(SpecificCharacterSet="ISO_IR 192", PatientName="Müller^Jörg"), tmp_path))

    assert latin.record == utf_8.record
    assert latin.record.patient["PatientName"] == "Müller^Jörg"


def test_another_attribute_or_another_picture_is_other_content(tmp_path: Path) -> None:
    first = prepared(written(picture(), tmp_path))
    renamed = prepared(written(picture(PatientName="OTHER^NAME"), tmp_path))
    inverted = picture()
    inverted.PixelData = (255 - np.frombuffer(inverted.PixelData, np.uint8)).tobytes()
    other = prepared(written(inverted, tmp_path))

    assert len({one.record.content_digest for one in (first, renamed, other)}) == 3
    assert first.pixel_digest == renamed.pixel_digest != other.pixel_digest


def test_what_is_kept_is_text_at_its_level(tmp_path: Path) -> None:
    dataset = picture(
        IssuerOfPatientID="HOSPITAL",
        StudyDate="20200131",
        ImageType=["ORIGINAL", "PRIMARY", "", "AXIAL"],
        SeriesNumber=" 3 ",
        StudyDescription="",
        PatientName="Yamada^Tarou=山田^太郎",
        SpecificCharacterSet="ISO_IR 192",
    )
    dataset.file_meta.SourceApplicationEntityTitle = "MODALITY"

    record = prepared(written(dataset, tmp_path)).record

    assert record.patient == {
        "PatientID": "P1",
        "IssuerOfPatientID": "HOSPITAL",
        "PatientName": "Yamada^Tarou=山田^太郎",
    }
    assert record.study == {"StudyInstanceUID": "2.25.1", "StudyDate": "20200131", "StudyDescription": ""}
    assert record.series == {"SeriesInstanceUID": "2.25.1.1", "Modality": "OT", "SeriesNumber": "3"}
    assert record.instance == {
        "SOPInstanceUID": "2.25.1.1.1",
        "SOPClassUID": dataset.SOPClassUID,
        "ImageType": "ORIGINAL\\PRIMARY\\\\AXIAL",
        "InstanceNumber": "7",
        "Rows": "40",
        "Columns": "36",
        "RetrieveAETitle": "MODALITY",
    }
    assert (record.received_ns, record.frames) == (5, (0,))


@pytest.mark.parametrize("patient_id", [None, "", "  "])
def test_a_patient_without_id_is_the_one_of_the_study(tmp_path: Path, patient_id: str | None) -> None:
    record = prepared(written(picture(PatientID=patient_id), tmp_path)).record

    assert record.patient_key == patient_key("", "", UIDS["StudyInstanceUID"])
    assert record.uids[Level.PATIENT] != prepared(written(picture(), tmp_path)).record.uids[Level.PATIENT]


def test_frames_are_sampled_and_each_has_an_image(tmp_path: Path) -> None:
    pixels = np.stack([np.full((8, 8), 40 * n, np.uint8) for n in range(6)])
    pixels[:, :4] = 0

    outcome = prepared(written(image(pixels, **UIDS, Modality="US"), tmp_path))

    assert outcome.record.frames == (0, 3, 5)
    assert outcome.images.shape == (3, SIZE, SIZE)
    assert outcome.images.dtype == np.uint8


@pytest.mark.parametrize("keyword", sorted(UIDS))
@pytest.mark.parametrize("value", [None, "", ["2.25.8", "2.25.9"]])
def test_an_instance_that_does_not_say_where_it_belongs_is_unusable(
    tmp_path: Path, keyword: str, value: str | list[str] | None
) -> None:
    path, dataset = tmp_path / "instance.dcm", picture()
    if value is None:
        delattr(dataset, keyword)
    else:
        setattr(dataset, keyword, value)
    dataset.file_meta.MediaStorageSOPInstanceUID = UID("2.25.5")
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dcmwrite(path, FileDataset(path, dataset, b"\0" * 128, dataset.file_meta), enforce_file_format=False)

    outcome = unusable(path)

    assert outcome.reason == "uid-missing"
    assert keyword in outcome.detail
    assert outcome.uids == {name: uid for name, uid in UIDS.items() if name != keyword}


def test_an_instance_without_pixels_says_so_in_the_word_that_queries_answer_by(tmp_path: Path) -> None:
    dataset = picture()
    del dataset.PixelData

    outcome = unusable(written(dataset, tmp_path))

    assert (outcome.reason, outcome.uids) == (NO_PIXELS, UIDS)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"Rows": 0}, "unsupported"),
        ({"Rows": 60_000, "Columns": 60_000}, "too-large"),
        ({"Rows": 4096}, "undecodable"),
        ({"NumberOfFrames": "1000000"}, "too-large"),
        ({"BitsAllocated": 7}, "undecodable"),
        ({"PhotometricInterpretation": "ODD"}, "undecodable"),
    ],
)
def test_pixels_that_make_no_picture_are_unusable_with_a_reason(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    outcome = unusable(written(picture(**changes), tmp_path))

    assert (outcome.reason, outcome.uids) == (reason, UIDS)


@pytest.mark.parametrize("octets", [b"", b"x", b"\0" * 128 + b"DICM", b"\0" * 200, b"\xff" * 4096])
def test_what_is_no_dicom_file_is_unusable(tmp_path: Path, octets: bytes) -> None:
    path = tmp_path / "garbage"
    path.write_bytes(octets)

    assert unusable(path).uids == {}


def test_a_file_that_is_not_there_is_unusable(tmp_path: Path) -> None:
    assert unusable(tmp_path / "gone").reason == "not-readable"


@pytest.mark.parametrize(("keyword", "octets"), [("InstanceNumber", b"first "), ("SeriesNumber", b"1.5 ")])
def test_a_damaged_attribute_is_no_reason_to_refuse_an_image(tmp_path: Path, keyword: str, octets: bytes) -> None:
    path = written(picture(InstanceNumber="123456", SeriesNumber="1234"), tmp_path)
    good = b"123456" if keyword == "InstanceNumber" else b"1234"
    path.write_bytes(path.read_bytes().replace(good, octets[: len(good)], 1))

    outcome = prepared(path)

    assert outcome.record.sop_instance_uid == UIDS["SOPInstanceUID"]


@pytest.mark.parametrize("modality", ["CT", "CT ", " CT", "  CT  ", "CT\0"])
def test_spaces_around_a_code_string_are_not_stored(tmp_path: Path, modality: str) -> None:
    dataset = picture(
        Modality=modality, ImageType=[" ORIGINAL", "PRIMARY "], PatientSex=" F", BodyPartExamined="CHEST "
    )

    record = prepared(written(dataset, tmp_path)).record

    assert record.series["Modality"] == "CT"
    assert record.series["BodyPartExamined"] == "CHEST"
    assert record.patient["PatientSex"] == "F"
    assert record.instance["ImageType"] == "ORIGINAL\\PRIMARY"


def test_texts_of_vrs_that_hold_none_are_left_out(tmp_path: Path) -> None:
    dataset = picture()
    dataset.add_new("StationName", "SQ", [Dataset()])
    dataset.add_new("Manufacturer", "OB", b"\1\2\3\4")
    dataset.add_new("StudyID", "FD", [1.5, 2.5])

    record = prepared(written(dataset, tmp_path)).record

    assert (record.series["StationName"], record.series["Manufacturer"]) == ("", "")
    assert record.study["StudyID"] == "1.5\\2.5"
    assert isinstance(dataset.StudyID, MultiValue)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return written(picture(PatientComments=NAME), tmp_path_factory.mktemp("whole")).read_bytes()


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_damaged_files_are_prepared_or_unusable_and_raise_nothing(
    tmp_path_factory: pytest.TempPathFactory, whole: bytes, data: st.DataObject
) -> None:
    octets = bytearray(whole[: data.draw(st.integers(0, len(whole)), "length")])
    for _ in range(data.draw(st.integers(0, 4), "changes")):
        if octets:
            octets[data.draw(st.integers(0, min(len(octets), 900) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.dcm"
    path.write_bytes(octets)

    outcome = prepare(path, 5, SIZE, MOST_FRAMES)

    if isinstance(outcome, Unusable):
        assert REASON.fullmatch(outcome.reason)
        assert "SECRET" not in outcome.detail
    else:
        assert all(outcome.record.uids.values())
        assert set().union(*outcome.record.attributes.values()) <= {*sum(ATTRIBUTES.values(), ()), "RetrieveAETitle"}
        assert len(LEVELS) == len(outcome.record.attributes)
