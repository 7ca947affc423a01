"""Codes and records in LMDB."""

import json
import logging
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hashing.codes import CodeLengthError
from storage.database.database import Appended, Clash, Database, Item
from storage.database.header import FORMAT
from storage.database.tables import FRAME_OF
from storage.errors import DatabaseFull, FormatError, ModelMismatch, NoDatabase, SnapshotError
from storage.record import Level, Record, patient_key
from tests.formats import golden
from tests.invented import N_CLASSES, codes, item, record

MAP_SIZE = 2**28


def create(
    path: Path, code_length: int = 64, model: str = "model", block_rows: int = 16, tail_rows: int = 4
) -> Database:
    return Database.create_or_open(path, code_length, model, MAP_SIZE, block_rows=block_rows, tail_rows=tail_rows)


def appended(
    new: int, known: int = 0, clashing: tuple[Clash, ...] = (), conflicts: int = 0, replaced: int = 0
) -> Appended:
    return Appended(new, known, replaced, clashing, conflicts)


def stored(database: Database) -> dict[str, tuple[Record | None, list[list[int]], list[Any], Any]]:
    """Record, codes, previews, outputs and class scores of every instance, by SOP Instance UID."""
    with database.snapshot() as snapshot:
        found = {}
        for entity in snapshot.entities(Level.IMAGE):
            kept = snapshot.record(entity.uid)
            frames = kept.frames if kept else ()
            previews = [snapshot.preview(entity.uid, frame) for frame in frames]
            listed = [None if preview is None else preview.tolist() for preview in previews]
            outputs = snapshot.outputs_of(entity.uid)
            found[entity.uid] = (
                kept,
                snapshot.codes_of(entity.uid).tolist(),
                listed,
                None if outputs is None else listed_outputs(outputs.relaxed, outputs.class_scores),
            )
        return found


def listed_outputs(relaxed: NDArray[np.int8], class_scores: NDArray[np.uint8] | None) -> Any:
    return relaxed.tolist(), None if class_scores is None else class_scores.tolist()


def expected(items: list[Item]) -> dict[str, tuple[Record | None, list[list[int]], list[Any], Any]]:
    return {
        each.record.sop_instance_uid: (
            each.record,
            each.codes.tolist(),
            [None] * len(each.record.frames) if each.previews is None else each.previews.tolist(),
            None if each.outputs is None or not each.record.frames else listed_outputs(each.outputs, each.class_scores),
        )
        for each in items
    }


@given(
    st.sampled_from([16, 64, 100, 256]),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 4)), max_size=60, unique_by=lambda each: each[0]),
    st.integers(1, 20),
    st.sets(st.integers(0, 60), max_size=20),
    st.sampled_from([(1, 1), (8, 4), (16, 16), (1024, 512)]),
)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_appended_is_there_until_it_is_removed(
    code_length: int, numbers: list[tuple[int, int]], batch: int, removed: set[int], blocks: tuple[int, int]
) -> None:
    items = [item(number, code_length, frames=tuple(range(frames))) for number, frames in numbers]
    gone = {f"2.25.2{number}" for number in removed}
    with tempfile.TemporaryDirectory() as path, create(Path(path), code_length, "model", *blocks) as database:
        for start in range(0, len(items), batch):
            assert database.append(items[start : start + batch]).new == len(items[start : start + batch])
        assert stored(database) == expected(items)
        assert database.verify() == []

        assert database.remove(gone) == len(gone & {each.record.sop_instance_uid for each in items})

        kept = [each for each in items if each.record.sop_instance_uid not in gone]
        assert stored(database) == expected(kept)
        assert database.verify() == []
        assert database.append(items) == appended(new=len(items) - len(kept), known=len(kept))
        assert stored(database) == expected(items)
        assert database.verify() == []


def test_it_is_the_same_after_reopening(tmp_path: Path) -> None:
    items = [item(number) for number in range(30)]
    with create(tmp_path) as database:
        database.append(items)
        with database.snapshot() as snapshot:
            identifier = snapshot.identifier

    with Database.open(tmp_path) as reader:
        assert stored(reader) == expected(items)
        assert (reader.header.code_length, reader.header.model) == (64, "model")
        with reader.snapshot() as snapshot:
            assert (snapshot.identifier, snapshot.rows) == (identifier, 30)
    with create(tmp_path) as writer:
        assert stored(writer) == expected(items)


