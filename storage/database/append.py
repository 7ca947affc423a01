"""Instances on their way into the database, inside one transaction."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes
from storage.database.blocks import CODES
from storage.database.columns import FIRST, LEVEL_COLUMN, NUMBERS, SOURCES, TERMS
from storage.database.tables import Tables
from storage.database.tree import NO_PARENT, Node
from storage.record import LEVELS, Attributes, Level, Record, names_a_patient

logger = logging.getLogger(__name__)

MAX_TERM = np.iinfo(np.uint16).max


@dataclass(frozen=True, slots=True)
class Item:
    """One instance to append.

    Attributes
    ----------
    codes : (len(record.frames), words) uint64
    previews : (len(record.frames), size, size) uint8 or None
        The network's input, kept so that a new model can encode it.
    pixel_digest
        64 bits over the network's input: equal for duplicates under other UIDs.
    outputs : (len(record.frames), code_length) int8 or None
        What the codes are the signs of, as `hashing.ranking_scores.in_whole_numbers` makes it: for the second stage.
    class_scores : (len(record.frames), n_classes) uint8 or None
        As `hashing.ranking_scores.in_eight_bits` makes them, kept beside the outputs; None of a model without classes.
    """

    record: Record
    codes: Codes
    previews: NDArray[np.uint8] | None
    pixel_digest: int
    outputs: NDArray[np.int8] | None = None
    class_scores: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        """Refuse codes, previews, outputs or class scores that are not one a frame, and scores without outputs."""
        frames = len(self.record.frames)
        for name in ("codes", "previews", "outputs", "class_scores"):
            array = getattr(self, name)
            if array is not None and len(array) != frames:
                raise ValueError(f"{len(array)} {name} came for {frames} frames of {self.record.sop_instance_uid}")
        if self.class_scores is not None and self.outputs is None:
            raise ValueError(f"class scores of {self.record.sop_instance_uid} came without outputs beside them")


@dataclass(frozen=True, slots=True)
class Clash:
    """An instance that was not stored because it contradicts what is kept.

    Attributes
    ----------
    level
        IMAGE: its SOP Instance UID is kept with other content. SERIES: its series is kept under another study.
        STUDY: its study is kept under another patient.
    """

    record: Record
    level: Level


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of a batch.

    Attributes
    ----------
    new, known
        Instances stored now; instances that were already there with the same content.
    clashing
        Instances not stored.
    conflicts
        Attributes of patients, studies and series that differ from the first seen, which stay.
    """

    new: int
    known: int
    clashing: tuple[Clash, ...]
    conflicts: int


