"""Samples in cells: whatever the header says of them, the reader finds the numbers that were put there."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from hashing.images.frames import stored_frame
from hashing.images.pixel_error import PixelError
from tests.support.hashing.images import image, scene, sent


@dataclass(frozen=True)
class Layout:
    """How samples are written."""

    allocated: int
    stored: int
    high: int
    signed: bool
    syntax: str
    vr: str


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    allocated = draw(st.sampled_from([1, 8, 16, 24, 32, 40, 48, 56, 64]))
    stored = draw(st.integers(1, allocated))
    syntax = draw(st.sampled_from([ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian]))
    vr = draw(st.sampled_from(["OB", "OW"])) if allocated <= 8 and syntax != ImplicitVRLittleEndian else "OW"
    high = draw(st.integers(stored - 1, allocated - 1))
    return Layout(allocated, stored, high, allocated > 1 and draw(st.booleans()), syntax, vr)


def packed(values: list[int], layout: Layout, random: np.random.Generator) -> bytes:
    """Write samples into cells, other bits at random, as PS3.5 8.1.1 and 8.2 say it: slowly."""
    cells = []
    for value in values:
        low = layout.high + 1 - layout.stored
        mask = ((1 << layout.stored) - 1) << low
        other = int.from_bytes(random.bytes(8), "little") & ((1 << layout.allocated) - 1) & ~mask
        cells.append((value << low) & mask | other)
    order: Literal["big", "little"] = (
        "big" if layout.syntax == ExplicitVRBigEndian and layout.allocated > 8 else "little"
    )
    if layout.allocated == 1:
        cells += [0] * (-len(cells) % 8)
        cells = [sum(cells[at + bit] << bit for bit in range(8)) for at in range(0, len(cells), 8)]
    data = b"".join(cell.to_bytes(-(-layout.allocated // 8), order) for cell in cells)
    data += b"\0" * (len(data) % 2)
    if layout.syntax == ExplicitVRBigEndian and layout.vr == "OW" and layout.allocated <= 8:
        data = b"".join(data[at : at + 2][::-1] for at in range(0, len(data), 2))
    return data


def written(layout: Layout, data: bytes, frames: int, rows: int, columns: int, samples: int) -> Dataset:
    dataset = image(np.zeros((rows, columns), np.uint8), layout.syntax)
    dataset.NumberOfFrames = frames
    dataset.SamplesPerPixel = samples
    dataset.PhotometricInterpretation = "RGB" if samples == 3 else "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = layout.allocated, layout.stored, layout.high
    dataset.PixelRepresentation = int(layout.signed)
    dataset.PixelData = data
    dataset["PixelData"].VR = layout.vr
    return dataset


@settings(max_examples=300, deadline=None)
@given(
    layout=layouts(),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9)),
    seed=st.integers(0, 2**32),
)
def test_samples_are_the_stored_bits_that_end_at_high_bit(
    layout: Layout, shape: tuple[int, int, int], seed: int
) -> None:
    random = np.random.default_rng(seed)
    lowest = -(1 << layout.stored - 1) if layout.signed else 0
    span = (1 << layout.stored) - 1
    values = [lowest + int.from_bytes(random.bytes(8), "little") % (span + 1) for _ in range(int(np.prod(shape)))]

    dataset = sent(written(layout, packed(values, layout, random), *shape, samples=1))

    wanted = np.array(values, object).reshape(shape)
    for frame in range(shape[0]):
        assert (stored_frame(dataset, frame).pixels.astype(object) == wanted[frame]).all()


@settings(max_examples=80, deadline=None)
@given(layout=layouts(), planar=st.booleans(), frames=st.integers(1, 3), seed=st.integers(0, 2**32))
def test_colour_is_unsigned_whatever_the_header_says_in_pixels_and_in_planes(
    layout: Layout, planar: bool, frames: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    values = [int.from_bytes(random.bytes(8), "little") % (1 << layout.stored) for _ in range(frames * 5 * 7 * 3)]
    dataset = written(layout, packed(values, layout, random), frames, 5, 7, samples=3)
    dataset.PlanarConfiguration = int(planar)

    wanted = np.array(values, object).reshape((frames, 3, 5, 7) if planar else (frames, 5, 7, 3))
    wanted = np.moveaxis(wanted, 1, -1) if planar else wanted
    for frame in range(frames):
        assert (stored_frame(sent(dataset), frame).pixels.astype(object) == wanted[frame]).all()


@pytest.mark.parametrize("high", [-1, 3, 10, 16, 99])
def test_a_high_bit_at_which_no_sample_can_end_is_not_believed(high: int) -> None:
    values = scene(8, 8, 4096)

    stored = stored_frame(image(values.astype(np.uint16), BitsStored=12, HighBit=high if high >= 0 else None))

    assert (stored.pixels == values).all()


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_float_pixels_are_their_own_samples(dtype: str, syntax: str) -> None:
    values = (np.stack([scene(5, 6, 1000), scene(5, 6, 77)]) / 7).astype(dtype)
    dataset = image(values, syntax)

    pixels = [stored_frame(sent(dataset), frame).pixels for frame in (0, 1)]

    assert np.array_equal(pixels, values)
    assert pixels[0].dtype == np.dtype(dtype)


def quads(ybr: NDArray[np.uint8]) -> bytes:
    """Y1 Y2 Cb Cr of each two pixels that follow each other, as they come."""
    pixels = ybr.reshape(-1, 3).tolist()
    pixels += pixels[-1:] * (len(pixels) % 2)
    return bytes(
        part
        for first, second in zip(pixels[::2], pixels[1::2], strict=True)
        for part in (first[0], second[0], first[1], first[2])
    )


@pytest.mark.parametrize("label", ["YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422"])
@pytest.mark.parametrize("shape", [(1, 6, 8), (3, 5, 4), (1, 5, 7), (2, 2, 2)])
@pytest.mark.parametrize("subsampled", [False, True])
def test_the_length_says_whether_chrominance_is_subsampled(
    label: str, shape: tuple[int, int, int], subsampled: bool
) -> None:
    random = np.random.default_rng(4)
    frames = [random.integers(0, 256, (*shape[1:], 3)).astype(np.uint8) for _ in range(shape[0])]
    dataset = image(frames[0], PhotometricInterpretation=label, NumberOfFrames=shape[0])
    data = b"".join(quads(frame) if subsampled else frame.tobytes() for frame in frames)
    dataset.PixelData = data + b"\0" * (len(data) % 2)

    for number, frame in enumerate(frames):
        stored = stored_frame(dataset, number)
        assert (stored.pixels[..., 0] == frame[..., 0]).all()
        assert stored.photometric_interpretation.startswith("YBR")
        if not subsampled:
            assert (stored.pixels == frame).all()


@pytest.mark.parametrize("label", ["YBR_ICT", "YBR_RCT", " YBR_RCT"])
def test_labels_of_jpeg_2000_on_uncompressed_pixels_mean_rgb(label: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 4, 3)).astype(np.uint8)

    stored = stored_frame(image(pixels, PhotometricInterpretation=label))

    assert stored.photometric_interpretation == "RGB"
    assert (stored.pixels == pixels).all()


@pytest.mark.parametrize(("bits", "present"), [(1, 3), (8, 2), (16, 1), (32, 0)])
def test_frames_that_are_there_are_read_and_the_others_are_undecodable(bits: int, present: int) -> None:
    size = 21 * 23 * bits
    dataset = image(np.zeros((21, 23), np.uint8), NumberOfFrames=5)
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelData = bytes((size * present + size // 2) // 8)
    dataset["PixelData"].VR = "OW"

    for frame in range(5):
        if frame < present:
            assert not stored_frame(dataset, frame).pixels.any()
        else:
            with pytest.raises(PixelError) as caught:
                stored_frame(dataset, frame)
            assert caught.value.reason == "undecodable"


@pytest.mark.parametrize("change", [{"BitsAllocated": 12}, {"BitsAllocated": 72}, {"BitsAllocated": -8}])
def test_cells_that_cannot_be_are_undecodable(change: dict[str, Any]) -> None:
    dataset = image(np.zeros((8, 8), np.uint16))
    for keyword, value in change.items():
        dataset[keyword].VR = "SS"
        dataset[keyword].value = value

    with pytest.raises(PixelError) as caught:
        stored_frame(dataset)

    assert caught.value.reason == "undecodable"
