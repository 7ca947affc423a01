"""`lookalike forget`: what is received of a patient or a study is erased, wherever in the home folder it lies."""

import logging
import re
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydicom import dcmread
from pydicom.dataset import Dataset

from node.ingest.preparation import text
from storage.corrections.erasing import ErasureTarget, erase, named_instances, named_studies
from storage.database.database import Database
from storage.errors import SegmentsBusy
from storage.objects.object_store import ObjectStore
from storage.objects.region_table import RegionTable
from storage.objects.report_table import ReportTable
from storage.record import patient_key
from storage.segments.builder import sweep_files
from storage.spool.outbox import Outbox
from storage.spool.questions import QuestionSpool
from storage.spool.queue import Spool
from storage.spool.set_aside import SetAside
from storage.vault import Vault

logger = logging.getLogger(__name__)

TAGS: Final = ["SpecificCharacterSet", "StudyInstanceUID", "PatientID", "IssuerOfPatientID"]
SWEEP_PAUSE_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was erased.

    Attributes
    ----------
    studies, series, instances, codes
        Of the database, and studies of which only something else was there.
    rejections
        Rejections of instances, with what was kept of these.
    waiting, set_aside
        Objects that waited to be indexed, and notes on objects set aside, with the objects.
    unreadable
        Objects, waiting or set aside, of which nobody can tell whose they are; they stay.
    objects
        Original objects that were kept.
    questions, answers
        Questions that were sent, with their objects, and objects of answers that waited to be sent.
    """

    studies: int
    series: int
    instances: int
    codes: int
    rejections: int
    waiting: int
    set_aside: int
    unreadable: int
    objects: int
    questions: int = 0
    answers: int = 0


class Eraser:
    """Erases patients and studies; each step may be repeated after a kill.

    Parameters
    ----------
    writing
        Lock of the thread that stores instances.
    mail
        Questions that were sent, and answers on their way; None if there are none.
    regions
        Codes of parts of images; None if there may be none.
    """

    def __init__(
        self,
        database: Database,
        spool: Spool,
        objects: ObjectStore,
        writing: AbstractContextManager[object],
        reports: ReportTable | None = None,
        mail: tuple[QuestionSpool, Outbox] | None = None,
        regions: RegionTable | None = None,
    ) -> None:
        self._database, self._spool, self._objects, self._writing = database, spool, objects, writing
        self._reports, self._mail, self._regions = reports, mail, regions

    def erase(self, target: ErasureTarget) -> Forgotten:
        """Erase everything that a target names."""
        files = _Files(target, frozenset(_studies(self._database, target)), self._spool.vault)
        waiting = self._spool.erase(files.is_meant)
        with self._writing:  # what the indexer had in hand is stored by now, or is dropped
            with self._database.snapshot() as snapshot:
                named = named_instances(snapshot, target)
            objects = self._objects.erase(named)  # first: after a kill the database still says which these are
            if self._regions is not None:
                self._regions.erase(named)
            if self._reports is not None:
                self._reports.erase_where(files.names)
            erased = erase(self._database, target)
        files.studies |= erased.study_instance_uids
        questions = answers = 0
        if self._mail is not None:  # questions first: none is answered after its answer was looked for
            questions = self._mail[0].erase_meant(files.is_meant)
            answers = self._mail[1].erase_meant(files.is_answer_meant)
        set_aside = self._spool.erase_set_aside(files.is_note_meant)
        self._sweep_segments()
        counts = (erased.series, erased.instances, erased.codes, erased.rejections)
        logger.info("forgot %d instances of %d studies", erased.instances, len(files.found))
        found = len(files.found | erased.study_instance_uids)
        return Forgotten(found, *counts, waiting, set_aside, files.unreadable, objects, questions, answers)

    def _sweep_segments(self) -> None:
        """Remove the files of segments that the database gave up, which hold copies of codes."""
        while True:
            try:
                sweep_files(self._database)
            except SegmentsBusy:
                time.sleep(SWEEP_PAUSE_S)  # a segment under construction will be given up
            else:
                return


class _Files:
    """Tells whose the files of the spool are, as far as they can be read."""

    def __init__(self, target: ErasureTarget, studies: frozenset[str], vault: Vault) -> None:
        self.target, self.studies, self._vault = target, studies, vault
        self.found: set[str] = set()
        self.unreadable = 0

    def is_meant(self, path: Path) -> bool:
        """Whether a file is erased."""
        try:
            with self._vault.open(path) as file:
                dataset = dcmread(file, stop_before_pixels=True, specific_tags=TAGS)
            study, patient = text(dataset, "StudyInstanceUID"), _patient(dataset)
        except FileNotFoundError:  # indexed meanwhile
            return False
        except Exception:  # reading a file of anything raises anything
            self.unreadable += 1
            return False
        return self._is_meant(study, patient)

    def is_answer_meant(self, path: Path) -> bool:
        """True if an object of an answer belongs to what is erased, or holds a Study Instance UID of it."""
        if self.is_meant(path):
            return True
        try:
            with self._vault.open(path) as file:
                octets = file.read()
        except FileNotFoundError:  # sent meanwhile
            return False
        return any(re.search(rb"(?<![0-9.])%b(?![0-9.])" % re.escape(uid.encode()), octets) for uid in self.studies)

    def is_note_meant(self, note: SetAside) -> bool:
        """Whether a note is erased: its UIDs tell, or else its file."""
        study = note.uids.get("StudyInstanceUID", "")
        if study and self._is_meant(study, "\\"):
            return True
        return note.path is not None and self.is_meant(note.path)

    def names(self, study: str, patient: str) -> bool:
        """True if something of a study and a patient is erased."""
        return study in self.studies or self.target.names(study, patient)

    def _is_meant(self, study: str, patient: str) -> bool:
        is_meant = self.names(study, patient)
        if is_meant:
            self.found.add(study)
        return is_meant


def _patient(dataset: Dataset) -> str:
    return patient_key(text(dataset, "PatientID"), text(dataset, "IssuerOfPatientID"), "")


def _studies(database: Database, target: ErasureTarget) -> list[str]:
    with database.snapshot() as snapshot:
        return named_studies(snapshot, target)
