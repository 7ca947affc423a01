"""The codes of the model before are kept for the way back, of what is stored and of nothing else."""

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from storage.corrections import reencoding
from storage.corrections.copying import copy_database, rewrite_database, seal_database
from storage.corrections.erasing import ErasureTarget, erase
from storage.corrections.reencoding import Encoded, drop, kept, prepare, reencode
from storage.corrections.rejecting import RejectionNote, reject, restore
from storage.database.database import Database
from storage.database.rejections import Title
from storage.database.tables import FRAME_OF, Tables
from storage.encodings import Encodings
from storage.record import Level
from storage.vault import Vault
from tests.support.storage.invented import item
from tests.support.storage.models import NEW, OLD, anew, encoder, forty, never, replaced, stored


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with forty(tmp_path / "database") as database:
        yield database


def test_the_way_back_gives_the_codes_of_before_and_encodes_only_what_is_hidden(database: Database) -> None:
    before, calls = stored(database), list[int]()
    reencode(database, NEW, anew)
    between, was_kept = stored(database), kept(database)

    done = reencode(database, OLD, encoder(calls))

    assert was_kept is not None
    assert (was_kept.model, was_kept.is_before) == (OLD, True)
    assert was_kept.size_bytes > 40 * 64
    assert (done, calls) == (40, [1])
    assert stored(database) == before
    assert database.header.model == OLD
    assert database.verify() == []
    assert reencode(database, NEW, anew) == 40
    assert stored(database) == between


def test_the_way_back_encodes_what_came_or_was_replaced_or_had_no_outputs(database: Database) -> None:
    database.append([replace(item(60), outputs=None, class_scores=None)])
    calls = list[int]()
    reencode(database, NEW, anew)
    database.append([replaced(11, 200), item(50)], replace=True)
    database.remove(["2.25.21"])

    done = reencode(database, OLD, encoder(calls))

    assert (done, calls) == (41, [3, 1]), "the last is the hidden image"
    assert stored(database)["2.25.211"][0] == anew(np.full((1, 4, 4), 200, np.uint8), ["MR"]).codes.tolist()
    assert database.verify() == []


def test_one_generation_is_kept_and_can_be_dropped(database: Database) -> None:
    assert kept(database) is None
    reencode(database, NEW, anew)
    prepare(database, "third-3", anew)
    prepared = kept(database)

    dropped = drop(database)

    assert prepared is not None
    assert (prepared.model, prepared.is_before) == ("third-3", False)
    assert dropped == prepared.size_bytes
    assert kept(database) is None
    assert drop(database) == 0


def test_encodings_do_without_previews_that_went(database: Database) -> None:
    prepare(database, NEW, anew)
    with database.writing() as tables:
        ordinal = tables.ordinal(Level.IMAGE, "2.25.211")
        assert ordinal is not None
        tables._transaction.delete(FRAME_OF.pack(ordinal, 0), db=tables._handles["previews"])

    assert reencode(database, NEW, anew) == 40


def leave(database: Database, how: str) -> None:
    """Let instances 0 to 3, of one study, go."""
    references = {f"2.25.2{number}": "2.25.40" for number in range(4)}
    if how == "erased":
        erase(database, ErasureTarget("2.25.40"))
    elif how == "rejected":
        reject(database, RejectionNote("2.25.9", Title.RETENTION_EXPIRED, references, 2**62))
    else:
        database.append([replaced(number, 200) for number in range(4)], replace=True)


@pytest.mark.parametrize("how", ["erased", "rejected", "replaced"])
@pytest.mark.parametrize("switched", [False, True], ids=["prepared", "kept"])
def test_no_encoding_stays_of_an_image_that_goes(database: Database, tmp_path: Path, how: str, switched: bool) -> None:
    prepare(database, NEW, anew)
    if switched:
        reencode(database, NEW, anew)
    with database.reading() as tables:
        ordinals = [tables.ordinal(Level.IMAGE, f"2.25.2{number}") for number in range(4)]
        gone = [tables.encodings.get(ordinal or 0, 0) or b"none" for ordinal in ordinals]

    leave(database, how)

    with database.reading() as tables:
        assert not any(tables.encodings.has(OLD if switched else NEW, ordinal or 0, 0) for ordinal in ordinals)
    assert database.verify() == []
    database.close()
    before = (tmp_path / "database/data.mdb").read_bytes()
    rewrite_database(tmp_path / "database", 2**26)
    after = (tmp_path / "database/data.mdb").read_bytes()
    assert len(gone) == 4
    assert all(encoding in before for encoding in gone)
    assert not any(encoding in after for encoding in gone)


