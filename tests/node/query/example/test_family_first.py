"""Look-alikes of the example's family of modalities before all others."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hashing.codes import pack
from node.query.question import Question
from node.query.retriever import LookAlikes, Retriever
from storage.database.database import Item
from storage.database.snapshot import Snapshot
from storage.record import Level
from storage.search.index import Filter
from storage.search.local import LocalIndex
from storage.spool.queue import Spool
from tests.support.dicom.archive import instance
from tests.support.dicom.questions import MODEL

MODALITIES = ("DX", "CT", "CR", "MR", "DX", "CT")
"""Of images 1 to 6; image n differs from the first in n - 1 bits."""


def image(number: int, modality: str) -> Item:
    bits = np.arange(64)[None] < number - 1
    return replace(
        instance(f"{number}.1.1", 0, PatientID=str(number), Modality=modality), codes=pack(bits), outputs=None
    )


ITEMS = [image(number + 1, modality) for number, modality in enumerate(MODALITIES)]


@pytest.fixture
def family_first(tmp_path: Path, index: LocalIndex) -> Retriever:
    return Retriever(Spool(tmp_path / "spool", 9, 0), index.view, MODEL, family_first=True)


def ask(retriever: Retriever, snapshot: Snapshot, k: int, level: Level = Level.IMAGE, **where: object) -> LookAlikes:
    question = Question(examples=(ITEMS[0].record.sop_instance_uid,), maximum_matches=k)
    return retriever.similar(snapshot, question, level, Filter(**where))  # type: ignore[arg-type]


def numbers(found: LookAlikes) -> list[tuple[int, int]]:
    """Rank and distance of each match."""
    return [(match.rank, int(match.distance)) for match in found.matches]


def test_radiographs_come_first_and_then_the_others_by_distance(family_first: Retriever, snapshot: Snapshot) -> None:
    found = ask(family_first, snapshot, 5)

    assert numbers(found) == [(1, 2), (2, 4), (3, 1), (4, 3), (5, 5)]
    assert found.candidates == 5


def test_as_many_come_as_were_asked_for_the_family_first(family_first: Retriever, snapshot: Snapshot) -> None:
    assert numbers(ask(family_first, snapshot, 1)) == [(1, 2)]
    assert numbers(ask(family_first, snapshot, 3)) == [(1, 2), (2, 4), (3, 1)]


def test_without_the_setting_distance_alone_decides(retriever: Retriever, snapshot: Snapshot) -> None:
    assert numbers(ask(retriever, snapshot, 5)) == [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]


def test_a_condition_on_modality_stays(family_first: Retriever, snapshot: Snapshot) -> None:
    found = ask(family_first, snapshot, 5, modalities=frozenset({"CT", "CR"}))

    assert numbers(found) == [(1, 2), (2, 1), (3, 5)]


@pytest.mark.parametrize("level", [Level.SERIES, Level.STUDY])
def test_it_holds_for_series_and_studies_and_none_comes_twice(
    level: Level, family_first: Retriever, snapshot: Snapshot
) -> None:
    found = ask(family_first, snapshot, 5, level)

    assert [int(match.distance) for match in found.matches] == [2, 4, 1, 3, 5]
    assert len({match.entity.uid for match in found.matches}) == 5
