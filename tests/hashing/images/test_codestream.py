"""Compressed frames: the codestream says what is in it, and may lack its end."""

import struct

import jpeg_ls
import numpy as np
import openjpeg.utils
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import (
    JPEG2000,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from hashing.images.codestream import codestream_header, with_end
from hashing.images.frames import stored_frame
from hashing.images.pixel_error import PixelError
from tests.support.hashing.images import encapsulated, image, jpeg, scene, sent, shown

GREY = scene(66, 64, 256)
COLOUR = np.dstack([GREY, 255 - GREY, GREY // 2]).astype(np.uint8)
LUMINANCE = np.rint(COLOUR @ [0.299, 0.587, 0.114])


def jpeg_2000(pixels: NDArray[np.integer], bits: int, *, mct: bool = True) -> bytes:
    interpretation = 1 if pixels.ndim == 3 else 2
    return bytes(
        openjpeg.utils.encode_array(pixels, bits_stored=bits, photometric_interpretation=interpretation, use_mct=mct)
    )


def jpeg_lossless_size(rows: int, columns: int, before: bytes = b"") -> bytes:
    start_of_frame = b"\xff\xc3" + struct.pack(">HBHHB", 11, 16, rows, columns, 1) + b"\1\x11\0"
    return b"\xff\xd8" + before + start_of_frame + before + b"\xff\xda\0\x08\1\1\0\1\0\0"


@pytest.mark.parametrize(
    "before",
    [
        b"",
        b"\xff" * 7,
        b"\xff\xfe" + struct.pack(">H", 12) + b"0123456789",
        b"\xff\xff\xfe" + struct.pack(">H", 12) + b"\xff\xc0345678\0\0" + b"\xff\xff\xff",
        b"\xff\x01\xff\xe5\0\2",
    ],
)
def test_the_header_of_a_jpeg_is_read_behind_other_segments_and_fill_bytes(before: bytes) -> None:
    header = codestream_header(jpeg_lossless_size(700, 900, before))

    assert header is not None
    assert (header.rows, header.columns, header.components, header.precision) == (700, 900, 1, 16)


def test_the_header_of_jpeg_2000_is_read_in_the_box_of_a_file_that_holds_it_and_nowhere_else() -> None:
    siz = b"\xff\x4f\xff\x51" + struct.pack(">HHIIII", 41, 0, 930, 720, 30, 20)
    signature = b"\0\0\0\x0cjP  \r\n\x87\n"
    decoy = struct.pack(">I", 8 + len(siz)) + b"uuid" + siz.replace(struct.pack(">I", 930), struct.pack(">I", 31))

    for codestream in (siz, signature + decoy + struct.pack(">I", 0) + b"jp2c" + siz):
        header = codestream_header(codestream)
        assert header is not None
        assert (header.rows, header.columns) == (700, 900)
    assert codestream_header(b"\2\0\0\0" + siz) is None
    assert codestream_header(signature + decoy) is None


def test_a_jpeg_with_two_frame_headers_or_without_a_scan_has_no_header_to_believe() -> None:
    small, large = jpeg_lossless_size(7, 9), jpeg_lossless_size(700, 900)
    frame_header, scan = large[2:-10], large.index(b"\xff\xda")

    assert codestream_header(small[:2] + frame_header + small[2:]) is None
    assert codestream_header(large[:scan]) is None


@given(codestream=st.binary(max_size=60), start=st.sampled_from([b"", b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"jP"]))
def test_a_damaged_codestream_has_a_header_or_none_and_an_end_or_none(codestream: bytes, start: bytes) -> None:
    codestream_header(start + codestream)
    with_end(start + codestream)


@pytest.mark.parametrize("announced", [(65535, 65535), (32, 64), (66, 65)])
@pytest.mark.parametrize("fill", [0, 1, 40])
def test_a_frame_of_another_size_than_the_data_sets_is_never_given_to_a_decoder(
    announced: tuple[int, int], fill: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = jpeg(GREY.astype(np.uint8))
    at = whole.index(b"\xff\xc0")
    size = struct.pack(">HH", *announced)
    codestream = whole[:at] + b"\xff" * fill + whole[at : at + 5] + size + whole[at + 9 :]
    monkeypatch.setattr("pydicom.pixels.decoders.base.Decoder.as_array", lambda *_, **__: pytest.fail("decoded"))

    for frame in (codestream, codestream.replace(b"\xff\xd8", b"\xff\xd8garbage", 1)):
        with pytest.raises(PixelError) as caught:
            stored_frame(encapsulated(image(GREY.astype(np.uint8)), [frame], JPEGBaseline8Bit))
        assert caught.value.reason == "undecodable"


@pytest.mark.parametrize("planar", [0, 1, None])
@pytest.mark.parametrize(
    "kind", ["JPEG", "JPEG-LS by sample", "JPEG-LS by line", "JPEG-LS by plane", "JPEG 2000", "RLE"]
)
def test_the_order_of_samples_in_a_codestream_is_its_own(kind: str, planar: int | None) -> None:
    dataset = image(COLOUR)
    if kind == "RLE":
        dataset.compress(RLELossless)
    elif kind == "JPEG":
        encapsulated(dataset, [jpeg(COLOUR)], JPEGBaseline8Bit)
    elif kind == "JPEG 2000":
        encapsulated(dataset, [jpeg_2000(COLOUR, 8)], JPEG2000Lossless)
    else:
        mode = ["plane", "line", "sample"].index(kind.split()[-1])
        pixels = np.ascontiguousarray(np.moveaxis(COLOUR, -1, 0)) if mode == 0 else COLOUR
        encapsulated(dataset, [bytes(jpeg_ls.encode_array(pixels, interleave_mode=mode))], JPEGLSLossless)
    dataset.PlanarConfiguration = planar

    assert np.abs(shown(dataset) - LUMINANCE).max() <= (2 if kind == "JPEG" else 1)


LABELS = ["RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT"]


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEG2000])
def test_jpeg_2000_with_a_colour_transform_decodes_to_rgb_whatever_the_label(label: str, syntax: str) -> None:
    dataset = encapsulated(image(COLOUR, PhotometricInterpretation=label), [jpeg_2000(COLOUR, 8)], syntax)

    assert np.abs(shown(dataset) - LUMINANCE).max() <= 1


@pytest.mark.parametrize("label", LABELS)
def test_jpeg_2000_without_a_colour_transform_is_what_the_label_says(label: str) -> None:
    codestream = jpeg_2000(COLOUR, 8, mct=False)

    picture = shown(encapsulated(image(COLOUR, PhotometricInterpretation=label), [codestream], JPEG2000Lossless))

    assert np.abs(picture - (COLOUR[..., 0] if label.startswith("YBR_FULL") else LUMINANCE)).max() <= 1


@pytest.mark.parametrize("label", [*LABELS, "MONOCHROME2"])
@pytest.mark.parametrize("keep_rgb", [False, True])
def test_a_jpeg_that_says_its_colours_is_believed(label: str, keep_rgb: bool) -> None:
    codestream = jpeg(COLOUR, keep_rgb=keep_rgb)  # with an Adobe segment, or a JFIF segment

    dataset = encapsulated(image(COLOUR, PhotometricInterpretation=label), [codestream], JPEGBaseline8Bit)

    assert np.abs(shown(dataset) - LUMINANCE).max() <= 2


@pytest.mark.parametrize("label", ["RGB", "YBR_RCT", "YBR_ICT"])
@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
def test_labels_of_jpeg_2000_mean_rgb_in_other_lossless_encodings(label: str, syntax: str) -> None:
    dataset = image(COLOUR)
    dataset.compress(syntax)
    dataset.PhotometricInterpretation = label

    assert np.abs(shown(dataset) - LUMINANCE).max() <= 1


@pytest.mark.parametrize(("samples", "pixels"), [(3, GREY.astype(np.uint8)), (1, COLOUR), (None, COLOUR)])
def test_the_codestream_says_how_many_samples_a_pixel_has(samples: int | None, pixels: NDArray[np.uint8]) -> None:
    dataset = encapsulated(image(pixels), [jpeg_2000(pixels, 8)], JPEG2000Lossless)
    dataset.SamplesPerPixel = samples
    dataset.PhotometricInterpretation = "RGB" if samples == 3 else "MONOCHROME2"

    assert np.abs(shown(dataset) - (GREY if pixels.ndim == 2 else LUMINANCE)).max() <= 1


@pytest.mark.parametrize(
    ("allocated", "stored"), [(8, 8), (16, 8), (16, 12), (16, 16), (32, 8), (32, 12), (32, 16), (32, 32)]
)
def test_a_jpeg_of_8_bits_is_shown_in_objects_of_any_allocation(allocated: int, stored: int) -> None:
    dataset = image(GREY.astype(f"u{allocated // 8}"), BitsStored=stored)

    picture = shown(encapsulated(dataset, [jpeg(GREY.astype(np.uint8), quality=98)], JPEGBaseline8Bit))

    assert np.abs(picture - GREY).max() <= 3


def encoded(kind: str, cells: NDArray[np.integer], bits: int) -> tuple[bytes, str]:
    if kind == "JPEG 2000":
        return jpeg_2000(cells, bits), JPEG2000Lossless
    return bytes(jpeg_ls.encode_array(cells.astype("u1" if bits <= 8 else "u2"))), JPEGLSLossless


@pytest.mark.parametrize("kind", ["JPEG 2000", "JPEG-LS"])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("whole_cells", [False, True])
@pytest.mark.parametrize(
    ("allocated", "stored", "high"), [(8, 6, 5), (8, 6, 7), (8, 8, 7), (16, 9, 8), (16, 10, 12), (16, 12, 11),
                                      (16, 12, 15), (16, 15, 15), (16, 16, 15)],
)  # fmt: skip
def test_codestreams_hold_samples_or_whole_cells(
    kind: str, signed: bool, whole_cells: bool, allocated: int, stored: int, high: int
) -> None:
    values = scene(66, 64, 1 << stored) - (1 << stored - 1 if signed else 0)
    bits, low = (allocated, high + 1 - stored) if whole_cells else (stored, 0)
    cells = (values & (1 << stored) - 1) << low
    codestream, syntax = encoded(kind, cells.astype(f"u{allocated // 8}"), bits)
    dataset = image(cells.astype(f"u{allocated // 8}"), BitsStored=stored, HighBit=high)
    dataset.PixelRepresentation = int(signed)

    assert (stored_frame(encapsulated(dataset, [codestream], syntax)).pixels == values).all()


@pytest.mark.parametrize("said", [0, 1])
def test_signed_jpeg_2000_is_read_as_pixel_representation_says(said: int) -> None:
    values = scene(66, 64, 4096) - 2048
    dataset = image(values.astype(np.int16), BitsStored=12, HighBit=11, PixelRepresentation=said)
    dataset = encapsulated(dataset, [jpeg_2000(values.astype(np.int16), 12)], JPEG2000Lossless)

    assert (stored_frame(dataset).pixels == (values if said else values & 0xFFF)).all()


def compressed(kind: str) -> tuple[Dataset, bytes]:
    dataset = image(GREY.astype(np.uint8))
    codestream = {
        "JPEG": lambda: jpeg(GREY.astype(np.uint8), quality=98),
        "JPEG-LS": lambda: bytes(jpeg_ls.encode_array(GREY.astype(np.uint8))),
        "JPEG 2000": lambda: jpeg_2000(GREY, 8) if GREY.itemsize == 1 else jpeg_2000(GREY.astype(np.uint8), 8),
    }[kind]()
    return dataset, codestream


@pytest.mark.parametrize("kind", ["JPEG", "JPEG-LS", "JPEG 2000"])
@pytest.mark.parametrize("end", ["whole", "padded", "gone", "gone and padded", "half gone"])
def test_a_codestream_that_lacks_only_its_end_is_shown(kind: str, end: str) -> None:
    dataset, whole = compressed(kind)
    assert whole.endswith(b"\xff\xd9")
    codestream = {
        "whole": whole,
        "padded": whole + b"\0",
        "gone": whole[:-2],
        "gone and padded": whole[:-2] + b"\0",
        "half gone": whole[:-1],
    }[end]
    syntax = {"JPEG": JPEGBaseline8Bit, "JPEG-LS": JPEGLSLossless, "JPEG 2000": JPEG2000Lossless}[kind]

    picture = shown(sent(encapsulated(dataset, [codestream], syntax)))

    assert np.abs(picture - GREY).max() <= (3 if kind == "JPEG" else 0)


def test_a_jpeg_2000_tile_that_goes_on_to_the_end_is_given_that_end() -> None:
    dataset, whole = compressed("JPEG 2000")
    at = whole.index(b"\xff\x90") + 6
    open_ended = whole[:at] + bytes(4) + whole[at + 4 :]

    for codestream in (open_ended, open_ended[:-2]):
        assert (shown(encapsulated(dataset, [codestream], JPEG2000Lossless)) == GREY).all()


def test_a_jpeg_2000_that_lacks_more_than_its_end_is_undecodable() -> None:
    dataset, whole = compressed("JPEG 2000")

    with pytest.raises(PixelError) as caught:
        shown(encapsulated(dataset, [whole[: len(whole) // 2]], JPEG2000Lossless))

    assert caught.value.reason == "undecodable"
