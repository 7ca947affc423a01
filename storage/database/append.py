"""Instances on their way into the database, inside one transaction."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.database.blocks import CODES
from storage.database.columns import DELETED, FIRST, LEVEL_COLUMN, NUMBERS, TERMS
from storage.database.lineage import LineageWriter, remove_instances
from storage.database.tables import Tables
from storage.database.tree import Node
from storage.item import Item
from storage.record import LEVELS, Level, Record

logger = logging.getLogger(__name__)

MAX_TERM = np.iinfo(np.uint16).max


@dataclass(frozen=True, slots=True)
class Clash:
    """An instance that was not stored because it contradicts the database.

    Attributes
    ----------
    level
        IMAGE: its SOP Instance UID is stored with other content. SERIES: its series is stored under another study.
        STUDY: its study is stored under another patient.
    """

    record: Record
    level: Level


@dataclass(frozen=True, slots=True)
class Appended:
    """The outcome of a batch.

    Attributes
    ----------
    new
        Instances stored for the first time.
    known
        Instances that were stored already with the same content.
    replaced
        Instances stored over other content of the same SOP Instance UID.
    clashing
        Instances not stored.
    conflicts
        Attributes of patients, studies and series that differ from the stored value, which stays.
    rejected
        Instances that a rejection note keeps out of every answer.
    """

    new: int
    known: int
    replaced: int
    clashing: tuple[Clash, ...]
    conflicts: int
    rejected: int = 0


class Appender:
    """Adds items one by one inside a transaction, then writes all their rows at once.

    Parameters
    ----------
    tables
        Of a write transaction.
    replaces
        Whether an item replaces one of the same SOP Instance UID, series and study that arrived before it, and its
        attributes correct those of its patient, study and series (see `LineageWriter`). Otherwise what was stored
        first stays; differing attributes are counted and logged by keyword, never by value.
    """

    def __init__(self, tables: Tables, *, replaces: bool = False) -> None:
        self._tables, self._replaces = tables, replaces
        self._lineage = LineageWriter(tables, corrects=replaces)
        self._pending: dict[int, Item] = {}  # by ordinal of the instance, in row order; rows still to be written
        self._next_row = tables.rows.count
        self._clashing: list[Clash] = []
        self._studies: set[str] = set()  # of what is stored
        self._stored = self._known = self._replaced = self._rejected = self._newest_ns = 0
        self._terms = {name: {text: i for i, text in enumerate(tables.terms(name))} for name in TERMS}

    def add(self, item: Item) -> None:
        """Store an item, unless it is known, clashes or is rejected."""
        record, rejections = item.record, self._tables.rejections
        if rejections.rejects(record.sop_instance_uid, record.received_ns):
            rejections.withhold(item, replaces=self._replaces)
            self._rejected += 1
            return
        ordinal = self._tables.ordinal(Level.IMAGE, record.sop_instance_uid)
        stored = None if ordinal is None else self._tables.node(Level.IMAGE, ordinal)
        is_known = stored is not None and stored.content_digest == record.content_digest
        if is_known and not self._replaces:
            self._known += 1
        elif ordinal is not None and self._is_moved(item, ordinal):
            self._move(item, ordinal)
        elif ordinal is not None and stored is not None and not self._may_replace(record, ordinal, is_known=is_known):
            self._clashing.append(Clash(record, Level.IMAGE))
        elif (level := self._lineage.contradiction(record)) is not None:
            self._clashing.append(Clash(record, level))
        elif ordinal is None or stored is None:
            self._store(item)
            self._stored += 1
        elif is_known:
            self._renew(record, ordinal, stored)
            self._known += 1
        else:
            self._replace(item, ordinal)
            self._replaced += 1

    def finish(self) -> Appended:
        """Write the rows."""
        self._write_rows()
        self._refresh()
        self._lineage.finish(self._newest_ns)
        for study in self._studies:
            self._tables.rejections.arrived(study, lambda uid: self._tables.ordinal(Level.IMAGE, uid) is not None)
        for name, terms in self._terms.items():
            if len(terms) > len(self._tables.terms(name)):
                self._tables.set_terms(name, terms)
        conflicts = self._lineage.conflicts
        for level, ordinal, keyword in sorted(conflicts):
            logger.warning("%s %d: %s differs from the stored value, which stays", level, ordinal, keyword)
        return Appended(
            self._stored, self._known, self._replaced, tuple(self._clashing), len(conflicts), self._rejected
        )

    def _may_replace(self, record: Record, ordinal: int, *, is_known: bool) -> bool:
        """True if a record may replace the stored record: it corrects that record and did not arrive before it.

        The same SOP Instance UID in another series or study is no correction, unless the picture is the same (see
        `_is_moved`): the sender mixed up two images.
        """
        lineage = self._tables.lineage(Level.IMAGE, ordinal)
        is_here = all(lineage[level][1].uid == record.uids[level] for level in (Level.SERIES, Level.STUDY))
        is_later = record.received_ns >= lineage[Level.IMAGE][1].received_ns
        return self._replaces and is_here and (is_later or is_known)

    def _is_moved(self, item: Item, ordinal: int) -> bool:
        """True if a stored picture arrived again, later, and names another series or study than its record does."""
        lineage, record = self._tables.lineage(Level.IMAGE, ordinal), item.record
        node = lineage[Level.IMAGE][1]
        is_here = all(lineage[level][1].uid == record.uids[level] for level in (Level.SERIES, Level.STUDY))
        if not self._replaces or is_here or record.received_ns < node.received_ns or not node.frames:
            return False
        if ordinal in self._pending:
            self._write_rows()
        same = int(self._tables.rows.gather("pixel_digest", node.rows[:1])[0, 0]) == item.pixel_digest
        return same and node.frames == record.frames

    def _move(self, item: Item, ordinal: int) -> None:
        """Let a picture that came again name its series and study: one that is left empty goes.

        Under the same series the whole series moves to the study, for it has one study only.
        """
        record = item.record
        lineage = self._tables.lineage(Level.IMAGE, ordinal)
        if lineage[Level.SERIES][1].uid == record.series_instance_uid:
            self._lineage.move_series(record)
            self._replace(item, ordinal)
        elif (level := self._lineage.contradiction(record)) is not None:
            self._clashing.append(Clash(record, level))
            return
        else:
            remove_instances(self._tables, [ordinal])
            self._store(item)
        self._replaced += 1
        logger.info("moved %s to the series and study that it came again with", record.sop_instance_uid)

    def _renew(self, record: Record, ordinal: int, stored: Node) -> None:
        """Let a known instance that came again correct its patient, study and series as a new one would."""
        self._lineage.write(record)
        if record.received_ns > stored.received_ns:
            self._tables.put(Level.IMAGE, ordinal, replace(stored, received_ns=record.received_ns))
            self._newest_ns = max(self._newest_ns, record.received_ns)

    def _replace(self, item: Item, ordinal: int) -> None:
        """Store an item over another one of the same series: nothing of the series is ever missing."""
        if ordinal in self._pending:
            self._write_rows()
        node = self._tables.lineage(Level.IMAGE, ordinal)[Level.IMAGE][1]
        self._tables.rows.write("flags", node.rows, self._tables.rows.gather("flags", node.rows)[0] | DELETED)
        self._tables.delete(Level.IMAGE, ordinal, node)
        self._store(item)
        logger.info("replaced %s: it came with other content", item.record.sop_instance_uid)

    def _store(self, item: Item) -> None:
        """Write the record, previews and outputs of an instance, and reserve its rows."""
        record = item.record
        node = Node(
            record.sop_instance_uid,
            self._lineage.write(record),
            record.instance,
            self._next_row,
            record.frames,
            record.content_digest,
            record.received_ns,
        )
        ordinal = self._tables.add(Level.IMAGE, node)
        if item.previews is not None:
            for frame, preview in zip(record.frames, item.previews, strict=True):
                self._tables.put_preview(ordinal, frame, preview)
        if item.outputs is not None:
            scores = [None] * len(record.frames) if item.class_scores is None else item.class_scores
            for frame, *rest in zip(record.frames, item.outputs, scores, strict=True):
                self._tables.put_outputs(ordinal, frame, *rest)
        self._next_row += len(record.frames)
        self._pending[ordinal] = item
        self._studies.add(record.study_instance_uid)
        self._newest_ns = max(self._newest_ns, record.received_ns)

    def _write_rows(self) -> None:
        if self._pending:
            self._tables.rows.append(self._columns())
            self._tables.set_counter("rows", self._tables.rows.count)
            self._pending.clear()

    def _columns(self) -> dict[str, NDArray[Any]]:
        """Codes and columns of every pending row; `_refresh` corrects those that a later item of the batch changes."""
        items = list(self._pending.values())
        counts = [len(item.record.frames) for item in items]
        derived = [self._derived(ordinal) for ordinal in self._pending]
        columns = {name: np.repeat([values[name] for values in derived], counts) for name in derived[0]}
        flags = np.concatenate([np.arange(count) == 0 for count in counts]) * np.uint8(FIRST)
        return columns | {
            CODES: np.concatenate([item.codes for item in items]).T,
            "pixel_digest": np.repeat(np.array([item.pixel_digest for item in items], np.uint64), counts),
            "frame": np.array([frame for item in items for frame in item.record.frames], np.int32),
            "flags": flags,
        }

    def _derived(self, ordinal: int) -> Mapping[str, int]:
        """Columns that follow from the attributes of an instance and of the entities above it."""
        lineage = self._tables.lineage(Level.IMAGE, ordinal)
        attributes: dict[str, str] = {}
        for level in LEVELS:
            attributes.update(lineage[level][1].attributes)
        columns = {LEVEL_COLUMN[level]: lineage[level][0] for level in LEVELS}
        columns.update({name: number(attributes) for name, number in NUMBERS.items()})
        columns.update({name: term_number(name, self._terms[name], text(attributes)) for name, text in TERMS.items()})
        return columns

    def _refresh(self) -> None:
        """Derive the columns of every row below a stale entity again."""
        below = sorted({instance for entity in self._lineage.stale for instance in self._tables.instances(*entity)})
        values = [self._derived(instance) for instance in below]
        nodes = [self._tables.lineage(Level.IMAGE, instance)[Level.IMAGE][1] for instance in below]
        rows = [node.rows for node in nodes]
        for node in nodes:
            self._tables.changes.note(Level.IMAGE, node.uid)
        for name in values[0] if values else ():
            spread = np.repeat([value[name] for value in values], [len(here) for here in rows])
            self._tables.rows.write(name, np.concatenate(rows), spread)


def term_number(column: str, terms: dict[str, int], text: str) -> int:
    """Number of a text among the terms of a column, to which it is added."""
    if text not in terms and len(terms) > MAX_TERM:
        logger.warning("%s has %d different values: a further one cannot be filtered by", column, len(terms))
        return 0
    return terms.setdefault(text, len(terms))
