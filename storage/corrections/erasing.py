"""Everything of a patient or a study leaves the database: records, codes, columns, previews, outputs, rejections."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storage.database.blocks import CODES
from storage.database.columns import COLUMNS
from storage.database.database import Database
from storage.database.lineage import remove_instances
from storage.database.rejections import Rejections
from storage.database.snapshot import Snapshot
from storage.database.tables import Tables
from storage.record import Level, names_a_patient, patient_id_and_issuer, patient_key


@dataclass(frozen=True, slots=True)
class ErasureTarget:
    """The study, or the patient with every study, that an order erases.

    Attributes
    ----------
    study_instance_uid
        The study; "" to name a patient.
    patient_id, issuer
        Patient ID, and Issuer of Patient ID; an issuer of None stands for any, and "" for none.
    """

    study_instance_uid: str = ""
    patient_id: str = ""
    issuer: str | None = None

    def names(self, study_instance_uid: str, patient: str) -> bool:
        """True if an object of a study and a patient (as `storage.record.patient_key` makes its key) is erased."""
        if self.study_instance_uid:
            return study_instance_uid == self.study_instance_uid
        if not names_a_patient(patient):
            return False
        patient_id, issuer = patient_id_and_issuer(patient)
        own_id, own_issuer = patient_id_and_issuer(patient_key(self.patient_id, self.issuer or "", ""))
        return patient_id == own_id and (self.issuer is None or issuer == own_issuer)


@dataclass(frozen=True, slots=True)
class Erased:
    """How much of the database was erased.

    Attributes
    ----------
    study_instance_uids
        Every study of which something was there.
    series, instances, codes
        How many of each are gone; a code is one frame.
    rejections
        Rejections of instances, with what was kept of these.
    """

    study_instance_uids: frozenset[str]
    series: int
    instances: int
    codes: int
    rejections: int


def named_patients(snapshot: Snapshot, target: ErasureTarget) -> list[str]:
    """Return the keys of the stored patients that a target names, or whose study it names."""
    if target.study_instance_uid:
        study = snapshot.entity(Level.STUDY, target.study_instance_uid)
        return [] if study is None else [study.uids[Level.PATIENT]]
    keys = snapshot.possible_patients(patient_key(target.patient_id, target.issuer or "", ""))
    found = (key for key in keys if target.names("", key) and snapshot.ordinal(Level.PATIENT, key) is not None)
    return sorted(found)


def named_studies(snapshot: Snapshot, target: ErasureTarget) -> list[str]:
    """Return the UIDs of the stored studies that a target names."""
    if target.study_instance_uid:
        is_stored = snapshot.ordinal(Level.STUDY, target.study_instance_uid) is not None
        return [target.study_instance_uid] if is_stored else []
    return [uid for key in named_patients(snapshot, target) for uid in snapshot.each_child(Level.PATIENT, key)]


def named_instances(snapshot: Snapshot, target: ErasureTarget) -> set[str]:
    """Return the SOP Instance UIDs of the stored and the rejected instances that a target names."""
    studies = set(named_studies(snapshot, target))
    series = [child for study in studies for child in snapshot.each_child(Level.STUDY, study)]
    stored = {uid for one in series for uid in snapshot.each_child(Level.SERIES, one)}
    return stored.union(uid for uid, _ in _rejected(snapshot.rejections, target, studies))


def erase(database: Database, target: ErasureTarget) -> Erased:
    """Erase what a target names, all or nothing; erasing what is not there changes nothing.

    Codes and columns of the rows become zeros, and segments that hold copies of these codes are given up: a scan serves
    until they are built again. A segment under construction is given up, too.
    """
    with database.snapshot() as snapshot:
        studies = set(named_studies(snapshot, target))
    with database.writing() as tables:
        ordinals = [tables.ordinal(Level.STUDY, uid) for uid in studies]
        series = [child for one in ordinals if one is not None for child in tables.children(Level.STUDY, one)]
        instances = [child for one in series for child in tables.children(Level.SERIES, one)]
        rows = remove_instances(tables, instances)
        _blank(tables, rows)
        rejected = list(_rejected(tables.rejections, target, studies))
        for uid in {*studies, target.study_instance_uid}:
            tables.rejections.expect(uid, [])
        for uid, study in rejected:
            tables.rejections.delete(uid)
            tables.rejections.expect(study, [])
            studies.add(study)
    return Erased(frozenset(studies), len(series), len(instances), rows.size, len(rejected))


def _blank(tables: Tables, rows: NDArray[np.int64]) -> None:
    """Overwrite the codes and columns of deleted rows, and give up the segments that hold them."""
    if not rows.size:
        return
    for name in (CODES, *(column for column in COLUMNS if column != "flags")):
        tables.rows.write(name, rows, np.zeros_like(tables.rows.gather(name, rows)))
    kept = [entry for entry in tables.segments() if not ((rows >= entry.first_row) & (rows < entry.end)).any()]
    tables.set_segments(kept)
    tables.set_counter("compactions", tables.counter("compactions") + 1)  # no segment that is being built is named


def _rejected(rejections: Rejections, target: ErasureTarget, studies: Iterable[str]) -> Iterable[tuple[str, str]]:
    """Yield SOP and Study Instance UID of the rejected instances that a target names."""
    for uid, rejection in list(rejections.all()):
        item, study = rejections.withheld(uid), rejection.study_instance_uid
        patient = "\\" if item is None else item.record.patient_key
        if study in studies or target.names(study, patient):
            yield uid, study
