"""Invented archives and queries over them, in many scripts and spellings, from a seed."""

from dataclasses import dataclass
from random import Random

from pydicom.charset import convert_encodings, encode_string
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from node.dicom.hierarchy import LEVEL_OF, tag_of
from node.query.rules import QueryRules
from storage.database.database import Item
from storage.record import LEVELS, Level
from tests.support.dicom.archive import CR, CT, instance, uid

SCRIPTS = {
    "ISO_IR 100": ["Müller^Jörg", "Muller^Jorg", "O'Brien^Pat^^Dr", "Straße^Ann", "Doe"],
    "ISO_IR 144": ["Иванов^Иван", "Ёлкин^Пётр"],
    "ISO_IR 126": ["Διονυσιος"],
    "\\ISO 2022 IR 87": ["Yamada^Tarou=山田^太郎=やまだ^たろう", "Sato^Ken=佐藤^健"],
    "\\ISO 2022 IR 149": ["Hong^Gildong=洪^吉洞=홍^길동", "Kim^Hee=金^喜=김^희"],
    "\\ISO 2022 IR 58": ["Zhang^XiaoDong=张^小东", "Wang^Li=王^丽"],
    "GB18030": ["Wang^XiaoDong=王^小东"],
    "ISO_IR 192": ["Łukasz^Žofia", "שרון^דבורה", "قباني^لنزار"],
}
"""Names by a character set in which they can be written."""
NAMES = [name for names in SCRIPTS.values() for name in names] + ["", "Doe^Jane", "DOE^JANE^^^", " Doe ^  Jane"]
POOLS = {
    "PatientID": ["A", "B", "AB", "a b", ""],
    "IssuerOfPatientID": ["", "H1"],
    "PatientName": NAMES,
    "PatientBirthDate": ["19700101", "", "1970"],
    "PatientSex": ["F", "M", "f", "O", ""],
    "StudyDate": ["20200101", "20200102", "20200615", "", "2020.06.15", "202001", "UNKNOWN", "20200101\\20200615"],
    "StudyTime": ["0930", "093015.25", "23", "", "10:15:00"],
    "AccessionNumber": ["A1", " A1 ", "A2\\A1", "", "Ä1"],
    "StudyID": ["7", "x y", ""],
    "StudyDescription": ["CHEST", "CHEST AP", "Schädel", "胸部", ""],
    "ReferringPhysicianName": NAMES,
    "PatientAge": ["045Y", "", "006M"],
    "Modality": ["CT", "MR", "ct", " PT", ""],
    "SeriesNumber": ["1", "007", "+7", "x", ""],
    "SeriesDate": ["20200101", "20200615", ""],
    "SeriesTime": ["0930", "2359", ""],
    "BodyPartExamined": ["CHEST", "Head", "HEAD\\CHEST", ""],
    "ImageType": ["ORIGINAL\\PRIMARY\\AXIAL", "DERIVED\\SECONDARY", ""],
    "InstanceNumber": ["1", "01", "2", ""],
    "SOPClassUID": [CT, CR],
    "Rows": ["512", "64"],
}
SPECIAL = {
    "StudyDate": ["20200101-20200131", "-20200615", "20200102-", "2020", "-", "20200615-20200101", '""'],
    "StudyTime": ["0900-1000", "-1000", "1000-", "09", "1200-0600"],
    "SeriesDate": ["20200101-20200131", "-20200615", "20200102-"],
    "SeriesTime": ["0900-1000", "-1000", "1000-"],
    "ModalitiesInStudy": ["CT", "CT\\MR", "M?", "PT\\CT", '""'],
    "SOPClassesInStudy": [CT, f"{CR}\\{CT}"],
    "NumberOfStudyRelatedInstances": ["", "2"],
    "NumberOfSeriesRelatedInstances": [""],
    "NumberOfPatientRelatedStudies": ["", "1"],
    "StudyInstanceUID": ["", uid("1"), f"{uid('2')}\\{uid('1')}\\1.2"],
    "SeriesInstanceUID": ["", uid("1.1"), f"{uid('2.1')}\\{uid('1.2')}"],
    "SOPInstanceUID": ["", uid("1.1.1"), f"{uid('2.1.1')}\\{uid('1.2.1')}"],
    "RequestedProcedureID": ["", "7"],
}
"""Keys that are no spelling of a stored value, and those of attributes that are no stored text."""
KEYWORDS = sorted({*POOLS, *SPECIAL})


