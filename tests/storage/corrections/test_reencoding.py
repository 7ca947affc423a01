"""Another model: every stored image gets its codes, from previews, all at once or not at all."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from storage.corrections import reencoding
from storage.corrections.reencoding import Encoded, PreviewsMissing, prepare, reencode
from storage.corrections.rejecting import restore
from storage.database.database import Database
from storage.errors import ModelMismatch
from tests.support.storage.invented import item
from tests.support.storage.models import NEW, OLD, anew, forty, never, replaced, stored


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with forty(tmp_path / "database") as database:
        yield database


def test_every_image_gets_codes_of_the_new_model_and_keeps_all_else(database: Database, tmp_path: Path) -> None:
    before = stored(database)
    with database.snapshot() as snapshot:
        identifier = snapshot.identifier

    done = reencode(database, NEW, anew)

    after = stored(database)
    expected = anew(np.full((1, 4, 4), 11, np.uint8), ["MR"])
    assert done == 38 + 2, "38 instances, one of which has two frames more"
    assert after.keys() == before.keys()
    assert all(after[uid][2] == before[uid][2] for uid in before)
    assert after["2.25.211"][:2] == (expected.codes.tolist(), expected.outputs.tolist())
    assert len(after["2.25.25"][0]) == 3
    with database.snapshot() as snapshot:
        assert snapshot.identifier != identifier, "no question may go on with a snapshot of before"
        assert not snapshot.segment_entries
    assert database.verify() == []


def test_the_database_belongs_to_the_new_model_from_then_on(database: Database, tmp_path: Path) -> None:
    reencode(database, NEW, anew)
    database.close()

    Database.create_or_open(tmp_path / "database", 64, NEW, 2**26).close()
    with pytest.raises(ModelMismatch, match="lookalike model reencode"):
        Database.create_or_open(tmp_path / "database", 64, OLD, 2**26)


def test_a_hidden_image_comes_back_with_codes_of_the_new_model(database: Database, tmp_path: Path) -> None:
    reencode(database, NEW, anew)

    restore(database, "2.25.29")

    with database.snapshot() as snapshot:
        assert snapshot.codes_of("2.25.29").tolist() == anew(np.full((1, 4, 4), 9, np.uint8), ["CT"]).codes.tolist()


def test_an_interrupted_run_changes_nothing_and_goes_on_where_it_was(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reencoding, "ENCODED_TOGETHER", 10)
    before, calls = stored(database), []

    def power_cut(previews: NDArray[np.uint8], modalities: Sequence[str]) -> Encoded:
        calls.append(len(previews))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return anew(previews, modalities)

    with pytest.raises(KeyboardInterrupt):
        reencode(database, NEW, power_cut)
    untouched = stored(database)
    reencode(database, NEW, power_cut)

    assert untouched == before
    assert calls == [10, 10, 10, 10, 10, 1], "the first two batches are kept; the last is the hidden image"


def test_an_image_that_is_replaced_after_it_was_prepared_gets_the_code_of_its_new_pixels(database: Database) -> None:
    before = stored(database)
    assert prepare(database, NEW, anew) == 40
    assert stored(database) == before
    database.append([replaced(11, 200)], replace=True)

    reencode(database, NEW, anew)

    expected = anew(np.full((1, 4, 4), 200, np.uint8), ["MR"]).codes.tolist()
    assert stored(database)["2.25.211"][0] == expected


def test_what_was_kept_for_another_model_is_not_taken(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reencoding, "ENCODED_TOGETHER", 10)

    def other(previews: NDArray[np.uint8], modalities: Sequence[str]) -> Encoded:
        if (previews == 30).any():
            raise KeyboardInterrupt
        return anew(255 - previews, modalities)

    with pytest.raises(KeyboardInterrupt):
        reencode(database, "third-3", other)
    reencode(database, NEW, anew)

    assert stored(database)["2.25.20"][0] == anew(np.zeros((1, 4, 4), np.uint8), ["CT"]).codes.tolist()


def test_images_without_a_preview_are_counted_and_nothing_changes(database: Database, tmp_path: Path) -> None:
    database.append([replace(item(50), previews=None)])
    before = stored(database)

    with pytest.raises(PreviewsMissing, match="1 stored frames have no preview"):
        reencode(database, NEW, anew)

    assert stored(database) == before
    assert database.header.model == OLD


def test_a_database_of_the_model_is_left_alone(database: Database, tmp_path: Path) -> None:
    assert reencode(database, OLD, never) == 0
