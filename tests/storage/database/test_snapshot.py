"""One state of the database, read."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from storage.errors import SnapshotError
from storage.record import Level
from tests.support.storage.databases import create
from tests.support.storage.invented import N_CLASSES, item, record


def test_outputs_are_told_for_rows_and_are_zeros_where_there_are_none_or_others(tmp_path: Path) -> None:
    items = [item(0), item(1, frames=(0, 4)), item(2), replace(item(4), outputs=None, class_scores=None)]
    other = item(2, content_digest=b"other", frames=(1,))
    with create(tmp_path) as database:
        database.append(items)
        database.remove(["2.25.22"])
        database.append([replace(other, class_scores=np.full((1, N_CLASSES), 9, np.uint8))])

        with database.snapshot() as snapshot:
            rows = np.array([2, 0, 4, 1, 5])  # row 3 is that of the image removed
            told, wider = snapshot.outputs_at(rows, N_CLASSES), snapshot.outputs_at(rows, N_CLASSES + 1)

    kept, relaxed = items[1].class_scores, items[1].outputs
    assert kept is not None
    assert relaxed is not None
    assert told.class_scores is not None
    assert wider.class_scores is not None
    unknown = [0] * N_CLASSES
    assert told.relaxed[[0, 3]].tolist() == relaxed[[1, 0]].tolist()
    assert not told.relaxed[2].any()
    assert told.relaxed.tolist() == wider.relaxed.tolist()
    assert told.class_scores.tolist() == [kept[1].tolist(), unknown, unknown, kept[0].tolist(), [9] * N_CLASSES]
    assert not wider.class_scores.any()


def test_the_identifier_names_the_state(tmp_path: Path) -> None:
    seen = set()
    with create(tmp_path / "a") as database, create(tmp_path / "b") as other:
        for change in (list, lambda: database.append([item(1)]), lambda: database.remove(["2.25.21"])):
            change()
            with database.snapshot() as snapshot, other.snapshot() as empty:
                seen |= {snapshot.identifier, empty.identifier}
    assert len(seen) == 4
    assert all(len(identifier) <= 64 for identifier in seen)  # VR LO of the wire


def test_entities_carry_what_is_above_them(tmp_path: Path) -> None:
    with create(tmp_path) as database:
        database.append([item(number) for number in range(9)])

        with database.snapshot() as snapshot:
            assert [snapshot.count(level) for level in Level] == [2, 3, 5, 9]
            assert [each.uid for each in snapshot.entities(Level.STUDY)] == ["2.25.40", "2.25.41", "2.25.42"]
            assert snapshot.children(Level.STUDY, "2.25.41") == ["2.25.32", "2.25.33"]
            assert snapshot.children(Level.SERIES, "2.25.33") == ["2.25.26", "2.25.27"]
            assert snapshot.children(Level.SERIES, "unknown") == []
            series = snapshot.entity(Level.SERIES, "2.25.33")
            assert series
            assert series.uids == {
                Level.PATIENT: "P0\\HOSPITAL",
                Level.STUDY: "2.25.41",
                Level.SERIES: "2.25.33",
            }
            assert series.attributes == {**record(6).patient, **record(6).study, **record(6).series}
            assert [snapshot.uid(Level.SERIES, i) for i in snapshot.ordinals(Level.SERIES, ["2.25.33", "?"])] == [
                "2.25.33"
            ]
            assert (snapshot.record("?"), snapshot.entity(Level.STUDY, "?"), snapshot.preview("?", 0)) == (None,) * 3
            assert snapshot.pixel_digest("2.25.27") == 7
            with pytest.raises(KeyError):
                snapshot.codes_of("?")


def test_a_snapshot_does_not_change_and_is_used_once(tmp_path: Path) -> None:
    with create(tmp_path) as database:
        database.append([item(1)])
        snapshot = database.snapshot()
        with pytest.raises(SnapshotError):
            snapshot.count(Level.IMAGE)

        with snapshot:
            database.append([item(2)])
            assert (snapshot.rows, snapshot.count(Level.IMAGE), snapshot.record("2.25.22")) == (1, 1, None)
            with pytest.raises(SnapshotError):
                snapshot.__enter__()

        with pytest.raises(SnapshotError):
            snapshot.count(Level.IMAGE)
        with pytest.raises(SnapshotError), snapshot:
            pass
