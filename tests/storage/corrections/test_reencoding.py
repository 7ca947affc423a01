"""Another model: every stored image gets its codes, from previews, all at once or not at all."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hashing.codes import pack
from storage.corrections import reencoding
from storage.corrections.reencoding import Encoded, PreviewsMissing, prepare, reencode
from storage.corrections.rejecting import restore
from storage.database.database import Database
from storage.database.rejections import RejectedInstance, Title
from storage.errors import ModelMismatch
from storage.record import Level
from storage.segments.builder import build
from storage.vault import Vault
from tests.support.storage.invented import item

OLD, NEW = "old-1", "new-2"


def anew(previews: NDArray[np.uint8], modalities: Sequence[str]) -> Encoded:
    """Codes that say the grey value and the modality: 3 class scores instead of the 5 before."""
    grey = previews[:, 0, 0].astype(np.int64)
    bits = np.stack([grey >> number & 1 for number in range(8)], axis=1).astype(bool)
    wide = np.tile(np.column_stack([bits, np.array(modalities)[:, None] == ["CT", "MR"]]), (1, 10))[:, :64]
    return Encoded(pack(wide), np.where(wide, 7, -7).astype(np.int8), np.tile(grey.astype(np.uint8)[:, None], (1, 3)))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Images 0 to 39, of which number 5 has three frames, 7 was removed and 9 is hidden by a rejection."""
    with Database.create_or_open(tmp_path / "database", 64, OLD, 2**26) as database:
        items = [item(number) for number in range(40)]
        items[5] = item(5, frames=(0, 2, 4))
        database.append(items)
        database.remove(["2.25.27"])
        with database.writing() as tables:
            tables.rejections.put("2.25.29", RejectedInstance("2.25.42", {"1.9": (Title.QUALITY, 2**62)}))
            tables.rejections.withhold(items[9])
        database.remove(["2.25.29"])
        build(database, whole=True)
        yield database


def stored(database: Database) -> dict[str, tuple[Any, Any, Any]]:
    """Codes, outputs and record of each instance."""
    with database.snapshot() as snapshot:
        found = {}
        for entity in snapshot.entities(Level.IMAGE):
            outputs = snapshot.outputs_of(entity.uid)
            assert outputs is not None
            found[entity.uid] = (
                snapshot.codes_of(entity.uid).tolist(), outputs.relaxed.tolist(), snapshot.record(entity.uid)
            )  # fmt: skip
        return found


def test_every_image_gets_codes_of_the_new_model_and_keeps_all_else(database: Database, tmp_path: Path) -> None:
    before = stored(database)
    with database.snapshot() as snapshot:
        identifier = snapshot.identifier

    done = reencode(database, NEW, anew, tmp_path / "waiting")

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
    assert not (tmp_path / "waiting").exists()


def test_the_database_belongs_to_the_new_model_from_then_on(database: Database, tmp_path: Path) -> None:
    reencode(database, NEW, anew, tmp_path / "waiting")
    database.close()

    Database.create_or_open(tmp_path / "database", 64, NEW, 2**26).close()
    with pytest.raises(ModelMismatch, match="lookalike model reencode"):
        Database.create_or_open(tmp_path / "database", 64, OLD, 2**26)


def test_a_hidden_image_comes_back_with_codes_of_the_new_model(database: Database, tmp_path: Path) -> None:
    reencode(database, NEW, anew, tmp_path / "waiting")

    restore(database, "2.25.29")

    with database.snapshot() as snapshot:
        assert snapshot.codes_of("2.25.29").tolist() == anew(np.full((1, 4, 4), 9, np.uint8), ["CT"]).codes.tolist()


def test_an_interrupted_run_changes_nothing_and_goes_on_where_it_was(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reencoding, "ENCODED_TOGETHER", 10)
    before, calls = stored(database), []

    def power_cut(previews: NDArray[np.uint8], modalities: Sequence[str]) -> Encoded:
        calls.append(len(previews))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return anew(previews, modalities)

    with pytest.raises(KeyboardInterrupt):
        reencode(database, NEW, power_cut, tmp_path / "waiting")
    untouched = stored(database)
    reencode(database, NEW, power_cut, tmp_path / "waiting")

    assert untouched == before
    assert calls == [10, 10, 10, 10, 10, 1], "the first two batches are kept; the last is the hidden image"


def test_an_image_that_is_replaced_after_it_was_prepared_gets_the_code_of_its_new_pixels(
    database: Database, tmp_path: Path
) -> None:
    before = stored(database)
    assert prepare(database, NEW, anew, tmp_path / "waiting") == 40
    assert stored(database) == before
    with database.writing() as tables:
        ordinal = next(number for number, node in tables.nodes(Level.IMAGE) if node.uid == "2.25.211")
        tables.put_preview(ordinal, 0, np.full((4, 4), 200, np.uint8))

    reencode(database, NEW, anew, tmp_path / "waiting")

    expected = anew(np.full((1, 4, 4), 200, np.uint8), ["MR"]).codes.tolist()
    assert stored(database)["2.25.211"][0] == expected


def test_what_waits_beside_a_sealed_database_is_sealed(tmp_path: Path) -> None:
    vault, waiting = Vault(bytes(range(32))), tmp_path / "waiting"
    with Database.create_or_open(tmp_path / "sealed", 64, OLD, 2**26, vault=vault) as database:
        database.append([item(number) for number in range(4)])
        prepare(database, NEW, anew, waiting)
        kept = (waiting / "data.mdb").read_bytes()

        done = reencode(database, NEW, anew, waiting)

        codes = [database_code(database, number) for number in range(4)]
    grey = np.arange(4, dtype=np.uint8)[:, None, None] * np.ones((1, 4, 4), np.uint8)
    expected = anew(grey, ["CT", "CT", "MR", "MR"])
    assert done == 4
    assert codes == expected.codes.tolist()
    assert not any(outputs.tobytes() in kept for outputs in expected.outputs)


def database_code(database: Database, number: int) -> list[int]:
    with database.snapshot() as snapshot:
        return [int(word) for word in snapshot.codes_of(f"2.25.2{number}")[0]]


def test_what_was_kept_for_another_model_is_not_taken(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reencoding, "ENCODED_TOGETHER", 10)

    def other(previews: NDArray[np.uint8], modalities: Sequence[str]) -> Encoded:
        if (previews == 30).any():
            raise KeyboardInterrupt
        return anew(255 - previews, modalities)

    with pytest.raises(KeyboardInterrupt):
        reencode(database, "third-3", other, tmp_path / "waiting")
    reencode(database, NEW, anew, tmp_path / "waiting")

    assert stored(database)["2.25.20"][0] == anew(np.zeros((1, 4, 4), np.uint8), ["CT"]).codes.tolist()


def test_images_without_a_preview_are_counted_and_nothing_changes(database: Database, tmp_path: Path) -> None:
    database.append([replace(item(50), previews=None)])
    before = stored(database)

    with pytest.raises(PreviewsMissing, match="1 stored frames have no preview"):
        reencode(database, NEW, anew, tmp_path / "waiting")

    assert stored(database) == before
    assert database.header.model == OLD


def test_a_database_of_the_model_is_left_alone(database: Database, tmp_path: Path) -> None:
    def never(previews: NDArray[np.uint8], modalities: Sequence[str]) -> Encoded:
        raise AssertionError("encoded")

    assert reencode(database, OLD, never, tmp_path / "waiting") == 0