def test_appending_twice_changes_nothing(tmp_path: Path) -> None:
    with create(tmp_path) as database:
        assert database.append([item(1), item(1), item(2)]) == appended(new=2, known=1)
        with database.snapshot() as snapshot:
            before = snapshot.identifier

        assert database.append([item(2), item(1)]) == appended(new=0, known=2)

        with database.snapshot() as snapshot:
            assert (snapshot.identifier, snapshot.rows) == (before, 2)


def test_class_scores_are_told_for_rows_and_are_zeros_where_there_are_none_or_others(tmp_path: Path) -> None:
    items = [item(0), item(1, frames=(0, 4)), item(2), replace(item(4), outputs=None, class_scores=None)]
    other = item(2, content_digest=b"other", frames=(1,))
    with create(tmp_path) as database:
        database.append(items)
        database.remove(["2.25.22"])
        database.append([replace(other, class_scores=np.full((1, N_CLASSES), 9, np.uint8))])

        with database.snapshot() as snapshot:
            rows = np.array([2, 0, 4, 1, 5])  # row 3 is that of the image removed
            told, wider = snapshot.class_scores_at(rows, N_CLASSES), snapshot.class_scores_at(rows, N_CLASSES + 1)

    kept = items[1].class_scores
    assert kept is not None
    unknown = [0] * N_CLASSES
    assert told.tolist() == [kept[1].tolist(), unknown, unknown, kept[0].tolist(), [9] * N_CLASSES]
    assert not wider.any()


def test_the_identifier_names_the_state(tmp_path: Path) -> None:
    seen = set()
    with create(tmp_path / "a") as database, create(tmp_path / "b") as other:
        for change in (list, lambda: database.append([item(1)]), lambda: database.remove(["2.25.21"])):
            change()
            with database.snapshot() as snapshot, other.snapshot() as empty:
                seen |= {snapshot.identifier, empty.identifier}
    assert len(seen) == 4
    assert all(len(identifier) <= 64 for identifier in seen)  # VR LO of the wire


def test_other_content_under_a_known_uid_is_returned_and_not_stored(tmp_path: Path) -> None:
    other = item(1, content_digest=b"other", instance={"InstanceNumber": "99"})
    with create(tmp_path) as database:
        result = database.append([item(1), other, item(2)])

        assert result == appended(new=2, clashing=(Clash(other.record, Level.IMAGE),))
        assert database.append([other]) == appended(new=0, clashing=(Clash(other.record, Level.IMAGE),))
        assert stored(database) == expected([item(1), item(2)])


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        ({"series_instance_uid": "2.25.30", "study_instance_uid": "2.25.49"}, Level.SERIES),
        ({"series_instance_uid": "2.25.30", "study_instance_uid": "2.25.41"}, Level.SERIES),
        ({"study_instance_uid": "2.25.40", "series_instance_uid": "2.25.39"}, Level.STUDY),
    ],
)
def test_a_place_that_contradicts_the_one_kept_is_returned_and_not_stored(
    tmp_path: Path, changes: dict[str, Any], level: Level
) -> None:
    misplaced = item(20, **changes)
    with create(tmp_path) as database:
        database.append([item(0), item(4)])

        assert database.append([misplaced]) == appended(new=0, clashing=(Clash(misplaced.record, level),))

        assert stored(database) == expected([item(0), item(4)])
        assert database.verify() == []


