# mypy: untyped-calls-exclude=SimpleITK
import csv
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from deid_data import data as deid
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from hashing.images.frames import quiet
from hashing.images.pixels import PixelError, decode, network_input, preprocess, sampled_frames
from tests.support.hashing.images import image, scene, sent

PACKAGED = [
    path
    for folder in (Path(pydicom.__file__).parent / "data" / "test_files", Path(deid.__file__).parent)
    for path in sorted(folder.rglob("*"))
    if path.is_file()
]
REASONS = ("no pixel data", "no such frame", "too large", "unsupported", "undecodable")
LOSSLESS = (
    *("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"),
    *("1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80"),
    "1.2.840.10008.1.2.4.90",
)


def fitted(pixels: NDArray[Any], size: int = 224, spacing: tuple[float, float] = (1, 1)) -> NDArray[np.int64]:
    picture = sitk.GetImageFromArray(pixels.astype(np.uint8))
    picture.SetSpacing(spacing)
    return preprocess(picture, size).astype(np.int64)


@settings(max_examples=60)
@given(rows=st.integers(1, 700), columns=st.integers(1, 700), size=st.sampled_from([32, 224]))
def test_the_picture_keeps_its_shape_centred_on_black(rows: int, columns: int, size: int) -> None:
    square = fitted(np.full((rows, columns), 77), size)

    height, width = (max(1, round(size * side / max(rows, columns))) for side in (rows, columns))
    expected = np.zeros((size, size), np.int64)
    top, left = (size - height) // 2, (size - width) // 2
    expected[top : top + height, left : left + width] = 77
    assert (square == expected).all()


def test_a_picture_of_the_right_size_is_left_as_it_is() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (224, 224))

    assert (fitted(pixels) == pixels).all()


@pytest.mark.parametrize("times", [2, 3, 9])
def test_a_larger_picture_is_shrunk_to_the_means_of_its_blocks(times: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64 * times, 64 * times))

    means = pixels.reshape(64, times, 64, times).mean(axis=(1, 3))
    assert np.abs(fitted(pixels, 64) - means).max() <= 0.5


def test_a_smaller_picture_is_enlarged_linearly() -> None:
    row = np.array([10, 250, 30, 90])

    square = fitted(np.tile(row, (4, 1)), 64)

    assert np.abs(square - np.interp((np.arange(64) + 0.5) / 16 - 0.5, np.arange(4), row)).max() <= 0.5


@pytest.mark.parametrize("side", [400, 447, 512, 600, 671, 1024, 2048, 2500])
def test_detail_finer_than_the_grid_becomes_grey_not_an_alias(side: int) -> None:
    checkerboard = np.indices((side, side)).sum(axis=0) % 2 * 200 + 20

    square = fitted(checkerboard)

    assert np.abs(square.mean() - 120) < 1
    assert np.std(square) < 5


@pytest.mark.parametrize("side", [100, 300, 447, 512, 671, 900])
def test_nothing_moves_and_nothing_gets_darker(side: int) -> None:
    pixels = scene(side, side, 256)

    square = fitted(pixels)

    assert np.abs(fitted(pixels[::-1, ::-1])[::-1, ::-1] - square).max() <= 1
    assert np.abs(fitted(pixels.T).T - square).max() <= 1
    assert abs(square.mean() - pixels.mean()) < 1


def test_pixels_that_are_not_square_are_shown_as_they_are_in_the_body() -> None:
    pixels = scene(100, 100, 256).astype(np.uint8)

    twice_as_high = network_input(image(pixels, PixelSpacing=[1.4, 0.7]))
    ratio = network_input(image(pixels, PixelAspectRatio=[2, 1]))
    nearly_square = network_input(image(pixels, PixelSpacing=[0.71, 0.7]))
    absurd = network_input(image(pixels, PixelSpacing=[0, 0.7]))

    assert (np.flatnonzero(twice_as_high.any(axis=0))[[0, -1]] == [56, 167]).all()
    assert (twice_as_high == ratio).all()
    assert (nearly_square == network_input(image(pixels))).all()
    assert (absurd == network_input(image(pixels))).all()


def test_the_input_does_not_depend_on_the_number_of_threads() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (900, 700))
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()

    try:
        inputs = [sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(n) or fitted(pixels) for n in (1, 2, 7)]
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)

    assert (inputs[0] == inputs[1]).all()
    assert (inputs[0] == inputs[2]).all()


def test_what_is_no_picture_is_refused() -> None:
    for pixels in (np.zeros((4, 4), np.float32), np.zeros((4, 4, 4), np.uint8)):
        with pytest.raises(PixelError) as caught:
            preprocess(sitk.GetImageFromArray(pixels))
        assert caught.value.reason == "unsupported"


def test_a_caller_keeps_what_it_gave() -> None:
    dataset = image(scene(30, 40, 4096).astype(np.uint16), RescaleSlope=2, RescaleIntercept=1)
    before = sent(dataset)
    picture = decode(dataset)
    pixels = sitk.GetArrayFromImage(picture)

    preprocess(picture)

    assert sent(dataset) == before
    assert (sitk.GetArrayFromImage(picture) == pixels).all()


