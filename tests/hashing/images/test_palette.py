"""Palettes are looked up, whatever they were written by; a table that does not fit says so in words."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from hashing.images.palette import palette_colours
from hashing.images.pixels import PixelError, decode
from tests.support.hashing.images import image, item, sent, shown

SYNTAXES = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian]
CHANNELS = ("Red", "Green", "Blue")


def in_words(data: bytes, syntax: str) -> bytes:
    """Bytes as OW: words, swapped in big endian, and padded."""
    data += b"\0" * (len(data) % 2)
    return np.frombuffer(data, "<u2").astype(">u2" if syntax == ExplicitVRBigEndian else "<u2").tobytes()


def with_palette(
    pixels: NDArray[Any], tables: list[bytes], descriptor: tuple[int, int, int], syntax: str, vr: str, kind: str = ""
) -> Dataset:
    count, first, bits = descriptor
    written = first % 65536 if vr in ("US", "OW") else first - 65536 * (first > 32767)
    dataset = image(pixels, syntax, PhotometricInterpretation="PALETTE COLOR")
    for number, table in enumerate(tables):
        values: Any = [count % 65536, written, bits]
        if vr == "OW":
            values = np.array(values, ">u2" if syntax == ExplicitVRBigEndian else "<u2").tobytes()
        dataset.add(DataElement(0x00281101 + number, vr, values))
        tag = (0x00281221 if kind == "segmented" else 0x00281201) + number
        dataset.add(DataElement(tag, "OW", in_words(table, syntax)))
    return sent(dataset)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize(("bits", "colour"), [(8, 200), (16, 51403), (16, 200)])
def test_a_palette_is_looked_up(syntax: str, bits: int, colour: int) -> None:
    entries = in_words(np.array([0, colour, colour // 2, 0], f"<u{bits // 8}").tobytes(), syntax)
    palette: dict[str, Any] = {f"{name}PaletteColorLookupTableData": entries for name in ("Red", "Green", "Blue")}
    palette |= {f"{name}PaletteColorLookupTableDescriptor": [4, 10, bits] for name in ("Red", "Green", "Blue")}
    dataset = image(np.array([[0, 10, 11, 12, 13, 600]], np.uint16), syntax, PhotometricInterpretation="PALETTE COLOR")
    dataset.update(item(**palette))

    picture = shown(sent(dataset))

    assert np.abs(picture - [0, 0, 200, 100, 0, 0]).max() <= 1


def test_a_broken_palette_is_unsupported() -> None:
    with pytest.raises(PixelError) as caught:
        decode(image(np.zeros((4, 4), np.uint16), PhotometricInterpretation="PALETTE COLOR"))

    assert caught.value.reason == "unsupported"


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("count", [1, 2, 7, 129, 255, 256])
def test_a_palette_of_8_bits_may_have_an_odd_number_of_entries(count: int, syntax: str) -> None:
    random = np.random.default_rng(count)
    tables = random.integers(0, 256, (3, count)).astype(np.uint8)
    pixels = random.integers(0, 256, (30, 31)).astype(np.uint8)

    dataset = with_palette(pixels, [table.tobytes() for table in tables], (count, 0, 8), syntax, "US")

    assert (palette_colours(dataset, pixels) == np.moveaxis(tables[:, np.minimum(pixels, count - 1)], 0, -1)).all()


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("vr", ["US", "SS", "OW"])
@pytest.mark.parametrize(
    ("dtype", "first"), [("i2", -100), ("i1", -100), ("u2", 0), ("u2", 40000), ("u1", 10), ("i2", 5)]
)
@pytest.mark.parametrize("bits", [8, 16])
def test_the_first_value_of_a_palette_is_what_pixel_representation_says(
    bits: int, dtype: str, first: int, vr: str, syntax: str
) -> None:
    random = np.random.default_rng(3)
    tables = random.integers(0, 1 << bits, (3, 200)).astype(f"<u{bits // 8}")
    span = np.iinfo(dtype)
    pixels = np.clip(first + random.integers(-50, 300, (20, 20)), span.min, span.max).astype(dtype)

    dataset = with_palette(pixels, [table.tobytes() for table in tables], (200, first, bits), syntax, vr)

    index = np.clip(pixels.astype(int) - first, 0, 199)
    assert (palette_colours(dataset, pixels) == np.moveaxis(tables[:, index], 0, -1)).all()
    assert shown(dataset).shape == (20, 20)


def test_entries_of_8_bits_may_lie_in_a_word_each() -> None:
    tables = [np.arange(value, value + 200, dtype="<u2").tobytes() for value in (0, 20, 50)]
    pixels = np.arange(196, dtype=np.uint8).reshape(14, 14)

    dataset = with_palette(pixels, tables, (200, 0, 8), ExplicitVRLittleEndian, "US")

    assert (palette_colours(dataset, pixels) == pixels[..., None].astype(int) + np.array([0, 20, 50])).all()


def test_a_palette_of_65536_entries_announces_0() -> None:
    tables = [(np.arange(65536) * factor % 65536).astype("<u2").tobytes() for factor in (1, 3, 5)]
    pixels = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)

    dataset = with_palette(pixels, tables, (65536, 0, 16), ExplicitVRLittleEndian, "US")

    assert (palette_colours(dataset, pixels) == pixels[..., None].astype(int) * [1, 3, 5] % 65536).all()


def segments(entries: list[int]) -> tuple[list[int], list[int]]:
    """Numbers of a segmented table, and what it stands for: discrete, then linear, then discrete."""
    half = len(entries) // 2
    target = entries[half]
    line = [round(entries[half - 1] + (target - entries[half - 1]) * step / 4) for step in range(1, 5)]
    rest = entries[half + 1 :]
    return [0, half, *entries[:half], 1, 4, target, 0, len(rest), *rest], entries[:half] + line + rest


@settings(max_examples=40, deadline=None)
@given(entries=st.lists(st.integers(0, 255), min_size=4, max_size=100), bits=st.sampled_from([8, 16]),
       syntax=st.sampled_from(SYNTAXES))  # fmt: skip
def test_a_segmented_palette_is_expanded(entries: list[int], bits: int, syntax: str) -> None:
    numbers, expanded = segments(entries)
    table = np.array(numbers, f"<u{bits // 8}").tobytes()
    pixels = np.arange(len(expanded), dtype=np.uint8).reshape(1, -1)

    dataset = with_palette(pixels, [table] * 3, (len(expanded), 0, bits), syntax, "US", "segmented")

    assert np.abs(palette_colours(dataset, pixels)[0, :, 1].astype(int) - expanded).max() <= 1


@pytest.mark.parametrize("bits", [8, 16])
def test_an_indirect_segment_repeats_others(bits: int) -> None:
    offset = 5 * bits // 8
    parts = [offset, 0, 0, 0] if bits == 8 else [offset, 0]
    numbers = [0, 3, 7, 8, 9, 0, 2, 40, 50, 1, 2, 70, 2, 2, *parts]
    pixels = np.arange(11, dtype=np.uint8).reshape(1, 11)

    table = np.array(numbers, f"<u{bits // 8}").tobytes()
    dataset = with_palette(pixels, [table] * 3, (11, 0, bits), ExplicitVRLittleEndian, "US", "segmented")

    assert palette_colours(dataset, pixels)[0, :, 0].tolist() == [7, 8, 9, 40, 50, 60, 70, 40, 50, 60, 70]


FITS = {"tables": [bytes(range(100))] * 3, "descriptor": (100, 0, 8), "kind": ""}


@pytest.mark.parametrize(
    "change",
    [
        {"tables": [bytes(50)] * 3},
        {"tables": [bytes(100), bytes(100), bytes(98)]},
        {"tables": [bytes(100)] * 2},
        {"tables": [bytes(100)]},
        {"tables": [b""] * 3},
        {"descriptor": (100, 0, 16), "tables": [bytes(150)] * 3},
        {"descriptor": (100, 0, 16), "tables": [bytes(10)] * 3},
        {"descriptor": (0, 0, 16)},
        {"descriptor": (100, 0, 0)},
        {"descriptor": (100, 0, 12)},
        {"descriptor": (100, 0, 32)},
        {"kind": "segmented", "tables": [bytes([0, 200, 1, 2])] * 3},
        {"kind": "segmented", "tables": [bytes([1, 100, 7, 0])] * 3},
        {"kind": "segmented", "tables": [bytes([9, 100, 7, 0])] * 3},
        {"kind": "segmented", "tables": [bytes([0, 1, 5, 2, 1, 0, 0, 0, 0, 0])] * 3},
        {"kind": "segmented", "tables": [bytes([0, 1, 5, 2, 1, 3, 0, 0, 0, 0])] * 3},
        {"kind": "segmented", "tables": [bytes([0, 1, 5, 2, 1])] * 3},
    ],
)
def test_a_palette_that_does_not_fit_is_refused_in_words(change: dict[str, Any]) -> None:
    made = FITS | change
    pixels = np.zeros((4, 4), np.uint8)
    dataset = with_palette(pixels, made["tables"], made["descriptor"], ExplicitVRLittleEndian, "US", made["kind"])

    with pytest.raises(PixelError, match=r"the (red|green|blue) table of the palette") as caught:
        decode(dataset)

    assert caught.value.reason == "unsupported"
    assert not any(word in str(caught.value) for word in ("Error", "numpy", "None", "0x", "'"))


@pytest.mark.parametrize(
    "keyword", [f"{name}PaletteColorLookupTable{part}" for name in CHANNELS for part in ("Descriptor", "Data")]
)
@pytest.mark.parametrize("value", [None, b"", b"\1", "missing"])
def test_a_palette_whose_parts_are_missing_or_cut_is_refused_in_words(keyword: str, value: Any) -> None:
    dataset = with_palette(np.zeros((4, 4), np.uint8), [bytes(100)] * 3, (100, 0, 8), ExplicitVRLittleEndian, "US")
    if value == "missing":
        del dataset[keyword]
    else:
        dataset.add_new(keyword, "OW", value)

    with pytest.raises(PixelError, match=r"the (red|green|blue) table of the palette") as caught:
        decode(dataset)

    assert caught.value.reason == "unsupported"
