"""The patient, study and series of a record: found, added, completed, corrected or moved inside one transaction."""

import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from storage.database.columns import DELETED, SOURCES
from storage.database.tables import Tables
from storage.database.tree import NO_PARENT, Node
from storage.record import LEVELS, Attributes, Level, Record, may_be_one_patient, names_a_patient, patient_id_and_issuer

logger = logging.getLogger(__name__)

NEWEST: Final = "newest_received_ns"
"""Name of the counter that holds the latest time of arrival ever stored."""


class LineageWriter:
    """Writes the entities above an instance.

    The first value of an attribute stays, unless it was empty: an answer must not change because a later image of the
    study says something else. If the writer corrects, the value of the object that arrived last wins for its whole
    patient, study or series, and so does the patient that this object names for its study. A value that an object
    leaves out or empty changes nothing in either case.

    Parameters
    ----------
    tables
        Of a write transaction.
    corrects
        As above.

    Attributes
    ----------
    stale
        Entities, as (level, ordinal), whose change invalidates the columns of the rows below them.
    conflicts
        Attributes, as (level, ordinal, keyword), that came with another value than the stored one, which stays.
    """

    def __init__(self, tables: Tables, *, corrects: bool) -> None:
        self._tables, self._corrects = tables, corrects
        self._newest_ns = tables.counter(NEWEST)
        self.stale: set[tuple[Level, int]] = set()
        self.conflicts: set[tuple[Level, int, str]] = set()

    def contradiction(self, record: Record) -> Level | None:
        """Level at which the record names another parent than the stored one and cannot correct it, None if nowhere.

        SERIES: its series belongs to another study. STUDY: its study belongs to another patient. A missing Patient ID
        or Issuer of Patient ID contradicts nothing.
        """
        study = self._tables.ordinal(Level.STUDY, record.study_instance_uid)
        series = self._tables.ordinal(Level.SERIES, record.series_instance_uid)
        if series is not None and self._tables.lineage(Level.SERIES, series)[Level.STUDY][0] != study:
            return Level.SERIES
        if study is None or self._corrects or not names_a_patient(record.patient_key):
            return None
        patient = self._tables.lineage(Level.STUDY, study)[Level.PATIENT][1].uid
        contradicts = names_a_patient(patient) and not may_be_one_patient(patient, record.patient_key)
        return Level.STUDY if contradicts else None

    def write(self, record: Record) -> int:
        """Write patient, study and series of a record that contradicts nothing; return the ordinal of the series."""
        parent = self._patient(record)
        for level in (Level.STUDY, Level.SERIES):
            parent = self._entity(level, record.uids[level], parent, record.attributes[level], record.received_ns)
        return parent

    def move_series(self, record: Record) -> None:
        """Put the series of a record, which is stored, under the study that the record names."""
        ordinal = self._tables.ordinal(Level.SERIES, record.series_instance_uid)
        assert ordinal is not None, "it is stored"
        lineage = self._tables.lineage(Level.SERIES, ordinal)
        parent, study = self._patient(record), record.study_instance_uid
        target = self._entity(Level.STUDY, study, parent, record.study, record.received_ns)
        self._tables.move(Level.SERIES, ordinal, lineage[Level.SERIES][1], target)
        self.stale.add((Level.SERIES, ordinal))
        for level in (Level.STUDY, Level.PATIENT):
            number, node = lineage[level]
            if self._tables.children(level, number):
                break
            self._tables.delete(level, number, node)

    def finish(self, received_ns: int) -> None:
        """Remember the latest time of arrival of a batch."""
        if received_ns > self._newest_ns:
            self._newest_ns = received_ns
            self._tables.set_counter(NEWEST, received_ns)

    def _patient(self, record: Record) -> int:
        """Ordinal of the patient that a record belongs to.

        A record without Patient ID, or without an issuer, belongs to the patient of its study. The first record that
        tells more names the patient: its study moves there.
        """
        study = self._tables.ordinal(Level.STUDY, record.study_instance_uid)
        key, attributes, received_ns = record.patient_key, record.patient, record.received_ns
        if study is None:
            return self._entity(Level.PATIENT, key, NO_PARENT, attributes, received_ns)
        old, patient = self._tables.lineage(Level.STUDY, study)[Level.PATIENT]
        is_same = not names_a_patient(key) or not names_a_patient(patient.uid) or may_be_one_patient(patient.uid, key)
        if not is_same and not self._is_newest(received_ns, Level.STUDY, study):
            return old  # the object that arrived last has corrected the patient
        if is_same and not _tells_more(key, patient.uid):
            return self._entity(Level.PATIENT, patient.uid, NO_PARENT, attributes, received_ns)
        target = self._entity(Level.PATIENT, key, NO_PARENT, attributes, received_ns)
        if is_same:
            self._entity(Level.PATIENT, key, NO_PARENT, {**patient.attributes, **attributes}, -1)
        self._move(study, old, patient, target)
        return target

    def _move(self, study: int, old: int, patient: Node, target: int) -> None:
        """Move a study from one patient to another; a patient without studies goes."""
        _, node = self._tables.lineage(Level.STUDY, study)[Level.STUDY]
        self._tables.move(Level.STUDY, study, node, target)
        self.stale.add((Level.STUDY, study))
        if not self._tables.children(Level.PATIENT, old):
            self._tables.delete(Level.PATIENT, old, patient)
            self.stale.discard((Level.PATIENT, old))

    def _entity(self, level: Level, uid: str, parent: int, attributes: Attributes, received_ns: int) -> int:
        """Ordinal of an entity, which is added, or completed or corrected by the attributes."""
        ordinal = self._tables.ordinal(level, uid)
        stored = None if ordinal is None else self._tables.node(level, ordinal)
        if ordinal is None or stored is None:
            return self._tables.add(level, Node(uid, parent, dict(attributes)))
        before = stored.attributes
        changes = {k: v for k, v in attributes.items() if not before.get(k) and (v or k not in before)}
        differing = {k: v for k, v in attributes.items() if v and before.get(k) not in (None, "", v)}
        if differing and self._is_newest(received_ns, level, ordinal):
            changes |= differing
            logger.info("%s %d: corrected %s", level, ordinal, ", ".join(sorted(differing)))  # never by value
        else:
            self.conflicts.update((level, ordinal, keyword) for keyword in differing)
        changes = {k: v for k, v in changes.items() if before.get(k) != v}
        if changes:
            self._tables.put(level, ordinal, replace(stored, attributes={**before, **changes}))
        if not SOURCES.isdisjoint(changes):
            self.stale.add((level, ordinal))
        return ordinal

    def _is_newest(self, received_ns: int, level: Level, ordinal: int) -> bool:
        """True if an object may correct an entity: corrections are wanted, and nothing below it arrived later."""
        if not self._corrects:
            return False
        if received_ns >= self._newest_ns:  # the usual case: objects are stored nearly in order of arrival
            return True
        below = (self._tables.node(Level.IMAGE, instance) for instance in self._tables.instances(level, ordinal))
        return all(node.received_ns <= received_ns for node in below if node is not None)


