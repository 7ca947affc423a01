"""C-FIND against a naive matcher, over invented archives and identifiers in many character sets."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from pydicom import config as pydicom_config
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.dsutils import encode

from node.dicom.hierarchy import RETURN_ONLY, UNIQUE
from node.errors import Status
from node.query.data_set import read_data_set
from node.query.find import Finder
from node.query.retriever import Retriever
from node.settings import Settings
from storage.database.database import Database
from storage.record import Record
from storage.search.local import LocalIndex
from storage.spool.queue import Spool
from tests.support.dicom import naive_find
from tests.support.dicom.invented_queries import Asked, archive, identifier_of, query

QUERIES = 100
"""Queries of one archive."""


@pytest.fixture(autouse=True)
def _lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pydicom_config.settings, "reading_validation_mode", pydicom_config.IGNORE)
    monkeypatch.setattr(pydicom_config.settings, "writing_validation_mode", pydicom_config.IGNORE)


@contextmanager
def finder_of(random: Random) -> Iterator[tuple[Finder, list[Record]]]:
    """A finder over an invented archive, and the archive's records."""
    items = archive(random)
    with TemporaryDirectory() as folder, Database.create_or_open(Path(folder), 64, "model", 1 << 24) as database:
        appended = database.append(items)
        assert appended.new == len(items)
        retriever = Retriever(Spool(Path(folder) / "spool", 9, 0), LocalIndex(database).view, "model")
        yield Finder(Settings(home=Path(folder)), database, retriever), [item.record for item in items]


def answered(finder: Finder, asked: Asked, *, implicit: bool) -> tuple[set[Status], list[Dataset]]:
    """Statuses and identifiers of the responses to a query that comes as bytes."""
    syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    octets = encode(identifier_of(asked), implicit, is_little_endian=True)
    assert octets is not None
    responses = list(
        finder.find(read_data_set(octets, syntax), asked.rules, implicit=implicit, is_cancelled=lambda: False)
    )
    identifiers = [read_data_set(encoded, syntax) for _, encoded in responses if encoded is not None]
    return {status for status, _ in responses}, identifiers


def texts(response: Dataset, keywords: Sequence[str]) -> tuple[str, ...]:
    """Values of a response, as the archive holds them but for padding."""
    return tuple(text_of(response[keyword].value) for keyword in keywords)


def text_of(value: object) -> str:
    parts = value if isinstance(value, MultiValue | list) else ("" if value is None else str(value)).split("\\")
    return "\\".join(str(part).strip().rstrip("=") for part in parts)


def check(finder: Finder, records: list[Record], asked: Asked, *, implicit: bool) -> None:
    """Fail unless the answer is the one that the naive matcher gives."""
    keywords = sorted(naive_find.returned(asked.level, [*(set(asked.keys) - {"RequestedProcedureID"})]))
    keys = {keyword: asked.keys[keyword] for keyword in keywords}
    expected = naive_find.found(records, asked.level, keys, asked.rules)

    statuses, responses = answered(finder, asked, implicit=implicit)

    values = [tuple(text_of(naive_find.value(records, one, k)) for k in keywords) for one in expected.values()]
    assert Counter(texts(response, keywords) for response in responses) == Counter(values), asked
    unmatched = any(asked.keys[keyword].strip("* ") for keyword in keywords if keyword in RETURN_ONLY)
    pending = Status.PENDING_WITH_UNSUPPORTED_KEYS if unmatched or len(keywords) < len(asked.keys) else Status.PENDING
    assert statuses <= {pending}, asked
    beside = {"QueryRetrieveLevel", "SpecificCharacterSet"}
    assert all({element.keyword for element in response} - beside == set(keywords) for response in responses), asked


def compare(seeds: range) -> None:
    for seed in seeds:
        random = Random(seed)
        with finder_of(random) as (finder, records):
            for _ in range(QUERIES):
                asked = query(random)
                unique = {UNIQUE[asked.level]: ""} | asked.keys
                whole = Asked(asked.level, asked.patient_root, unique, asked.character_set, asked.rules)
                check(finder, records, whole, implicit=random.random() < 0.5)


def test_hundreds_of_queries_are_answered_as_by_a_naive_matcher() -> None:
    compare(range(4))


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, 220, 20))
def test_thousands_of_queries_are_answered_as_by_a_naive_matcher(start: int) -> None:
    compare(range(start + 1000, start + 1020))
