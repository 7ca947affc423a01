"""RejectedInstance notes take instances out of every answer, and a restoration brings those back that were kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.database.append import Appender
from storage.database.blocks import CODES
from storage.database.database import Database
from storage.database.lineage import remove_instances, stored_record
from storage.database.rejections import RejectedInstance, Title
from storage.database.snapshot import Snapshot
from storage.database.tables import Tables
from storage.item import Item
from storage.record import Level


@dataclass(frozen=True, slots=True)
class RejectionNote:
    """A key object document that rejects instances (IHE RAD TF-3 4.66).

    Attributes
    ----------
    references
        Study Instance UID of each rejected instance, by its SOP Instance UID.
    received_ns
        Time of arrival, nanoseconds since the epoch.
    """

    sop_instance_uid: str
    title: Title
    references: Mapping[str, str]
    received_ns: int


@dataclass(frozen=True, slots=True)
class Restored:
    """Result of a restoration.

    Attributes
    ----------
    instances
        Instances that are in the answers again.
    lifted
        Rejections that are gone; an instance that was not kept comes back once it is sent again.
    """

    instances: int
    lifted: int


def reject(database: Database, note: RejectionNote) -> int:
    """Take what a note references out of the answers, all or nothing; return how many instances were in them.

    The same note again changes nothing. Instances that are not here yet are rejected when they come.
    """
    with database.writing() as tables:
        return reject_references(
            tables, note.references, note.sop_instance_uid, note.title, note.received_ns, database.header.code_length
        )


def reject_references(
    tables: Tables, references: Mapping[str, str], note_uid: str, title: Title, received_ns: int, code_length: int
) -> int:
    """Reject instances inside a transaction; return how many of them were in the answers.

    Parameters
    ----------
    references
        Study Instance UID by SOP Instance UID.
    code_length
        Bits of a code.
    """
    gone = []
    for uid, study in references.items():
        before = tables.rejections.find(uid) or RejectedInstance(study)
        rejected = before.with_note(note_uid, title, received_ns)
        tables.rejections.put(uid, rejected)
        ordinal = tables.ordinal(Level.IMAGE, uid)
        node = None if ordinal is None else tables.node(Level.IMAGE, ordinal)
        if ordinal is None or node is None or not rejected.holds(node.received_ns):
            continue
        if rejected.hides:
            tables.rejections.withhold(stored_item(tables, ordinal, code_length))
        gone.append(ordinal)
    remove_instances(tables, gone)
    return len(gone)


def may_return(snapshot: Snapshot, sop_instance_uid: str) -> bool:
    """True if an instance is stored, or kept out of the answers so that it can be restored."""
    is_stored = snapshot.ordinal(Level.IMAGE, sop_instance_uid) is not None
    return is_stored or snapshot.rejections.is_withheld(sop_instance_uid)


def restore(database: Database, uid: str) -> Restored:
    """Lift rejections, and bring the instances back that were kept, all or nothing.

    Parameters
    ----------
    uid
        SOP Instance UID of a rejection note, whose rejections are lifted; or the UID of an instance or a study, of
        which all rejections are lifted.
    """
    with database.writing() as tables:
        whole = {
            instance: "" if uid in (instance, rejected.study_instance_uid) else uid
            for instance, rejected in tables.rejections.all()
            if uid in (instance, rejected.study_instance_uid, *rejected.notes)
        }
        return lift(tables, whole)


def lift(tables: Tables, notes: Mapping[str, str]) -> Restored:
    """Lift rejections inside a transaction, and store again what no other note rejects.

    Parameters
    ----------
    notes
        UID of the note whose rejection is lifted, by SOP Instance UID; "" for every note.
    """
    lifted, items, rejections = 0, [], tables.rejections
    for instance, note_uid in notes.items():
        rejected = rejections.find(instance)
        if rejected is None or (note_uid and note_uid not in rejected.notes):
            continue
        item, lifted = rejections.withheld(instance), lifted + 1
        rejections.delete(instance)
        left = {uid: note for uid, note in rejected.notes.items() if note_uid and uid != note_uid}
        if left:
            rejections.put(instance, RejectedInstance(rejected.study_instance_uid, left))
        if item is not None:
            items.append(item)
    appender = Appender(tables)
    for item in items:
        appender.add(item)  # it is withheld again where another note still rejects it
    return Restored(appender.finish().new, lifted)


def stored_item(tables: Tables, ordinal: int, code_length: int) -> Item:
    """Return a stored instance as it was appended; previews and outputs only where those of every frame are kept."""
    record, node = stored_record(tables, ordinal), tables.node(Level.IMAGE, ordinal)
    assert node is not None, "it has a record"
    codes = np.ascontiguousarray(tables.rows.gather(CODES, node.rows).T)
    digests = tables.rows.gather("pixel_digest", node.rows[:1])[0]
    previews = _of_each_frame([tables.preview(ordinal, frame) for frame in node.frames])
    kept = _of_each_frame([tables.outputs(ordinal, frame) for frame in node.frames])
    outputs, scores = (None, None) if kept is None else np.split(kept, [code_length], axis=1)
    class_scores = None if scores is None or scores.shape[1] == 0 else scores.view(np.uint8)
    return Item(record, codes, previews, int(digests[0]) if digests.size else 0, outputs, class_scores)


def _of_each_frame(arrays: list[NDArray[Any] | None]) -> NDArray[Any] | None:
    found = [array for array in arrays if array is not None]
    alike = len({array.shape for array in found}) == 1
    return np.stack(found) if found and len(found) == len(arrays) and alike else None
