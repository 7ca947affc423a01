"""C-FIND requests in the character sets of the world, declared, left out and unknown."""

import struct
from collections.abc import Iterator

import pytest
from pydicom import config as pydicom_config
from pydicom.charset import convert_encodings
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import UID, ImplicitVRLittleEndian
from pydicom.valuerep import PersonName

from node.ingest.preparation import text
from node.peers import RemoteEntity
from node.query.data_set import read_data_set
from node.settings import Settings
from tests.support.dicom.answering import SYNTAXES, Node, answering_node
from tests.support.dicom.archive import identifier, instance

NAMES = {
    "ISO_IR 100": "Müller^Jörg",
    "ISO_IR 144": "Иванов^Иван",
    "\\ISO 2022 IR 87": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "ISO 2022 IR 13\\ISO 2022 IR 87": "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    "\\ISO 2022 IR 58": "Zhang^XiaoDong=张^小东",
    "\\ISO 2022 IR 149": "Hong^Gildong=洪^吉洞=홍^길동",
    "GB18030": "Wang^XiaoDong=王^小东",
    "ISO_IR 192": "Łukasz^Žofia",
}
ITEMS = [
    instance(f"{number}.1.1", number, attributes={"PatientID": f"P{number}", "PatientName": name})
    for number, name in enumerate(NAMES.values(), 1)
]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with answering_node(tmp_path_factory.mktemp("node"), ITEMS) as node:
        yield node


def asking_for(name: str, character_set: str, declared: str | None) -> Dataset:
    """Request whose key is written in one character set, and which declares it, another one or none."""
    request = identifier("STUDY", PatientID="")
    if declared is not None:
        request.SpecificCharacterSet = declared
    encoded = PersonName(name).encode(convert_encodings(character_set.split("\\")))
    request.add(DataElement(0x00100010, "PN", PersonName(encoded, original_string=encoded)))
    return request


def found(node: Node, request: Dataset, syntax: UID = SYNTAXES[0]) -> list[str]:
    return [str(response.PatientName) for response in node.found(request, syntax=syntax)]


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("character_set", NAMES)
def test_a_name_is_found_and_answered_in_the_character_set_of_the_request(
    node: Node, character_set: str, syntax: UID
) -> None:
    request = identifier("STUDY", keys={"SpecificCharacterSet": character_set, "PatientName": NAMES[character_set]})

    [response] = node.found(request, syntax=syntax)

    names = response.SpecificCharacterSet
    assert (names if isinstance(names, str) else "\\".join(names)) == character_set
    assert str(response.PatientName) == NAMES[character_set]


def assuming(node: Node, character_set: str) -> Settings:
    """The node's settings with the client among its peers."""
    client = RemoteEntity(host="127.0.0.1", port=104, assume_charset=character_set)
    return node.settings.model_copy(update={"peers": {"CLIENT": client}})


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("declared", [None, "ISO 8859-5"])
def test_a_missing_or_unknown_character_set_is_the_one_that_is_assumed_of_the_caller(
    node: Node, syntax: UID, declared: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pydicom_config.settings, "reading_validation_mode", pydicom_config.IGNORE)
    request = asking_for("Иванов*", "ISO_IR 144", declared)
    assert found(node, request, syntax) == []
    monkeypatch.setattr(node.entity.find_service, "settings", assuming(node, "ISO_IR 144"))

    [response] = node.found(request, syntax=syntax)

    assert (str(response.PatientName), response.SpecificCharacterSet) == ("Иванов^Иван", "ISO_IR 144")


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("declared", ["ISO_IR 192", "ISO_IR 6", "ISO 2022 IR 6"])
def test_a_character_set_in_which_the_text_has_no_meaning_is_not_believed(
    node: Node, syntax: UID, declared: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node.entity.find_service, "settings", assuming(node, "ISO_IR 144"))

    [response] = node.found(asking_for("Иванов*", "ISO_IR 144", declared), syntax=syntax)

    assert (str(response.PatientName), response.SpecificCharacterSet) == ("Иванов^Иван", "ISO_IR 144")


def test_a_declared_character_set_is_believed(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node.entity.find_service, "settings", assuming(node, "ISO_IR 144"))

    assert found(node, asking_for("Müller*", "ISO_IR 100", "ISO_IR 100")) == ["Müller^Jörg"]


def test_chinese_with_code_extensions_is_stored_without_their_escape_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pydicom_config.settings, "reading_validation_mode", pydicom_config.IGNORE)
    name = b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab "  # PS3.5 section K.2
    octets = struct.pack("<HHI", 8, 5, 16) + b"\\ISO 2022 IR 58 " + struct.pack("<HHI", 0x10, 0x10, len(name)) + name

    assert text(read_data_set(octets, ImplicitVRLittleEndian), "PatientName") == "Zhang^XiaoDong=张^小东"
