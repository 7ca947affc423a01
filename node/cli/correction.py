"""Corrections by the operator: what they name, what they do, and what they did."""

import re
from dataclasses import asdict, dataclass
from typing import Final

from rich.table import Table

from node.access.audit_trail import AuditTrail
from node.corrections.eraser import Forgotten
from node.corrections.order_book import OrderKind
from node.corrections.submission import submit
from node.errors import NodeError
from node.home import open_for_reading
from node.settings import Settings
from storage.corrections.erasing import ErasureTarget, named_patients, named_studies
from storage.record import Level

UID_FORM: Final = re.compile(r"[0-9.]{1,64}")  # PS3.5 section 9.1


class CorrectionError(NodeError):
    """A correction that was asked for makes no sense."""


@dataclass(frozen=True, slots=True)
class RestoredReport:
    """What a restoration did.

    Attributes
    ----------
    instances
        Instances that are in the answers again.
    lifted
        Rejections that are gone.
    """

    instances: int
    lifted: int

    @property
    def sentence(self) -> str:
        """The same in words."""
        missing = self.lifted - self.instances
        later = f"; {missing:,} others are indexed once they are sent again" if missing else ""
        return f"{self.lifted:,} rejections lifted, {self.instances:,} instances are back{later}"


def restore_rejected(settings: Settings, uid: str) -> RestoredReport:
    """Lift the rejections of a note, an instance or a study.

    Raises
    ------
    CorrectionError
        It is no UID, or nothing of it is rejected.
    """
    if not UID_FORM.fullmatch(uid):
        raise CorrectionError(f"{uid!r} is no UID: it has 1 to 64 digits and dots")
    answer = submit(settings, OrderKind.RESTORE, uid=uid)
    if not answer["lifted"]:
        raise CorrectionError(f"nothing that {uid} names is rejected")
    return RestoredReport(answer["instances"], answer["lifted"])


def read_target(settings: Settings, study: str, patient_id: str, issuer: str | None) -> tuple[ErasureTarget, str]:
    """Return what a command names, and what of it the database holds, in words without patient data.

    Raises
    ------
    CorrectionError
        Not exactly one of study and patient is named, the study is no UID, or several patients have the Patient ID.
    """
    if bool(study) == bool(patient_id):
        raise CorrectionError("name one: --study UID, or --patient ID")
    if study and not UID_FORM.fullmatch(study):
        raise CorrectionError(f"{study!r} is no UID: it has 1 to 64 digits and dots")
    target = ErasureTarget(study, patient_id, issuer)
    with open_for_reading(settings).database as database, database.snapshot() as snapshot:
        patients = named_patients(snapshot, target)
        if patient_id and len(patients) > 1:
            raise CorrectionError(f"{len(patients)} patients with this Patient ID: name the --issuer, '' for none")
        studies = named_studies(snapshot, target)
        series = [one for uid in studies for one in snapshot.each_child(Level.STUDY, uid)]
        instances = sum(len(snapshot.children(Level.SERIES, one)) for one in series)
    return target, f"{len(studies):,} studies, {len(series):,} series and {instances:,} instances are indexed"


def forget_target(settings: Settings, target: ErasureTarget) -> Forgotten:
    """Erase everything of a patient or a study, and return what was erased."""
    fields = {"study": target.study_instance_uid, "patient_id": target.patient_id, "issuer": target.issuer}
    forgotten = Forgotten(**submit(settings, OrderKind.FORGET, **fields))
    trail = AuditTrail(settings, "forget")
    trail.deleted(target.study_instance_uid, target.patient_id)
    trail.close()
    return forgotten


def forgotten_table(forgotten: Forgotten) -> Table:
    """What was erased, as a table of two columns."""
    table = Table(show_header=False, title="Erased")
    table.add_column(style="bold")
    table.add_column(justify="right")
    for name, count in asdict(forgotten).items():
        if name != "unreadable":
            table.add_row(name.replace("_", " "), f"{count:,}")
    if forgotten.unreadable:
        table.caption = (
            f"{forgotten.unreadable:,} received objects cannot be read: whose they are is unknown, they stay"
        )
    return table
