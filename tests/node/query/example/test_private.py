"""The private elements: found wherever they lie, written as text, described for DCMTK."""

import struct
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import config as pydicom_config
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pynetdicom.dsutils import decode, encode

from node.dicom.private import CREATOR, DEFINITIONS, GROUP, Element, PrivateBlock, add_block, dcmtk_dictionary
from node.errors import Refusal, Status
from tests.support.dicom.archive import identifier

DICTIONARY_FILE = Path(__file__).resolve().parents[4] / "deploy" / "dcmtk" / "lookalike.dic"
BLOCKS = st.integers(0x10, 0xFF)
NUMBERS = st.integers(0, 2**31 - 1).map(str)
VALUES = {
    "UI": st.lists(st.integers(1, 10**6), min_size=1, max_size=8).map(lambda parts: ".".join(map(str, [2, *parts]))),
    "IS": NUMBERS,
    "DS": st.decimals(0, 1, places=6).map(str),
    "LO": st.text("abcXYZ012 .-", min_size=1, max_size=64).map(str.strip).filter(bool),
    "CS": st.sampled_from(["SELF", "PATIENT", "BEST", "BACKFILLING", "ASYMMETRIC"]),
}


@st.composite
def values_of_elements(draw: st.DrawFn) -> dict[Element, list[str]]:
    elements = draw(st.lists(st.sampled_from(list(Element)), min_size=1, unique=True))
    most = {"1": 1, "4": 4, "1-n": 3}
    return {
        element: draw(st.lists(VALUES[DEFINITIONS[element].vr], min_size=1, max_size=most[DEFINITIONS[element].vm]))
        for element in elements
    }


def over_the_wire(dataset: Dataset, *, implicit: bool) -> Dataset:
    octets = encode(dataset, implicit, is_little_endian=True)
    assert octets is not None
    return decode(BytesIO(octets), implicit, is_little_endian=True)


def as_unknown(element: Element, value: bytes, block: int = 0x10) -> Dataset:
    """Identifier as of a client that does not know our dictionary: explicit VR, all UN."""
    creator = struct.pack("<HH2sH", GROUP, block, b"LO", len(CREATOR)) + CREATOR.encode()
    head = struct.pack("<HH2sHI", GROUP, block << 8 | element, b"UN", 0, len(value))
    return decode(BytesIO(creator + head + value), is_implicit_vr=False, is_little_endian=True)


@given(values=values_of_elements(), block=BLOCKS, implicit=st.booleans())
def test_a_written_block_is_read_back_over_either_transfer_syntax(
    values: dict[Element, list[str]], block: int, implicit: bool
) -> None:
    dataset = Dataset()
    add_block(dataset, list(values.items()), block)

    found = PrivateBlock(over_the_wire(dataset, implicit=implicit))

    assert found.block == block
    assert {element: found.values(element) for element in Element if element in found} == values


@given(values=values_of_elements(), implicit=st.booleans())
def test_every_value_travels_as_text(values: dict[Element, list[str]], implicit: bool) -> None:
    dataset = Dataset()
    add_block(dataset, list(values.items()))

    octets = encode(dataset, implicit, is_little_endian=True)

    assert octets is not None
    for texts in values.values():
        assert "\\".join(texts).encode("ascii") in octets


def test_the_block_is_found_beside_those_of_other_creators() -> None:
    dataset = identifier("STUDY", {Element.MAXIMUM_MATCHES: "7"}, block=0x12)
    for number, creator in ((0x10, "SOMEBODY ELSE"), (0x11, f"{CREATOR} ")):
        dataset.add(DataElement(Tag(GROUP, number), "LO", creator if number == 0x10 else "ANOTHER"))
        dataset.add(DataElement(Tag(GROUP, number << 8 | Element.MAXIMUM_MATCHES), "IS", "1"))

    block = PrivateBlock(dataset)

    assert block.values(Element.MAXIMUM_MATCHES) == ["7"]
    assert block.tag(Element.MAXIMUM_MATCHES) == Tag(GROUP, 0x1206)
    assert not block.foreign(Tag(GROUP, 0x1206))
    assert not block.foreign(Tag(GROUP, 0x12))
    assert block.foreign(Tag(GROUP, 0x1006))
    assert block.foreign(Tag(0x0077, 0x1206))


def test_elements_of_another_creator_in_the_first_block_are_not_ours() -> None:
    dataset = Dataset()
    dataset.add(DataElement(Tag(GROUP, 0x10), "LO", "SOMEBODY ELSE"))
    dataset.add(DataElement(Tag(GROUP, 0x1001), "UI", "1.2.3"))

    block = PrivateBlock(dataset)

    assert Element.EXAMPLE_SOP_INSTANCE_UID not in block
    assert block.values(Element.EXAMPLE_SOP_INSTANCE_UID) == []
    assert block.foreign(Tag(GROUP, 0x1001))


@pytest.mark.parametrize("implicit", [True, False])
def test_elements_without_any_creator_are_read_as_ours(implicit: bool) -> None:
    dataset = Dataset()
    dataset.add(DataElement(Tag(GROUP, 0x1001), "UI", "1.2.3"))

    block = PrivateBlock(over_the_wire(dataset, implicit=implicit))

    assert block.values(Element.EXAMPLE_SOP_INSTANCE_UID) == ["1.2.3"]


@pytest.mark.parametrize(
    ("value", "texts"),
    [(b"1.2.3\0", ["1.2.3"]), (b"1.2\\2.25.7", ["1.2", "2.25.7"]), (b"", []), (b"1.2\\", ["1.2"])],
)
def test_text_that_came_as_un_is_text_all_the_same(value: bytes, texts: list[str]) -> None:
    block = PrivateBlock(as_unknown(Element.EXAMPLE_SOP_INSTANCE_UID, value))

    assert block.values(Element.EXAMPLE_SOP_INSTANCE_UID) == texts


@pytest.mark.parametrize("value", [b"\x01\x00", b"\x01\x02\x03\x04", b"\xff\xfe"])
def test_a_uid_that_came_as_binary_is_refused_and_named(value: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pydicom_config.settings, "reading_validation_mode", pydicom_config.IGNORE)  # as in the node
    block = PrivateBlock(as_unknown(Element.EXAMPLE_SOP_INSTANCE_UID, value, block=0x20))

    with pytest.raises(Refusal) as refused:
        block.values(Element.EXAMPLE_SOP_INSTANCE_UID)

    assert refused.value.status == Status.DATA_SET_MISMATCH
    assert refused.value.offending == Tag(GROUP, 0x2001)


def test_nothing_is_written_for_nothing() -> None:
    dataset = Dataset()

    add_block(dataset, [])

    assert len(dataset) == 0


def test_the_dictionary_file_that_is_shipped_is_the_one_that_is_generated() -> None:
    assert DICTIONARY_FILE.read_text() == dcmtk_dictionary()
