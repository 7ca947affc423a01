"""Patient, study and series of stored instances, replaced by what the archive says of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from storage.corrections.rejecting import stored_item
from storage.database.append import Appender
from storage.database.database import Database
from storage.record import Attributes, Level, Record, names_a_patient, patient_id_and_issuer, patient_key


@dataclass(frozen=True, slots=True)
class Refiling:
    """Where an instance belongs.

    Attributes
    ----------
    patient, study
        Attributes that the archive tells, by keyword; an empty value changes nothing.
    """

    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    patient: Attributes
    study: Attributes


def refile(database: Database, refilings: Sequence[Refiling], received_ns: int) -> int:
    """File instances anew, all or nothing, with the patient and study of each; return how many were filed.

    Codes stay as they are. An instance that is not stored changes nothing, nor does one whose picture is stored under
    no frame.

    Parameters
    ----------
    received_ns
        Time at which the archive said so, nanoseconds since the epoch: what arrived later stays.
    """
    filed = 0
    with database.writing() as tables:
        for one in refilings:
            ordinal = tables.ordinal(Level.IMAGE, one.sop_instance_uid)
            if ordinal is None:
                continue
            item = stored_item(tables, ordinal, database.header.code_length)
            appender = Appender(tables, replaces=True)
            appender.add(replace(item, record=_refiled(item.record, one, received_ns)))
            filed += not appender.finish().clashing
    return filed


def _refiled(record: Record, one: Refiling, received_ns: int) -> Record:
    key, patient = record.patient_key, {**record.patient, **one.patient}
    own_id, own_issuer = patient_id_and_issuer(key) if names_a_patient(key) else ("", "")
    patient_id, issuer = one.patient.get("PatientID") or own_id, one.patient.get("IssuerOfPatientID") or own_issuer
    if (patient_id, issuer) != (own_id, own_issuer) or not names_a_patient(key):
        key = patient_key(patient_id, issuer, one.study_instance_uid)
        patient = dict(one.patient)  # nothing of the patient whose it was
    return replace(
        record,
        series_instance_uid=one.series_instance_uid,
        study_instance_uid=one.study_instance_uid,
        patient_key=key,
        patient=patient,
        study={**record.study, **one.study, "StudyInstanceUID": one.study_instance_uid},
        series={**record.series, "SeriesInstanceUID": one.series_instance_uid},
        received_ns=max(received_ns, record.received_ns),
    )