def test_the_first_value_stays_unless_it_was_empty(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = item(0, study={"StudyDate": "", "AccessionNumber": "A1"}, patient={"PatientName": "Test^A"})
    later = item(
        1,
        study={"StudyDate": "20200102", "AccessionNumber": "A2", "StudyID": ""},
        patient={"PatientName": "Test^B", "PatientSex": "F"},
    )
    with create(tmp_path) as database, caplog.at_level(logging.WARNING):
        result = [database.append([each]) for each in (first, later, item(8))]

        assert [each.conflicts for each in result] == [0, 2, 0]
        with database.snapshot() as snapshot:
            kept = snapshot.record("2.25.20")
            assert kept
            assert kept.study == {"StudyDate": "20200102", "AccessionNumber": "A1", "StudyID": ""}
            assert kept.patient == {"PatientName": "Test^A", "PatientSex": "F"}
            assert snapshot.gather("study_date", np.arange(3)).tolist() == [20200102, 20200102, 20200315]
            assert snapshot.gather("sex", np.arange(3)).tolist() == [2, 2, 2]
        assert database.verify() == []
    assert "PatientName" in caplog.text
    assert "Test^" not in caplog.text
    assert "A2" not in caplog.text


def test_two_patients_without_an_id_are_two(tmp_path: Path) -> None:
    nameless = [item(n, patient_key=patient_key("", "", f"2.25.4{n // 4}")) for n in (0, 1, 4)]
    with create(tmp_path) as database:
        database.append(nameless)

        with database.snapshot() as snapshot:
            assert snapshot.count(Level.PATIENT) == 2
        assert stored(database) == expected(nameless)


def test_an_image_without_patient_id_belongs_to_the_patient_of_its_study(tmp_path: Path) -> None:
    nameless: dict[str, Any] = {"patient_key": patient_key("", "", "2.25.40"), "patient": {"PatientID": ""}}
    with create(tmp_path) as database:
        database.append([item(0), item(1, **nameless)])

        with database.snapshot() as snapshot:
            assert snapshot.children(Level.PATIENT, "P0\\HOSPITAL") == ["2.25.40"]
            assert snapshot.count(Level.PATIENT) == 1
        assert database.verify() == []


@pytest.mark.parametrize("known", [True, False])
def test_the_first_patient_id_of_a_study_names_its_patient(tmp_path: Path, known: bool) -> None:
    nameless: dict[str, Any] = {
        "patient_key": patient_key("", "", "2.25.40"),
        "patient": {"PatientID": "", "PatientSex": "O"},
    }
    with create(tmp_path) as database:
        database.append([item(0, **nameless), item(2, **nameless), *([item(4)] if known else [])])

        assert database.append([item(1)]) == appended(new=1)

        with database.snapshot() as snapshot:
            assert set(snapshot.children(Level.PATIENT, "P0\\HOSPITAL")) == {"2.25.40"} | (
                {"2.25.41"} if known else set()
            )
            assert snapshot.count(Level.PATIENT) == 1
            assert snapshot.ordinal(Level.PATIENT, patient_key("", "", "2.25.40")) is None
            assert set(snapshot.gather("sex", np.arange(snapshot.rows))) == {1}
        assert database.verify() == []


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


def test_removing_the_last_image_removes_what_is_above_it(tmp_path: Path) -> None:
    with create(tmp_path) as database:
        database.append([item(number) for number in range(9)])

        assert database.remove(["2.25.28", "2.25.20", "2.25.21", "2.25.21", "?"]) == 3

        with database.snapshot() as snapshot:
            assert [snapshot.count(level) for level in Level] == [1, 2, 3, 6]
            assert snapshot.entity(Level.PATIENT, "P1\\HOSPITAL") is None
            assert snapshot.rows == 9
        database.append([item(8)])
        with database.snapshot() as snapshot:
            assert snapshot.ordinal(Level.IMAGE, "2.25.28") == 9  # an ordinal is never given twice
        assert database.verify() == []


def test_odd_texts_come_back_as_they_were(tmp_path: Path) -> None:
    odd = {
        "PatientName": "山田^太郎=やまだ^たろう",
        "PatientComments": "\udc80 ill-decoded",
        "OtherPatientNames": "a\\b",
    }
    key = patient_key("長" * 64, "院" * 200, "")
    with create(tmp_path) as database:
        database.append([item(0, patient=odd, patient_key=key), item(1, patient=odd, patient_key=key)])

        with database.snapshot() as snapshot:
            kept = snapshot.record("2.25.21")
            assert kept
            assert (kept.patient, kept.patient_key) == (odd, key)
            assert snapshot.count(Level.PATIENT) == 1
        assert database.verify() == []


def test_rows_of_a_small_block_are_aligned_too(tmp_path: Path) -> None:
    with create(tmp_path, block_rows=64, tail_rows=64) as database:
        odd = 0
        for number in range(10):
            database.append([item(number)])
            with database.snapshot() as snapshot, lmdb_values(database) as addresses:
                odd += sum(address % 8 != 0 for address in addresses)
                for block in snapshot.blocks():
                    for array in (block.codes, block.column("pixel_digest"), block.column("patient")):
                        assert array.flags.aligned
                        assert not array.flags.writeable
    assert odd, "no value lay at an odd address: the test shows nothing"


def test_a_large_block_is_read_where_it_lies(tmp_path: Path) -> None:
    with create(tmp_path, block_rows=1024, tail_rows=1024) as database:
        database.append([item(number) for number in range(1024)])

        with database.snapshot() as snapshot, lmdb_values(database) as addresses:
            (block,) = snapshot.blocks()
            assert block.codes.ctypes.data in addresses


class lmdb_values:  # noqa: N801 -- used like a function
    """Addresses of all blocks of codes and columns."""

    def __init__(self, database: Database) -> None:
        self._transaction = database._environment.begin(buffers=True)
        cursor = self._transaction.cursor(db=database._handles["rows"])
        self._addresses = {np.frombuffer(value, np.uint8).ctypes.data for _, value in cursor}

    def __enter__(self) -> set[int]:
        return self._addresses

    def __exit__(self, *exc: object) -> None:
        self._transaction.abort()


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


def test_other_models_and_lengths_are_refused(tmp_path: Path) -> None:
    create(tmp_path).close()

    with pytest.raises(ModelMismatch) as mismatch:
        create(tmp_path, model="other")
    assert (mismatch.value.found, mismatch.value.expected) == ("model", "other")
    with pytest.raises(CodeLengthError):
        create(tmp_path, code_length=128)
    with pytest.raises(CodeLengthError):
        create(tmp_path / "new", code_length=8)
    with create(tmp_path) as database:
        with pytest.raises(CodeLengthError):
            database.append([item(1, frame_codes=codes(1, 128))])
        with pytest.raises(ValueError, match="not packed"):
            database.append([item(1, frame_codes=codes(1).astype(np.uint32))])
        with pytest.raises(ValueError, match="2 codes"):
            item(1, frame_codes=codes(2))
        with pytest.raises(ValueError, match="2 class_scores came for 1 frames"):
            replace(item(1), class_scores=np.zeros((2, 5), np.uint8))
        with pytest.raises(ValueError, match="without outputs"):
            replace(item(1), outputs=None)
        odd_scores: tuple[NDArray[Any], ...] = (np.zeros((1, 5), np.int8), np.zeros(1, np.uint8))
        for odd in odd_scores:
            with pytest.raises(ValueError, match="not uint8"):
                database.append([replace(item(1), class_scores=odd)])
    with create(tmp_path / "short", code_length=48) as database, pytest.raises(ValueError, match="not packed"):
        database.append([item(1, frame_codes=codes(1, 64))])


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoDatabase, match="ever started"):
        Database.open(tmp_path)
    (tmp_path / "data.mdb").write_bytes(b"something else" * 1000)
    with pytest.raises(FormatError):
        Database.open(tmp_path)


