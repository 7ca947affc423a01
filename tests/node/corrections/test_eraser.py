"""What is forgotten is nowhere in the home folder, and everything else is where it was."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Lock

import numpy as np
import pytest

from node.cli.correction import CorrectionError, forget_target, read_target
from node.corrections.eraser import Eraser, Forgotten
from node.home import open_database, open_for_writing, open_objects, open_spool
from node.ingest.outcome import Prepared, Unusable
from node.settings import Settings
from storage.corrections.copying import rewrite_database
from storage.corrections.erasing import ErasureTarget, erase
from storage.corrections.reencoding import prepare, reencode
from storage.corrections.rejecting import reject
from storage.database.database import Database
from storage.database.rejections import Title
from storage.objects.object_store import ObjectStore
from storage.record import Level, patient_key
from storage.segments import builder
from storage.segments.registry import segment_folder
from storage.spool.outbox import Outbox, ResultObject
from storage.spool.questions import QuestionSpool
from storage.spool.queue import Entry, Spool
from tests.node.ingest.test_receiver import octets_of, picture
from tests.storage.corrections.test_rejecting import note
from tests.support.running import REPOSITORY
from tests.support.storage.databases import create, stored
from tests.support.storage.invented import item, record
from tests.support.storage.models import anew

STUDY = record(0).study_instance_uid
"""Study of instances 0 to 3."""
WHOLE_STUDY, WHOLE_PATIENT = ErasureTarget(STUDY), ErasureTarget(patient_id="P0")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with create(tmp_path / "database") as database:
        yield database


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", capacity=100, free_bytes=0)


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return ObjectStore(tmp_path / "objects")


def put(spool: Spool, number: int, **attributes: str) -> Entry:
    """A waiting picture of study 2.25.40 and patient P0, unless told otherwise."""
    given = {"StudyInstanceUID": STUDY, "PatientID": "P0", "SOPInstanceUID": f"2.25.77{number}", **attributes}
    dataset = picture()
    for keyword, value in given.items():
        setattr(dataset, keyword, value)
    meta = b"\x02\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0"
    return spool.put([b"\0" * 128 + b"DICM", meta, octets_of(dataset)], given["SOPInstanceUID"])


@pytest.mark.parametrize(("target", "count"), [(WHOLE_STUDY, 4), (WHOLE_PATIENT, 8)])
def test_nothing_is_left_of_what_is_erased_and_all_of_the_rest(
    database: Database, target: ErasureTarget, count: int
) -> None:
    secret = {"PatientName": "Secret^Name"}
    database.append([item(number, patient=secret) for number in range(8)])
    database.append([item(number) for number in range(8, 24)])
    rest = {uid: kept for uid, kept in stored(database).items() if uid not in {f"2.25.2{n}" for n in range(count)}}

    erased = erase(database, target)

    assert (erased.series, erased.instances, erased.codes) == (count // 2, count, count)
    assert stored(database) == rest
    with database.snapshot() as snapshot:
        gone = np.arange(count)
        assert not snapshot.codes_at(gone).any()
        assert not any(snapshot.gather(name, gone).any() for name in ("patient", "study", "pixel_digest", "study_date"))
        assert snapshot.codes_at(np.arange(count, 24)).any(axis=1).all()
    assert database.verify() == []
    assert erase(database, target).instances == 0


def test_an_erased_code_is_in_no_segment(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder, "SEAL_ROWS", 16)
    database.append([item(number) for number in range(64)])
    assert builder.build(database, inline=True) is not None

    forgotten = Eraser(
        database, Spool(database.path / "spool", 9, 0), ObjectStore(database.path / "objects"), Lock()
    ).erase(WHOLE_STUDY)

    assert forgotten.codes == 4
    assert [path.name for path in segment_folder(database).iterdir()] == ["lock"]
    with database.snapshot() as snapshot:
        assert snapshot.segment_entries == []
    assert builder.build(database, inline=True) is not None
    assert builder.verify(database) == []


@pytest.mark.parametrize("switched", [False, True], ids=["prepared", "kept"])
def test_no_code_of_another_model_is_left_of_the_forgotten_in_the_file(tmp_path: Path, switched: bool) -> None:
    settings = Settings(home=tmp_path / "home")
    with open_for_writing(settings) as database:
        database.append([item(number) for number in range(8)])
        (reencode if switched else prepare)(database, "another", anew)
        with database.reading() as tables:
            encodings = [tables.encodings.get(number, 0) or b"none" for number in range(8)]

    with open_database(settings, readonly=False) as database:
        Eraser(database, open_spool(settings), open_objects(settings), Lock()).erase(WHOLE_STUDY)
    rewrite_database(settings.database_path, settings.map_size_bytes)

    octets = (settings.database_path / "data.mdb").read_bytes()
    assert [encoding in octets for encoding in encodings] == [False] * 4 + [True] * 4


def test_questions_and_answers_of_or_about_the_erased_go_and_others_stay(
    database: Database, spool: Spool, objects: ObjectStore, tmp_path: Path
) -> None:
    database.append([item(number) for number in range(8)])
    questions, outbox = QuestionSpool(tmp_path / "questions", 9, 0), Outbox(tmp_path / "outbox")
    others = {"PatientID": "P9", "StudyInstanceUID": "2.25.499"}
    for number, attributes in enumerate(({}, others)):
        entry, question = put(spool, 1, **attributes), questions.open("CT1")
        arrival = question.begin()
        arrival.write(entry.path.read_bytes())
        arrival.keep()
        question.close()
        outbox.add(f"question-{number}", "PACS", [ResultObject(f"2.25.{number}", (entry.path.read_bytes(),))])
    spool.remove(list(spool))
    reference = put(spool, 9, **others, SeriesDescription=f"looks like {STUDY}").path.read_bytes()
    outbox.add("about", "PACS", [ResultObject("2.25.6", (b"a picture",)), ResultObject("2.25.7", (reference,))])
    spool.remove(list(spool))

    forgotten = Eraser(database, spool, objects, Lock(), mail=(questions, outbox)).erase(WHOLE_STUDY)

    assert (forgotten.questions, forgotten.answers) == (1, 3)
    assert len(list(questions.waiting())) == 1
    assert outbox.state().waiting == 1
    left = [path for path in tmp_path.rglob("*") if path.is_file() and path.parent.name != "database"]
    assert not [path for path in left if STUDY.encode() in path.read_bytes()]


@pytest.mark.parametrize("target", [WHOLE_STUDY, WHOLE_PATIENT])
def test_rejected_waiting_and_set_aside_objects_go_too(
    database: Database, spool: Spool, objects: ObjectStore, target: ErasureTarget
) -> None:
    database.append([item(number) for number in range(8)])
    reject(database, note(Title.QUALITY, 0, 1))
    waiting, other = put(spool, 1), put(spool, 2, PatientID="P9", StudyInstanceUID="2.25.499")
    aside = spool.set_aside(put(spool, 3), "undecodable", "", {"StudyInstanceUID": STUDY}, keep=True)
    named_by_its_file = spool.set_aside(put(spool, 4), "undecodable", "", {}, keep=True)
    kept = spool.set_aside(put(spool, 5, PatientID="P9", StudyInstanceUID="2.25.4"), "undecodable", "", {}, keep=True)

    forgotten = Eraser(database, spool, objects, Lock()).erase(target)

    assert (forgotten.rejections, forgotten.waiting, forgotten.set_aside, forgotten.unreadable) == (2, 1, 2, 0)
    assert (list(spool), list(spool.set_aside_records())) == ([other], [kept])
    for gone in (waiting.path, aside.path, named_by_its_file.path):
        assert gone is not None
        assert not gone.exists()
    with database.snapshot() as snapshot:
        assert snapshot.rejections.count() == (0, 0)
    assert STUDY.encode() not in (spool.path / "aside" / "notes.sqlite").read_bytes()
    assert Eraser(database, spool, objects, Lock()).erase(target) == Forgotten(0, 0, 0, 0, 0, 0, 0, 0, 0)


def test_an_object_that_nobody_can_read_stays_and_is_counted(
    database: Database, spool: Spool, objects: ObjectStore
) -> None:
    entry = spool.put([b"no DICOM"], "2.25.1")

    assert Eraser(database, spool, objects, Lock()).erase(WHOLE_STUDY).unreadable == 1
    assert list(spool) == [entry]


def test_what_a_decoder_has_in_hand_is_not_stored_after_it_was_forgotten(
    database: Database, spool: Spool, objects: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from node.ingest.indexer import Indexer

    indexer = Indexer(Settings(home=tmp_path), spool, database, None)  # type: ignore[arg-type]
    monkeypatch.setattr(indexer, "_items", lambda prepared: [item(0)] * len(prepared))
    entries = [put(spool, number) for number in range(2)]
    decoded = Prepared(record(0), np.zeros((1, 4, 4), np.uint8), 0)

    Eraser(database, spool, objects, indexer.writing).erase(WHOLE_STUDY)
    indexer._index([(entries[0], decoded), (entries[1], Unusable("undecodable", "", {"StudyInstanceUID": STUDY}))])

    assert stored(database) == {}
    assert list(spool.set_aside_records()) == []


def test_patients_of_one_id_are_told_apart_by_issuer(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", code_length=64)
    with open_for_writing(settings) as database:
        for number, issuer in enumerate(("HERE", "THERE", "")):
            key = patient_key("P", issuer, "")
            database.append(
                [item(4 * number, patient_key=key, patient={"PatientID": "P", "IssuerOfPatientID": issuer})]
            )

    with pytest.raises(CorrectionError, match="3 patients"):
        read_target(settings, "", "P", None)
    for issuer in ("THERE", ""):
        target, indexed = read_target(settings, "", "P", issuer)
        assert indexed == "1 studies, 1 series and 1 instances are indexed"
        assert forget_target(settings, target).instances == 1

    with open_for_writing(settings) as database, database.snapshot() as snapshot:
        assert [entity.uid for entity in snapshot.entities(Level.PATIENT)] == [patient_key("P", "HERE", "")]


def test_the_command_asks_first_and_says_what_it_erased(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    with open_for_writing(settings) as database:
        database.append([item(number) for number in range(8)])
    put(open_spool(settings), 1)
    command = [sys.executable, "-m", "node", "forget", "--study", STUDY, "--home", str(settings.home)]

    def run(*options: str, answer: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *options], input=answer, capture_output=True, text=True, cwd=REPOSITORY, env=os.environ
        )

    refused, asked = run(answer="n\n"), "1 studies, 2 series and 4 instances are indexed"
    assert (refused.returncode, asked in refused.stderr) == (1, True)
    done = run("--yes", "--json")

    expected = {"studies": 1, "series": 2, "instances": 4, "codes": 4, "rejections": 0, "questions": 0, "answers": 0}
    assert json.loads(done.stdout) == expected | {"waiting": 1, "set_aside": 0, "unreadable": 0, "objects": 0}
    assert list((settings.corrections_path / "waiting").iterdir()) == []
    with open_for_writing(settings) as database:
        assert sorted(stored(database)) == [f"2.25.2{number}" for number in range(4, 8)]