def test_nothing_is_prepared_of_an_image_that_is_erased_while_it_is_encoded(database: Database) -> None:
    def meanwhile(previews: NDArray[np.uint8], modalities: Sequence[str]) -> Encoded:
        leave(database, "erased")
        return anew(previews, modalities)

    prepare(database, NEW, meanwhile)

    with database.reading() as tables:
        assert [tables.encodings.has(NEW, ordinal, 0) for ordinal in range(6)] == [False] * 4 + [True] * 2


def test_encodings_of_another_model_lie_sealed_in_a_sealed_database(tmp_path: Path) -> None:
    vault, file = Vault(bytes(range(32))), tmp_path / "sealed/data.mdb"
    items = [item(number) for number in range(4)]
    with Database.create_or_open(tmp_path / "sealed", 64, OLD, 2**26, vault=vault) as database:
        database.append(items)
        before = stored(database)
        prepare(database, NEW, anew)
        octets = file.read_bytes()
        done = reencode(database, NEW, anew)
        octets += file.read_bytes()
        codes = [stored(database)[f"2.25.2{number}"][0][0] for number in range(4)]
        reencode(database, OLD, never)
        assert stored(database) == before
    grey = np.arange(4, dtype=np.uint8)[:, None, None] * np.ones((1, 4, 4), np.uint8)
    expected = anew(grey, ["CT", "CT", "MR", "MR"])
    assert done == 4
    assert codes == expected.codes.tolist()
    assert not any(outputs.tobytes() in octets for outputs in (*expected.outputs, *(one.outputs for one in items)))


def test_a_database_that_is_sealed_later_and_a_copy_of_it_keep_the_way_back(database: Database, tmp_path: Path) -> None:
    vault = Vault(bytes(range(32)))
    restore(database, "2.25.29")
    before = stored(database)
    reencode(database, NEW, anew)
    database.close()
    seal_database(tmp_path / "database", vault, 2**26)
    (tmp_path / "copy").mkdir()
    copy_database(tmp_path / "database", tmp_path / "copy", 2**26)

    with Database.open(tmp_path / "copy", readonly=False, vault=vault) as copy:
        assert copy.verify() == []
        reencode(copy, OLD, never)
        assert stored(copy) == before


def killed(path: Path, model: str, place: str) -> None:
    """Bring a database to a model in a process that is killed at a place of the change."""
    with Database.open(path, readonly=False) as database:

        def kill(*_: Any) -> Any:
            os.kill(os.getpid(), signal.SIGKILL)

        places: dict[str, tuple[Any, str]] = {
            "clear": (Encodings, "clear"),
            "encode": (reencoding, "_packed"),
            "put": (Encodings, "put"),
            "swap": (Tables, "put_outputs"),
            "commit": (Tables, "set_header"),
        }
        if place in places:
            setattr(*places[place], kill)
        reencode(database, model, anew)
        kill()


@pytest.mark.parametrize("place", ["clear", "encode", "put", "swap", "commit", "after"])
def test_a_kill_leaves_one_generation_whole_and_the_change_can_be_ended(
    database: Database, tmp_path: Path, place: str
) -> None:
    before = stored(database)
    database.close()
    process = multiprocessing.get_context("spawn").Process(target=killed, args=(tmp_path / "database", NEW, place))
    process.start()
    process.join()

    with Database.open(tmp_path / "database", readonly=False) as again:
        assert process.exitcode == -signal.SIGKILL
        assert again.verify() == []
        assert again.header.model == (NEW if place == "after" else OLD)
        assert (stored(again) == before) == (place != "after")
        reencode(again, NEW, anew)
        assert again.header.model == NEW
        reencode(again, OLD, anew)
        assert stored(again) == before