def test_another_format_is_refused(tmp_path: Path) -> None:
    create(tmp_path).close()
    with lmdb.open(str(tmp_path), max_dbs=20) as environment:
        meta = environment.open_db(b"meta")
        with environment.begin(write=True, db=meta) as transaction:
            header = json.loads(transaction.get(b"header") or b"")
            transaction.put(b"header", json.dumps(header | {"format": 99}).encode())

    for attempt in (Database.open, create):
        with pytest.raises(FormatError, match="format 99"):
            attempt(tmp_path)


def test_a_full_database_keeps_nothing_of_the_batch(tmp_path: Path) -> None:
    with Database.create_or_open(tmp_path, 64, "model", 2**19, block_rows=16, tail_rows=4) as database:
        database.append([item(0)])

        with pytest.raises(DatabaseFull) as full:
            database.append([item(number) for number in range(1, 2000)])

        assert full.value.map_size == 2**19
        assert stored(database) == expected([item(0)])
        assert database.verify() == []
    with create(tmp_path) as larger:
        assert larger.append([item(number) for number in range(2000)]) == appended(new=1999, known=1)


def test_verification_finds_damage(tmp_path: Path) -> None:
    def damage(database: Database, table: str, key: bytes, value: bytes) -> list[str]:
        with database._environment.begin(write=True, db=database._handles[table]) as transaction:
            kept = transaction.get(key)
            transaction.put(key, value)
        found = database.verify()
        with database._environment.begin(write=True, db=database._handles[table]) as transaction:
            transaction.put(key, kept) if kept else transaction.delete(key)
        return found

    with create(tmp_path) as database:
        database.append([item(number) for number in range(9)])
        assert damage(database, "rows", b"codes/00000000", bytes(8))
        assert damage(database, "rows", b"flags/00000000", bytes(8))
        assert damage(database, "rows", b"study/00000000", bytes(32))
        assert damage(database, "rows", b"junk", b"")
        assert damage(database, "IMAGE:keys", b"2.25.23", (1).to_bytes(4, "big"))
        assert damage(database, "SERIES", (9).to_bytes(4, "big"), b'"2.25.9"\n[77,{}]')
        assert damage(database, "previews", bytes(8), b"") == []
        assert damage(database, "previews", bytes([9] * 8), b"")
        outputs = item(1).outputs
        assert outputs is not None
        assert damage(database, "outputs", FRAME_OF.pack(1, 0), outputs.tobytes()) == []
        assert damage(database, "outputs", FRAME_OF.pack(1, 0), bytes(64)) == []
        assert damage(database, "outputs", FRAME_OF.pack(1, 0), bytes(63)) == ["IMAGE 1: its outputs are cut short"]
        (other,) = damage(database, "outputs", FRAME_OF.pack(1, 0), (-outputs).tobytes())
        assert other == "IMAGE 1: its codes are not the signs of its outputs"
        assert database.verify() == []