@dataclass(frozen=True)
class Asked:
    """A query as it is sent."""

    level: Level
    patient_root: bool
    keys: dict[str, str]
    character_set: str
    rules: QueryRules


def archive(random: Random) -> list[Item]:
    """A few studies; each attribute is the same for all that share the entity which it describes."""
    places = [(a, b, c) for a in (1, 2, 3, 4) for b in (1, 2) for c in (1, 2)]
    seen: dict[tuple[str, object], str] = {}
    items = []
    for place in random.sample(places, random.randint(1, 9)):
        patient = seen.setdefault(("PatientID", place[:1]), random.choice(POOLS["PatientID"]))
        issuer = seen.setdefault(("IssuerOfPatientID", patient or place[:1]), random.choice(POOLS["IssuerOfPatientID"]))
        owner = {
            Level.PATIENT: patient or place[:1],
            Level.STUDY: place[:1],
            Level.SERIES: place[:2],
            Level.IMAGE: place,
        }
        given = {"PatientID": patient, "IssuerOfPatientID": issuer if patient else ""}
        for keyword, pool in POOLS.items():
            own = seen.setdefault((keyword, owner[LEVEL_OF[keyword]]), random.choice(pool))
            given.setdefault(keyword, own)
        items.append(instance(".".join(map(str, place)), 1, attributes=given))
    return items


def query(random: Random) -> Asked:
    """A query with a few keys, written in a character set."""
    level = random.choice(LEVELS)
    keywords = random.sample(KEYWORDS, random.randint(0, 4))
    keys = {keyword: _key(random, keyword) for keyword in keywords}
    if random.random() < 0.2:
        keys |= {keyword: random.choice(SPECIAL[keyword]) for keyword in ("StudyDate", "StudyTime")}
    rules = QueryRules(
        patient_root=level == Level.PATIENT or random.random() < 0.5,
        combines_date_time=random.random() < 0.5,
        matches_all_values=random.random() < 0.5,
        empty_matches=random.random() < 0.7,
    )
    fitting = [name for name in SCRIPTS if all(_fits(text, name) for text in keys.values())]
    return Asked(level, rules.patient_root, keys, random.choice(fitting), rules)


def identifier_of(asked: Asked) -> Dataset:
    """The query as a data set whose texts are encoded already."""
    dataset = Dataset()
    dataset.QueryRetrieveLevel = asked.level
    dataset.SpecificCharacterSet = asked.character_set.split("\\")
    for keyword, text in asked.keys.items():
        tag = Tag(tag_of(keyword))
        encoded = _encoded(text, asked.character_set)
        if dictionary_VR(tag) == "US":
            encoded = int(text).to_bytes(2, "little") if text.isdecimal() else b""
        dataset[tag] = RawDataElement(tag, dictionary_VR(tag), len(encoded), encoded, 0, False, True)
    return dataset


def _key(random: Random, keyword: str) -> str:
    if keyword not in POOLS or (keyword in SPECIAL and random.random() < 0.5):
        return random.choice(SPECIAL[keyword])
    if keyword == "Rows":
        return random.choice(["", *POOLS["Rows"]])
    return "\\".join(_spelt(random, random.choice(POOLS[keyword])) for _ in range(random.choice([1, 1, 1, 2])))


def _spelt(random: Random, text: str) -> str:
    """A stored text as somebody might ask for it."""
    at = random.randint(0, len(text))
    return random.choice(
        [
            text, text, f"{text[:at]}*", f"*{text[at:]}", f"{text[:at]}?{text[at + 1 :]}", text.upper(), text.lower(),
            f" {text} ", "", "*", '""', f"{text}^*", f"{text[:at]}*{text[at + 1 :]}",
        ]
    )  # fmt: skip


def _encoded(text: str, character_set: str) -> bytes:
    encodings = convert_encodings(character_set.split("\\"))
    parts = [
        b"=".join(b"^".join(encode_string(part, encodings) for part in group.split("^")) for group in value.split("="))
        for value in text.split("\\")
    ]
    encoded = b"\\".join(parts)
    return encoded + b" " * (len(encoded) % 2)


def _fits(text: str, character_set: str) -> bool:
    names = character_set.split("\\")
    codes = ["ascii" if not name else code for name, code in zip(names, convert_encodings(names), strict=True)]
    characters = {character for character in text if character not in "\\"}
    return all(any(_is_in(character, code) for code in codes) for character in characters)


def _is_in(character: str, code: str) -> bool:
    try:
        character.encode(code)
    except UnicodeEncodeError:
        return False
    return True
