"""Modality and VOI LUTs: one object, one picture, whatever value representation wrote the table."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from tests.support.hashing.images import image, item, scene, sent, shown

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)
CURVE = np.rint(255 * (np.arange(4096) / 4095) ** 0.5).astype(int)
SYNTAXES = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("data", ["numbers", "words", "bytes"])
def test_a_modality_table_gives_the_values_that_the_window_cuts(syntax: str, data: str) -> None:
    entries = (np.arange(256) ** 2 // 256).astype(np.uint8)
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    pairs = np.frombuffer(entries.tobytes(), "<u2").astype(f"{order}u2")  # OW: swapped in words
    forms = {
        "numbers": entries.tolist(),
        "words": entries.astype(f"{order}u2").tobytes(),
        "bytes": pairs.tobytes(),
    }
    table = item(LUTDescriptor=[256, 100, 8 if data == "bytes" else 16], ModalityLUTType="US", LUTData=forms[data])
    table["LUTDescriptor"].VR = "US"
    table["LUTData"].VR = "US" if data == "numbers" else "OW"
    pixels = np.arange(50, 450, dtype=np.uint16).reshape(20, 20)

    dataset = image(pixels, syntax, ModalityLUTSequence=[table], WindowCenter=128, WindowWidth=256)

    assert (shown(sent(dataset)) == entries[np.clip(pixels.astype(int) - 100, 0, 255)]).all()


def test_the_table_that_leads_angiography_back_to_intensity_is_not_for_display() -> None:
    pixels = scene(40, 40, 256).astype(np.uint8)
    table = item(LUTDescriptor=[256, 0, 16], LUTData=[value * 16 for value in range(256)])
    table["LUTData"].VR = "US"

    angiogram = image(pixels, Modality="XA", PixelIntensityRelationship="LOG", ModalityLUTSequence=[table])

    assert (shown(angiogram) == pixels).all()


def test_a_voi_table_is_preferred_to_a_window() -> None:
    entries = 4095 - np.arange(4096)
    table = item(LUTDescriptor=[4096, 0, 12], LUTData=entries.tolist())
    table["LUTData"].VR = "US"

    picture = shown(image(RAMP, VOILUTSequence=[table], WindowCenter=2048, WindowWidth=4096))

    assert (picture == np.rint(entries.reshape(64, 64) / 4095 * 255)).all()


@pytest.mark.parametrize("change", [{"LUTDescriptor": [9]}, {"LUTData": []}, {"LUTDescriptor": None}, {"LUTData": b""}])
def test_a_broken_table_is_ignored(change: dict[str, Any]) -> None:
    table = item(**({"LUTDescriptor": [4096, 0, 12], "LUTData": list(range(4096))} | change))
    table["LUTData"].VR = "US"

    picture = shown(image(RAMP, VOILUTSequence=[table], ModalityLUTSequence=[table]))

    assert (picture == shown(image(RAMP))).all()


def lut(entries: NDArray[np.integer], first: int, bits: int, vr: str, order: str) -> Dataset:
    """Item of a LUT sequence whose descriptor has a value representation; `first` is written as that can."""
    written = first + 65536 if vr in ("US", "OW") and first < 0 else first
    written = first - 65536 if vr == "SS" and first > 32767 else written
    count = entries.size % 65536
    values: Any = [count, written, bits]  # pydicom writes the first as unsigned, as it should
    if vr == "OW":
        values = np.array(values, f"{order}u2").tobytes()
    made = item(ModalityLUTType="US")
    made.add(DataElement(0x00283002, vr, values))
    made.add(DataElement(0x00283006, "OW", entries.astype(f"{order}u2").tobytes()))
    return made


def with_table(keyword: str, pixels: NDArray[Any], syntax: str, vr: str, first: int, **attributes: Any) -> Dataset:
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    table = lut(CURVE, first, 16, vr, order)
    return sent(image(pixels, syntax, **{keyword: [table]}, **attributes))


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("vr", ["US", "SS", "OW"])
@pytest.mark.parametrize(
    ("dtype", "first"), [("i2", -2048), ("i2", -5000), ("i2", 10), ("u2", 0), ("u2", 100), ("u2", 40000), ("u2", 61440)]
)
def test_the_first_value_of_a_modality_lut_is_what_pixel_representation_says(
    dtype: str, first: int, vr: str, syntax: str
) -> None:
    pixels = (RAMP.astype(int) + first).astype(dtype)

    dataset = with_table("ModalityLUTSequence", pixels, syntax, vr, first, WindowCenter=128, WindowWidth=256)

    assert (shown(dataset) == CURVE[RAMP]).all()


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("vr", ["US", "SS", "OW"])
@pytest.mark.parametrize(
    ("dtype", "intercept", "first"),
    [
        ("u2", -1024, -1024),
        ("u2", -1024, -100),
        ("u2", None, 0),
        ("u2", 36000, 36000),
        ("i2", None, -2048),
        ("i2", 0, -5),
        ("f4", None, -2048),
    ],
)
def test_the_first_value_of_a_voi_lut_is_signed_if_what_goes_in_can_be_negative(
    dtype: str, intercept: int | None, first: int, vr: str, syntax: str
) -> None:
    stored = (RAMP.astype(int) + (first - (intercept or 0))).clip(0 if dtype == "u2" else -5000, None)
    rescale = {} if intercept is None else {"RescaleSlope": 1, "RescaleIntercept": intercept}

    dataset = with_table("VOILUTSequence", stored.astype(dtype), syntax, vr, first, **rescale)

    assert (shown(dataset) == CURVE[np.clip(stored + (intercept or 0) - first, 0, 4095)]).all()


@pytest.mark.parametrize("vr", ["US", "SS", "OW"])
def test_a_voi_lut_behind_a_modality_lut_is_unsigned(vr: str) -> None:
    steps = np.arange(4096) + 40000
    modality = lut(steps, -2048, 16, vr, "<")
    voi = lut(CURVE, 40000, 16, vr, "<")

    dataset = image((RAMP.astype(int) - 2048).astype(np.int16), ModalityLUTSequence=[modality], VOILUTSequence=[voi])

    assert (shown(sent(dataset)) == CURVE[RAMP]).all()


@pytest.mark.parametrize("vr", ["US", "SS"])
def test_a_table_of_65536_or_of_many_entries_is_counted_without_a_sign(vr: str) -> None:
    pixels = scene(64, 64, 65536).astype(np.uint16)
    for count in (40000, 65536):
        entries = np.arange(count) // 256

        picture = shown(
            image(pixels, ModalityLUTSequence=[lut(entries, 0, 16, vr, "<")], WindowCenter=128, WindowWidth=256)
        )

        assert (picture == entries[np.minimum(pixels, count - 1)]).all()


@pytest.mark.parametrize("count", [1, 3, 101, 255])
def test_the_octet_that_pads_a_table_is_no_entry(count: int) -> None:
    entries = 20 + np.arange(count, dtype=np.uint8) % 200
    table = item(LUTDescriptor=[count, 0, 8], LUTData=entries.tobytes() + b"\0")
    table["LUTDescriptor"].VR, table["LUTData"].VR = "US", "OW"
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)

    picture = shown(image(pixels, ModalityLUTSequence=[table], WindowCenter=128, WindowWidth=256))

    assert (picture == entries[np.minimum(pixels, count - 1)]).all()


@pytest.mark.parametrize("form", ["words", "pairs"])
def test_entries_of_8_bits_lie_in_a_word_each_or_two_in_a_word(form: str) -> None:
    entries = (255 - np.arange(256)).astype(np.uint8)
    data = entries.astype("<u2") if form == "words" else np.frombuffer(entries.tobytes(), "<u2")
    table = item(LUTDescriptor=[256, 0, 8], LUTData=data.tolist())
    table["LUTDescriptor"].VR, table["LUTData"].VR = "US", "US"
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)

    picture = shown(image(pixels, ModalityLUTSequence=[table], WindowCenter=128, WindowWidth=256))

    assert (picture == entries[pixels]).all()


def test_of_several_tables_the_first_usable_one_counts() -> None:
    broken = item(LUTDescriptor=[9])
    broken["LUTDescriptor"].VR = "US"

    dataset = image(RAMP, VOILUTSequence=[broken, lut(CURVE, 0, 16, "US", "<"), lut(4095 - CURVE, 0, 16, "US", "<")])

    assert (shown(dataset) == CURVE[RAMP]).all()