@pytest.mark.parametrize("syntax", LOSSLESS[:5] + LOSSLESS[7:])
@pytest.mark.parametrize("kind", ["u1", "u2", "i2", "rgb"])
def test_lossless_encodings_of_one_image_give_one_input(kind: str, syntax: str) -> None:
    values = scene(61, 90, 256 if kind in ("u1", "rgb") else 4096)
    pixels = np.dstack([values, values[::-1], 255 - values]).astype("u1") if kind == "rgb" else values.astype(kind)
    pixels = pixels - 2048 if kind == "i2" else pixels
    plain = image(pixels, WindowCenter=900, WindowWidth=3000)
    expected = network_input(plain)

    native = (ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian)
    encoded = image(pixels, syntax if syntax in native else plain.file_meta.TransferSyntaxUID, WindowCenter=900)
    encoded.WindowWidth = 3000
    if syntax in (RLELossless, JPEGLSLossless, JPEG2000Lossless):
        encoded.compress(syntax)

    assert np.std(expected) > 20
    assert np.array_equal(network_input(sent(encoded)), expected)


NASTY = st.one_of(
    st.sampled_from([b"", b"0", b"-1", b"1e999", b"nan", b"abc ", b"\\\\", b"1\\2\\3 ", b"\0\0", b"\xff\xff", b"\1\0"]),
    st.binary(max_size=12),
)
HEADER = (
    *("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel"),
    *("PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Modality", "ImageType", "PixelSpacing"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType", "WindowCenter", "WindowWidth", "VOILUTFunction"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit", "PixelAspectRatio", "ModalityLUTSequence", "VOILUTSequence"),
    *("RedPaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData", "ExtendedOffsetTable"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "PixelData"),
)


@settings(max_examples=150, deadline=None)
@given(
    changes=st.dictionaries(st.sampled_from(HEADER), NASTY, max_size=4),
    missing=st.sets(st.sampled_from(HEADER), max_size=1),
    kind=st.sampled_from(["u1", "u2", "i2", "i4", "f4", "f8", "palette", "jpegls"]),
)
def test_any_header_gives_an_input_or_an_error_that_says_why(
    changes: dict[str, bytes], missing: set[str], kind: str
) -> None:
    values = scene(12, 10, 200)
    dataset = image(values.astype({"palette": "u1", "jpegls": "u2"}.get(kind, kind)), WindowCenter=90, WindowWidth=80)
    if kind == "palette":
        dataset.PhotometricInterpretation = "PALETTE COLOR"
    if kind == "jpegls":
        dataset.compress(JPEGLSLossless)
    for keyword, value in changes.items():
        dataset[keyword] = raw(keyword, value)
    for keyword in missing & {str(element.keyword) for element in image(values.astype("u2"))}:
        dataset.pop(keyword, None)

    squares, reason = inputs_or_reason(dataset)

    assert reason in REASONS or (squares[0].shape == (224, 224) and squares[0].dtype == np.uint8)


def raw(keyword: str, value: bytes) -> RawDataElement:
    """Element as it comes from a file, not yet converted."""
    tag = Tag(tag_for_keyword(keyword) or 0)
    return RawDataElement(tag, dictionary_VR(tag)[:2], len(value), value, 0, False, True)


@pytest.mark.parametrize("path", PACKAGED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_packaged_file_gives_inputs_or_an_error_that_says_why(path: Path) -> None:
    with quiet():
        try:
            dataset = pydicom.dcmread(path, force=True)
        except Exception as error:
            pytest.skip(f"pydicom cannot read it at all: {error}")

    squares, reason = inputs_or_reason(dataset)

    assert reason in REASONS or all(square.any() for square in squares)


def inputs_or_reason(dataset: Dataset) -> tuple[list[NDArray[np.uint8]], str]:
    try:
        return [network_input(dataset, frame) for frame in sampled_frames(dataset, max_frames=2)], ""
    except PixelError as error:
        return [], error.reason


@pytest.mark.shared
def test_every_conformance_file_that_decodes_gives_an_input_with_something_in_it(shared_data: Path) -> None:
    plain = []
    with zipfile.ZipFile(shared_data / "dicom" / "dicom_conformance.zip") as archive:
        for row in index(shared_data, "dicom_conformance"):
            if row["pixel_status"] != "decodes":
                continue
            dataset = read(archive, row["file"])
            inputs = [network_input(dataset, frame) for frame in sampled_frames(dataset)]
            if row["array_min"] != row["array_max"] and not any(np.ptp(square) for square in inputs):
                plain.append(row["file"])

    assert not plain


@pytest.mark.shared
@pytest.mark.parametrize(("group", "count"), [("cswil/", 9), ("dcm_qa_ts/", 9)])
def test_lossless_encodings_of_real_images_give_one_input(shared_data: Path, group: str, count: int) -> None:
    with zipfile.ZipFile(shared_data / "dicom" / "dicom_conformance.zip") as archive:
        inputs = [
            network_input(read(archive, row["file"]))
            for row in index(shared_data, "dicom_conformance")
            if row["file"].startswith(group) and row["transfer_syntax_uid"] in LOSSLESS
        ]

    assert len(inputs) >= count
    assert all(np.array_equal(square, inputs[0]) for square in inputs)


@pytest.mark.shared
def test_chest_images_in_every_encoding_are_the_picture_that_was_encoded(shared_data: Path) -> None:
    with zipfile.ZipFile(shared_data / "dicom" / "nih_dx_1024.zip") as archive:
        for row in index(shared_data, "nih_dx_1024"):
            dataset = read(archive, row["file"])
            stored = dataset.pixel_array.astype(np.int64)
            grey = {"mono1": 255 - stored, "u12": stored // 16, "s16": (stored + 1024) // 8}.get(
                row["encoding"], stored
            )
            assert np.array_equal(network_input(dataset), fitted(grey)), row["file"]


def index(shared_data: Path, name: str) -> list[dict[str, str]]:
    with (shared_data / "dicom" / f"{name}_index.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def read(archive: zipfile.ZipFile, name: str) -> Dataset:
    with quiet():
        return pydicom.dcmread(BytesIO(archive.read(name)), force=True)