APPENDER = """
import sys
from pathlib import Path
from storage.database.database import Database
from tests.formats import golden
from tests.invented import item
with Database.create_or_open(Path(sys.argv[1]), 64, "model", 2**28, block_rows=64, tail_rows=8) as database:
    with database.snapshot() as snapshot:
        start = snapshot.rows
    for number in range(start, 100_000, 5):
        database.append([item(n) for n in range(number, number + 5)])
        if number % 20 == 15:
            database.append([item(n, content_digest=b"again") for n in range(number, number + 5)])
        print(number + 5, flush=True)
"""


def appender(path: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", APPENDER, str(path)], stdout=subprocess.PIPE, text=True)


def test_every_acknowledged_batch_survives_a_kill(tmp_path: Path) -> None:
    acknowledged = 0
    for seed in range(3):
        process = appender(tmp_path)
        assert process.stdout
        acknowledged = int(process.stdout.readline())
        time.sleep(random.Random(seed).random() / 10)
        process.send_signal(signal.SIGKILL)
        lines = process.communicate()[0].splitlines(keepends=True)
        acknowledged = max([acknowledged, *(int(line) for line in lines if "\n" in line)])

        with Database.open(tmp_path) as database:
            assert database.verify() == []
            with database.snapshot() as snapshot:
                assert snapshot.rows % 5 == 0
                assert acknowledged <= snapshot.rows <= acknowledged + 5
                assert snapshot.count(Level.IMAGE) == snapshot.rows


def test_a_reader_sees_whole_batches_while_another_process_writes(tmp_path: Path) -> None:
    create(tmp_path, block_rows=64, tail_rows=8).close()
    process = appender(tmp_path)
    assert process.stdout
    seen = set()
    with Database.open(tmp_path) as database:
        for _ in range(40):
            process.stdout.readline()
            with database.snapshot() as snapshot:
                seen.add(snapshot.rows)
                assert snapshot.rows % 5 == 0
                assert snapshot.count(Level.IMAGE) == snapshot.rows
                assert sum(block.rows for block in snapshot.blocks()) == snapshot.rows
                assert snapshot.record(f"2.25.2{snapshot.rows - 1}")
    process.kill()
    process.communicate()
    assert len(seen) > 20


def test_a_killed_reader_does_not_keep_old_pages(tmp_path: Path) -> None:
    create(tmp_path).close()
    script = f"""
from pathlib import Path
from storage.database.database import Database
with Database.open(Path({str(tmp_path)!r})).snapshot():
    print(flush=True)
    input()
"""
    reader = subprocess.Popen([sys.executable, "-c", script], stdin=-1, stdout=-1, text=True)
    assert reader.stdout
    reader.stdout.readline()
    with lmdb.open(str(tmp_path), readonly=True) as other:  # while any process has it open, its readers are kept
        reader.kill()
        reader.communicate()
        assert str(reader.pid) in other.readers()

        subprocess.run([sys.executable, "-c", script], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        assert str(reader.pid) not in other.readers()


def test_a_reader_says_what_to_do_when_the_writer_got_more_room(tmp_path: Path) -> None:
    Database.create_or_open(tmp_path, 64, "model", 2**18).close()
    with Database.open(tmp_path) as reader:
        writing = f"""
from pathlib import Path
from storage.database.database import Database
from tests.formats import golden
from tests.invented import item
with Database.create_or_open(Path({str(tmp_path)!r}), 64, "model", 2**28) as database:
    database.append([item(number) for number in range(800)])
"""
        subprocess.run([sys.executable, "-c", writing], check=True)

        with pytest.raises(SnapshotError, match="restart"), reader.snapshot():
            pass


@pytest.mark.parametrize("folder", sorted(Path(golden.__file__).parent.glob("v*")), ids=lambda path: path.name)
def test_a_database_of_every_past_format_tells_what_it_told(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    told = json.loads((folder / "expected.json").read_text())
    Database.create_or_open(copy, told["code_length"], told["model"], 2**24).close()

    with Database.open(copy, readonly=False) as database:
        tells = golden.tell(database)
        if folder.name != f"v{FORMAT}":
            del told["identifier"]  # it names the state that the upgrade ended
        assert {name: tells[name] for name in told} == told
        assert database.verify() == []
        database.append([item(100, told["code_length"])])
        assert database.verify() == []


def test_an_older_format_is_left_alone_by_readers_and_other_models_and_brought_up_by_its_writer(tmp_path: Path) -> None:
    copy = shutil.copytree(Path(golden.__file__).parent / "v1", tmp_path / "copy")

    with pytest.raises(FormatError, match=r"found format 1.*start the node once"):
        Database.open(copy)
    with pytest.raises(ModelMismatch):
        Database.create_or_open(copy, golden.CODE_LENGTH, "another", MAP_SIZE)
    with pytest.raises(FormatError, match="format 1"):
        Database.open(copy, readonly=False)
    with Database.create_or_open(copy, golden.CODE_LENGTH, "golden", MAP_SIZE) as writer, writer.snapshot() as snapshot:
        assert snapshot.outputs_of("2.25.20") is None
    with Database.open(copy) as reader:
        assert reader.header.format == FORMAT


def test_manufacturers_of_an_older_format_are_found_in_its_series(tmp_path: Path) -> None:
    items = [
        item(number, series={"Modality": "CT", "Manufacturer": ("ACME", "acme", "")[number % 6 // 2]})
        for number in range(40)
    ]
    with create(tmp_path) as database:
        database.append(items)
        database.remove(["2.25.25"])
    as_format_1(tmp_path)

    with create(tmp_path) as database:
        assert database.verify() == []
        with database.snapshot() as snapshot:
            assert snapshot.terms("manufacturer") == ["", "ACME", "acme"]
        assert database.append([item(50, series={"Manufacturer": "other"})]).new == 1
        assert database.verify() == []


def as_format_1(path: Path) -> None:
    """Take away what later formats have."""
    with lmdb.open(str(path), max_dbs=20, map_size=MAP_SIZE) as environment:
        meta, rows, outputs = (environment.open_db(name) for name in (b"meta", b"rows", b"outputs"))
        with environment.begin(write=True, buffers=True) as transaction:
            header = json.loads(bytes(transaction.get(b"header", db=meta) or b""))
            transaction.put(b"header", json.dumps(header | {"format": 1}).encode(), db=meta)
            transaction.delete(b"terms:manufacturer", db=meta)
            transaction.drop(outputs)
            for key in [
                bytes(key) for key, _ in transaction.cursor(db=rows) if bytes(key).startswith(b"manufacturer/")
            ]:
                transaction.delete(key, db=rows)


def test_every_format_is_kept(tmp_path: Path) -> None:
    golden.write(tmp_path)

    assert (Path(golden.__file__).parent / f"v{FORMAT}" / "data.mdb").is_file()
    newest = json.loads((Path(golden.__file__).parent / f"v{FORMAT}" / "expected.json").read_text())
    assert json.loads((tmp_path / "expected.json").read_text())["instances"] == newest["instances"]
