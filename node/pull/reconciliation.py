"""What is indexed is compared with the archive: identity, membership of studies, existence; differences are applied."""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Final, Protocol

from pydicom.dataset import Dataset

from node.corrections.order_book import Answer, OrderKind
from node.dicom.hierarchy import ATTRIBUTES
from node.options.pull import PullJob
from node.pull.search.archive import Archive, ArchiveQueries
from node.pull.search.listing import ListedInstance, list_range, list_studies, list_study
from node.pull.search.responses import number, text
from node.pull.search.windows import Window
from storage.database.database import Database
from storage.progress.entry import StudyEntry, StudyState
from storage.progress.job import Job
from storage.progress.progress import Progress
from storage.record import Attributes, Level

logger = logging.getLogger(__name__)

STUDIES_AT_ONCE: Final = 50
FEW: Final = 3
MAX_GONE_SHARE: Final = 0.5
"""Part of the studies of one step that may be gone; with more, the archive is in doubt, and none is hidden."""
PATIENT: Final = ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex")
STUDY: Final = ("StudyDate", "StudyTime", "AccessionNumber", "StudyID", "StudyDescription")


@dataclass(slots=True)
class ArchiveComparison:
    """What a comparison has found and done so far.

    Attributes
    ----------
    studies
        Studies compared.
    corrected, moved
        Studies whose patient or attributes were corrected, and instances that were filed under another study or series.
    hidden
        Instances that left the answers, because the archive has them no more.
    reopened
        Studies that lack instances which the archive has.
    doubts
        Why something was not applied.
    """

    studies: int = 0
    corrected: int = 0
    moved: int = 0
    hidden: int = 0
    reopened: int = 0
    doubts: list[str] = field(default_factory=list)

    @property
    def sentence(self) -> str:
        """For people."""
        done = f"{self.studies:,} studies compared, {self.corrected:,} corrected, {self.moved:,} images moved"
        done += f", {self.hidden:,} images hidden, {self.reopened:,} studies to complete"
        return f"{done}; {'; '.join(self.doubts)}" if self.doubts else done


class CarryOut(Protocol):
    """Has an order carried out by the one writer of the database."""

    def __call__(self, kind: OrderKind, **fields: object) -> Answer:
        """Return what the order did; a Refusal says that it will be carried out later."""


