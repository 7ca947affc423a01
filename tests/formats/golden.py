"""Databases of every past format, and what they must still tell.

`python -m tests.formats.golden FOLDER` writes one with the present code. Each was written once, when its format was
new, and stays: a test opens a copy. A change of format adds a folder, and code that still reads the older ones.
"""

import json
import sys
from pathlib import Path
from typing import Any

from storage.corrections.rejecting import RejectionNote, reject
from storage.database.database import Database, Snapshot
from storage.database.lookup import KEYWORDS, Span
from storage.database.rejections import Title
from storage.record import Level
from storage.search.index import Filter
from storage.search.local import LocalIndex
from storage.vault import CLEAR, Vault
from tests.support.storage.invented import codes, item

CODE_LENGTH = 100
CT_OF_MUELLER = {"Modality": "CT", "Manufacturer": "Müller & Co"}
CT_EARLY = Filter(modalities=frozenset({"CT"}), study_dates=(20200101, 20200430))
WITHIN = (
    (Level.PATIENT, "PatientName", "muller", "muller"),
    (Level.STUDY, "StudyDate", "20200116", "202003"),
    (Level.STUDY, "Modality", "MR", "MR"),
)
OF_A_MANUFACTURER = Filter(manufacturers=frozenset({"Müller & Co"}))


def write(path: Path) -> None:
    """Write a small database with what it must still tell in `expected.json`."""
    fill(path)
    with Database.open(path) as database:
        (path / "expected.json").write_text(json.dumps(tell(database), indent=1) + "\n")
    (path / "lock.mdb").unlink()


def fill(path: Path, vault: Vault = CLEAR) -> None:
    """Write a small database, with removed, rejected, multi-frame, unhashed and oddly named instances."""
    odd = {"PatientName": "Müller^Jörg", "PatientSex": "", "PatientBirthDate": "19800229"}
    items = [
        *(item(number, CODE_LENGTH) for number in range(9)),
        item(9, CODE_LENGTH, frames=(0, 3, 6), patient=odd),
        item(10, CODE_LENGTH, frames=()),
        item(12, CODE_LENGTH, series=CT_OF_MUELLER, study={"StudyDate": "20200415", "AccessionNumber": "A 1 "}),
        item(16, CODE_LENGTH, patient_key="\\\\2.25.44", patient=odd),
    ]
    layout = {"block_rows": 8, "tail_rows": 4}
    with Database.create_or_open(path, CODE_LENGTH, "golden", 2**24, **layout, vault=vault) as database:
        for each in items:
            database.append([each])
        database.remove(["2.25.23", "2.25.28"])
        database.append([item(20, CODE_LENGTH, frames=(0, 3))])
        reject(database, RejectionNote("2.25.9", Title.QUALITY, {"2.25.220": "2.25.45", "2.25.299": "2.25.499"}, 2**62))
    (path / "lock.mdb").unlink()


def tell(database: Database) -> dict[str, Any]:
    """Return everything that a database tells, as JSON has it."""
    index = LocalIndex(database)
    with database.snapshot() as snapshot:
        told = {
            "model": snapshot.model,
            "code_length": snapshot.code_length,
            "identifier": snapshot.identifier,
            "rows": snapshot.rows,
            "counts": {level: snapshot.count(level) for level in Level},
            "entities": {
                level: [[each.ordinal, each.uid, each.attributes] for each in snapshot.entities(level)]
                for level in Level
            },
            "instances": {each.uid: _instance(snapshot, each.uid) for each in snapshot.entities(Level.IMAGE)},
            "answers": {level: _answer(index, snapshot, level, CT_EARLY) for level in Level},
            "looked up": {
                f"{level}:{value}": _looked_up(snapshot, level, KEYWORDS[level][0], Span(value, is_single=True))
                for level, value in ((Level.PATIENT, ""), (Level.STUDY, ""), (Level.STUDY, "A 1"), (Level.STUDY, "A"))
            },
            "within": {
                keyword: _looked_up(snapshot, level, keyword, Span(first, last))
                for level, keyword, first, last in WITHIN
            },
            "outputs": {each.uid: _outputs(snapshot, each.uid) for each in snapshot.entities(Level.IMAGE)},
            "of a manufacturer": {level: _answer(index, snapshot, level, OF_A_MANUFACTURER) for level in Level},
            "rejected": {uid: rejection.to_bytes().decode() for uid, rejection in snapshot.rejections.all()},
            "restorable": [snapshot.rejections.withheld(uid) is not None for uid, _ in snapshot.rejections.all()],
        }
    return dict(json.loads(json.dumps(told)))


def _looked_up(snapshot: Snapshot, level: Level, keyword: str, span: Span) -> list[str]:
    return [snapshot.entity_at(level, found).uid for found in snapshot.ordinals_within(level, keyword, [span])]


def _instance(snapshot: Snapshot, uid: str) -> dict[str, Any]:
    record = snapshot.record(uid)
    assert record
    previews = [snapshot.preview(uid, frame) for frame in record.frames]
    return {
        "patient_key": record.patient_key,
        "uids": record.uids,
        "attributes": record.attributes,
        "frames": record.frames,
        "content_digest": record.content_digest.hex(),
        "received_ns": record.received_ns,
        "codes": [[f"{word:016x}" for word in code] for code in snapshot.codes_of(uid).tolist()],
        "previews": [None if preview is None else preview.tolist() for preview in previews],
        "pixel_digest": snapshot.pixel_digest(uid),
    }


def _outputs(snapshot: Snapshot, uid: str) -> list[list[int]] | None:
    outputs = snapshot.outputs_of(uid)
    return None if outputs is None else outputs.relaxed.tolist()


def _answer(index: LocalIndex, snapshot: Snapshot, level: Level, where: Filter) -> list[Any]:
    with index.view(snapshot) as view:
        answer = view.search(codes(1, CODE_LENGTH, seed=99), 4, level, where)
    rows = snapshot.rows_of((hit.sop_instance_uid, hit.frame) for hit in answer.hits).tolist()
    pairs = zip(answer.hits, rows, strict=True)
    return [answer.candidates, *([hit.uid, hit.distance, hit.sop_instance_uid, hit.frame, row] for hit, row in pairs)]


if __name__ == "__main__":
    write(Path(sys.argv[1]))