class Appender:
    """Adds items one by one, then writes all their rows at once.

    The first value seen of an attribute stays, unless it was empty: an answer must not change because a later image of
    the study says something else, and rows found by that value must not move. What differs is counted and logged by
    keyword, never by value.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._stored: list[tuple[int, Item]] = []
        self._next_row = tables.rows.count
        self._stale: set[tuple[Level, int]] = set()
        self._conflicts: set[tuple[Level, int, str]] = set()
        self._clashing: list[Clash] = []
        self._known = 0
        self._terms = {name: {text: i for i, text in enumerate(tables.terms(name))} for name in TERMS}

    def add(self, item: Item) -> None:
        """Store an item, unless it is known or clashes."""
        record = item.record
        ordinal = self._tables.ordinal(Level.IMAGE, record.sop_instance_uid)
        kept = None if ordinal is None else self._tables.node(Level.IMAGE, ordinal)
        if kept is not None and kept.content_digest == record.content_digest:
            self._known += 1
        elif kept is not None:
            self._clashing.append(Clash(record, Level.IMAGE))
        elif (level := self._contradiction(record)) is not None:
            self._clashing.append(Clash(record, level))
        else:
            self._store(item)

    def finish(self) -> Appended:
        """Write the rows."""
        if self._stored:
            self._tables.rows.append(self._columns())
            self._tables.set_counter("rows", self._tables.rows.count)
            self._refresh()
        for name, terms in self._terms.items():
            if len(terms) > len(self._tables.terms(name)):
                self._tables.set_terms(name, terms)
        for level, ordinal, keyword in sorted(self._conflicts):
            logger.warning("%s %d: %s differs from the first seen, which stays", level, ordinal, keyword)
        return Appended(len(self._stored), self._known, tuple(self._clashing), len(self._conflicts))

    def _contradiction(self, record: Record) -> Level | None:
        """Level at which a record names another parent than the one kept."""
        study = self._tables.ordinal(Level.STUDY, record.study_instance_uid)
        series = self._tables.ordinal(Level.SERIES, record.series_instance_uid)
        if series is not None and self._tables.lineage(Level.SERIES, series)[Level.STUDY][0] != study:
            return Level.SERIES
        if study is not None and names_a_patient(record.patient_key):
            patient = self._tables.lineage(Level.STUDY, study)[Level.PATIENT][1].uid
            if names_a_patient(patient) and patient != record.patient_key:
                return Level.STUDY
        return None

    def _store(self, item: Item) -> None:
        record = item.record
        parent = self._patient(record)
        for level in (Level.STUDY, Level.SERIES):
            parent = self._place(level, record.uids[level], parent, record.attributes[level])
        node = Node(
            record.sop_instance_uid,
            parent,
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
            for frame, *kept in zip(record.frames, item.outputs, scores, strict=True):
                self._tables.put_outputs(ordinal, frame, *kept)
        self._next_row += len(record.frames)
        self._stored.append((ordinal, item))

    def _patient(self, record: Record) -> int:
        """Ordinal of the patient that a record belongs to.

        An image without Patient ID belongs to the patient of its study; the first with one names a nameless patient.
        """
        study = self._tables.ordinal(Level.STUDY, record.study_instance_uid)
        if study is None:
            return self._place(Level.PATIENT, record.patient_key, NO_PARENT, record.patient)
        lineage = self._tables.lineage(Level.STUDY, study)
        (_, node), (old, nameless) = lineage[Level.STUDY], lineage[Level.PATIENT]
        if names_a_patient(nameless.uid) or not names_a_patient(record.patient_key):
            return self._place(Level.PATIENT, nameless.uid, NO_PARENT, record.patient)
        patient = self._place(Level.PATIENT, record.patient_key, NO_PARENT, record.patient)
        self._tables.move(Level.STUDY, study, node, patient)
        self._tables.delete(Level.PATIENT, old, nameless)
        self._stale.discard((Level.PATIENT, old))
        self._stale.add((Level.STUDY, study))
        return patient

    def _place(self, level: Level, uid: str, parent: int, attributes: Attributes) -> int:
        """Ordinal of an entity, added or completed."""
        ordinal = self._tables.ordinal(level, uid)
        kept = None if ordinal is None else self._tables.node(level, ordinal)
        if ordinal is None or kept is None:
            return self._tables.add(level, Node(uid, parent, dict(attributes)))
        filled = {k: v for k, v in attributes.items() if not kept.attributes.get(k) and (v or k not in kept.attributes)}
        differing = {k for k, v in attributes.items() if v and kept.attributes.get(k) not in (None, "", v)}
        self._conflicts.update((level, ordinal, keyword) for keyword in differing)
        if filled:
            self._tables.put(level, ordinal, replace(kept, attributes={**kept.attributes, **filled}))
        if not SOURCES.isdisjoint(filled):
            self._stale.add((level, ordinal))
        return ordinal

    def _columns(self) -> dict[str, NDArray[Any]]:
        """Codes and columns of every new row, derived now that all attributes are known."""
        items = [item for _, item in self._stored]
        counts = [len(item.record.frames) for item in items]
        derived = [self._derived(ordinal) for ordinal, _ in self._stored]
        columns = {name: np.repeat([values[name] for values in derived], counts) for name in derived[0]}
        flags = np.concatenate([np.arange(count) == 0 for count in counts]) * np.uint8(FIRST)
        return columns | {
            CODES: np.concatenate([item.codes for item in items]).T,
            "pixel_digest": np.repeat(np.array([item.pixel_digest for item in items], np.uint64), counts),
            "frame": np.array([frame for item in items for frame in item.record.frames], np.int32),
            "flags": flags,
        }

    def _derived(self, ordinal: int) -> Mapping[str, int]:
        """Columns that follow from the attributes and place of an instance."""
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
        below = sorted({instance for entity in self._stale for instance in self._tables.instances(*entity)})
        values = [self._derived(instance) for instance in below]
        rows = [self._tables.lineage(Level.IMAGE, instance)[Level.IMAGE][1].rows for instance in below]
        for name in values[0] if values else ():
            spread = np.repeat([value[name] for value in values], [len(here) for here in rows])
            self._tables.rows.write(name, np.concatenate(rows), spread)


def term_number(column: str, terms: dict[str, int], text: str) -> int:
    """Number of a text among the terms of a column, to which it is added."""
    if text not in terms and len(terms) > MAX_TERM:
        logger.warning("%s has %d different values: a further one cannot be filtered by", column, len(terms))
        return 0
    return terms.setdefault(text, len(terms))