class Reconciler:
    """Compares the studies of a job that are done, some at a time, in the order of their UIDs.

    Only what the archive once listed is compared: what came from elsewhere may never have been there. What is gone is
    hidden and not erased, and comes back if the archive has it again.
    """

    def __init__(
        self,
        progress: Progress,
        job: Job,
        definition: PullJob,
        database: Database,
        archive: Archive,
        carry_out: CarryOut,
    ) -> None:
        self._progress, self._job, self._definition = progress, job, definition
        self._database, self._archive, self._carry_out = database, archive, carry_out

    def step(self, after: str, found: ArchiveComparison) -> str | None:
        """Compare some studies, and add what was found to a comparison.

        Parameters
        ----------
        after
            UID of the last study compared; "" at the beginning.

        Returns
        -------
        str or None
            UID of the last study of this step; None at the end.

        Raises
        ------
        PeerError
            The archive cannot be asked; what was not compared is as before.
        """
        entries = self._progress.entries(self._job, after, STUDIES_AT_ONCE)
        if not entries:
            return None
        done = [entry for entry in entries if entry.state is StudyState.DONE]
        with self._archive.queries() as queries:
            listed = list_studies(queries, [entry.study_instance_uid for entry in done])
            gone = [entry for entry in done if entry.listed and entry.study_instance_uid not in listed]
            for entry in done:
                if entry.study_instance_uid in listed:
                    self._compare(queries, entry, listed[entry.study_instance_uid], found)
            self._follow_gone(queries, gone, len(done), found)
        found.studies += len(done)
        return entries[-1].study_instance_uid

    def _compare(self, queries: ArchiveQueries, entry: StudyEntry, told: Dataset, found: ArchiveComparison) -> None:
        """Compare a study that the archive has: its attributes, and its instances if their number differs."""
        uid = entry.study_instance_uid
        with self._database.snapshot() as snapshot:
            study = snapshot.entity(Level.STUDY, uid)
            series = snapshot.children(Level.STUDY, uid) if study else []
            stored = {image: one for one in series for image in snapshot.each_child(Level.SERIES, one)}
        if study is not None and stored and _differs(study.attributes, told):
            image, its_series = next(iter(stored.items()))
            self._refile([_refiling(image, its_series, uid, told)])
            found.corrected += 1
        if entry.chosen < entry.listed or number(told, "NumberOfStudyRelatedInstances") == entry.announced:
            return  # a sample, or as many as when it was done
        listing = list_study(queries, uid)
        if not listing.is_whole or not listing.instances:
            found.doubts.append(f"study {uid} cannot be listed whole")
            return
        there = {one.sop_instance_uid for one in listing.instances}
        self._hide(uid, sorted(stored.keys() - there), found)
        self._bring_back(uid, there)
        if len(there) > entry.listed:
            found.reopened += self._progress.reopen(self._job, uid)
        else:
            self._note(entry, len(there))

    def _follow_gone(
        self, queries: ArchiveQueries, gone: Sequence[StudyEntry], compared: int, found: ArchiveComparison
    ) -> None:
        """Find out where studies went that the archive lacks: under another UID, or away."""
        if len(gone) > max(FEW, MAX_GONE_SHARE * compared):
            found.doubts.append(f"{len(gone)} of {compared} studies are not in the archive: none of these was hidden")
            return
        for day in {entry.study_date for entry in gone if entry.study_date}:
            self._file_new_studies(queries, day, found)
        for entry in gone:
            with self._database.snapshot() as snapshot:
                series = snapshot.children(Level.STUDY, entry.study_instance_uid)
                left = [image for one in series for image in snapshot.each_child(Level.SERIES, one)]
            self._hide(entry.study_instance_uid, left, found)
            self._note(entry, 0)

    def _file_new_studies(self, queries: ArchiveQueries, day: str, found: ArchiveComparison) -> None:
        """File stored instances under the studies of a date that list them now."""
        its_date = date(int(day[:4]), int(day[4:6]), int(day[6:]))
        entries, answer = list_range(queries, self._definition, Window(its_date, its_date), 0)
        self._progress.record(self._job, entries)
        told = {text(one, "StudyInstanceUID"): one for one in answer.datasets}
        for entry in entries:
            uid = entry.study_instance_uid
            moved = self.misfiled(list_study(queries, uid).instances, uid)
            if moved:
                attributes = list_studies(queries, [uid]).get(uid, told[uid])
                self._refile(
                    [_refiling(one.sop_instance_uid, one.series_instance_uid, uid, attributes) for one in moved]
                )
                found.moved += len(moved)

    def misfiled(self, instances: Sequence[ListedInstance], study_instance_uid: str) -> list[ListedInstance]:
        """Return the listed instances that are stored under another study or series."""
        found = []
        with self._database.snapshot() as snapshot:
            for one in instances:
                entity = snapshot.entity(Level.IMAGE, one.sop_instance_uid)
                if entity is None:
                    continue
                stored = entity.uids[Level.STUDY], entity.uids[Level.SERIES]
                if stored != (study_instance_uid, one.series_instance_uid):
                    found.append(one)
        return found

    def _refile(self, refilings: list[Mapping[str, Any]]) -> None:
        self._carry_out(OrderKind.REFILE, refilings=refilings, received_ns=time.time_ns())

    def _note(self, entry: StudyEntry, listed: int) -> None:
        """Store how many instances the archive has of a study now."""
        now = replace(entry, announced=listed, listed=listed, chosen=listed, received=listed)
        self._progress.settle(self._job, now)

    def _bring_back(self, study: str, instances: Iterable[str]) -> None:
        """Bring instances back that were hidden because the archive did not have them."""
        with self._database.snapshot() as snapshot:
            back = [uid for uid in instances if snapshot.is_hidden(uid)]
        if back:
            now_ns = time.time_ns()
            self._carry_out(OrderKind.ANNOUNCE, study=study, available=back, unavailable=[], received_ns=now_ns)

    def _hide(self, study: str, instances: Sequence[str], found: ArchiveComparison) -> None:
        if instances:
            now_ns = time.time_ns()
            answer = self._carry_out(
                OrderKind.ANNOUNCE, study=study, available=[], unavailable=list(instances), received_ns=now_ns
            )
            found.hidden += int(answer.get("hidden", 0))
            logger.info("study %s: %d instances are in the archive no more", study, len(instances))


def _differs(stored: Attributes, told: Dataset) -> bool:
    """True if the archive tells another value than is stored of a patient or a study."""
    kept = {*ATTRIBUTES[Level.PATIENT], *ATTRIBUTES[Level.STUDY]}
    given = {keyword: value for keyword in (*PATIENT, *STUDY) if (value := text(told, keyword)) and keyword in kept}
    return any(_normal(keyword, value) != _normal(keyword, stored.get(keyword, "")) for keyword, value in given.items())


def _normal(keyword: str, value: str) -> str:
    """A value as it is compared: names without empty components at their ends, times without a fraction of zero."""
    if keyword == "PatientName":
        return "=".join(group.rstrip("^ ") for group in value.split("=")).rstrip("=")
    return value.strip().partition(".")[0] if keyword == "StudyTime" else value.strip()


def _refiling(image: str, series: str, study: str, told: Dataset) -> Mapping[str, Any]:
    return {
        "sop_instance_uid": image,
        "series_instance_uid": series,
        "study_instance_uid": study,
        "patient": {keyword: value for keyword in PATIENT if (value := text(told, keyword))},
        "study": {keyword: value for keyword in STUDY if (value := text(told, keyword))},
    }