def stored_record(tables: Tables, ordinal: int) -> Record:
    """Return everything kept of an instance but its codes."""
    lineage = tables.lineage(Level.IMAGE, ordinal)
    patient, study, series, instance = (lineage[level][1] for level in LEVELS)
    return Record(
        sop_instance_uid=instance.uid,
        series_instance_uid=series.uid,
        study_instance_uid=study.uid,
        patient_key=patient.uid,
        patient=patient.attributes,
        study=study.attributes,
        series=series.attributes,
        instance=instance.attributes,
        frames=instance.frames,
        content_digest=instance.content_digest,
        received_ns=instance.received_ns,
    )


def remove_instances(tables: Tables, ordinals: Iterable[int]) -> NDArray[np.int64]:
    """Delete instances, and each entity above them that is left without a child; return their rows, now deleted."""
    rows = [np.empty(0, np.int64)]
    for ordinal in ordinals:
        lineage = tables.lineage(Level.IMAGE, ordinal)
        rows.append(lineage[Level.IMAGE][1].rows)
        for level in reversed(LEVELS):
            number, node = lineage[level]
            if level != Level.IMAGE and tables.children(level, number):
                break
            tables.delete(level, number, node)
    gone = np.concatenate(rows)
    tables.rows.write("flags", gone, tables.rows.gather("flags", gone)[0] | DELETED)
    return gone


def possible_patients(tables: Tables, patient_key: str) -> frozenset[str]:
    """Unique keys of all stored patients that a patient key may name, and this key; see `may_be_one_patient`."""
    if not names_a_patient(patient_key):
        return frozenset({patient_key})
    prefix = patient_key[: patient_key.index("\\") + 1]  # the Patient ID, whatever the issuer
    ordinals = tables.patients_of_id(prefix)
    keys = {tables.uid(Level.PATIENT, ordinal) or "" for ordinal in ordinals}
    return frozenset({patient_key, *(key for key in keys if may_be_one_patient(patient_key, key))})


def _tells_more(key: str, stored: str) -> bool:
    """True if a patient key has a Patient ID or issuer that the stored key, which it does not contradict, lacks."""
    if not names_a_patient(key) or not names_a_patient(stored):
        return names_a_patient(key)
    return bool(patient_id_and_issuer(key)[1]) and not patient_id_and_issuer(stored)[1]
