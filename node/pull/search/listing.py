"""What an archive lists: studies of a range, and the instances of a study at IMAGE level."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import groupby
from typing import Final

from pydicom.dataset import Dataset

from node.errors import PeerError
from node.options.pull import PullJob
from node.pull.search.archive import ArchiveQueries, Found
from node.pull.search.responses import number, text, texts, uid_of
from node.pull.search.windows import KeyRange, Window
from storage.progress.entry import UNKNOWN, StudyEntry

STUDY_KEYS: Final = (
    "StudyInstanceUID", "StudyDate", "StudyTime", "StudyDescription", "ModalitiesInStudy",
    "NumberOfStudyRelatedInstances",
)  # fmt: skip
IDENTITY_KEYS: Final = (
    "PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID",
)  # fmt: skip
SERIES_KEYS: Final = ("SeriesInstanceUID", "Modality", "NumberOfSeriesRelatedInstances")
IMAGE_KEYS: Final = ("SOPInstanceUID", "SOPClassUID", "InstanceNumber")
HOUR_S: Final = 3600
UIDS_AT_ONCE: Final = 50


@dataclass(frozen=True, slots=True)
class ListedInstance:
    """An instance as the archive lists it.

    Attributes
    ----------
    sop_class_uid
        "" if the archive does not tell it.
    instance_number
        None if it has none.
    """

    sop_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str = ""
    instance_number: int | None = None


@dataclass(frozen=True, slots=True)
class StudyListing:
    """The instances of a study.

    Attributes
    ----------
    instances
        As listed at IMAGE level, series by series.
    announced
        Number of instances that the archive announces in all, at the level of series or else of the study; UNKNOWN if
        it does not.
    modalities
        Of the series.
    """

    study_instance_uid: str
    instances: tuple[ListedInstance, ...]
    announced: int
    modalities: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """True if as many are listed as announced; more may have arrived meanwhile."""
        return len(self.instances) >= self.announced


def list_range(
    queries: ArchiveQueries, job: PullJob, asked: Window | KeyRange, most: int
) -> tuple[list[StudyEntry], Found]:
    """List the studies of a range, those that a job wants; and everything that was found.

    Raises
    ------
    PeerError
        The archive refuses even a short time, or went away.
    """
    keys = dict(asked.keys)
    if len(job.modalities) == 1:
        keys["ModalitiesInStudy"] = job.modalities[0]
    found = queries.find("STUDY", keys, STUDY_KEYS, most)
    is_short = isinstance(asked, Window) and asked.days == 1 and asked.last_s - asked.first_s < HOUR_S
    if found.is_cut and not found.datasets and is_short:
        raise PeerError("the archive refuses a query for less than an hour")
    return list(wanted_studies(found.datasets, job)), found


def list_studies(queries: ArchiveQueries, study_instance_uids: Sequence[str]) -> dict[str, Dataset]:
    """Attributes of studies that are named by their UIDs, at STUDY level; those that the archive lacks are left out."""
    found: dict[str, Dataset] = {}
    for start in range(0, len(study_instance_uids), UIDS_AT_ONCE):
        some = study_instance_uids[start : start + UIDS_AT_ONCE]
        answer = queries.find("STUDY", {"StudyInstanceUID": "\\".join(some)}, (*STUDY_KEYS, *IDENTITY_KEYS))
        found |= {uid: dataset for dataset in answer.datasets if (uid := uid_of(dataset, "StudyInstanceUID"))}
        for uid in some:  # list of UID matching is not everywhere what it should be
            if uid not in found:
                single = queries.find("STUDY", {"StudyInstanceUID": uid}, (*STUDY_KEYS, *IDENTITY_KEYS))
                alike = (one for one in single.datasets if uid_of(one, "StudyInstanceUID") == uid)
                found.update((uid, one) for one in alike)
    return {uid: found[uid] for uid in study_instance_uids if uid in found}


def wanted_studies(datasets: Iterable[Dataset], job: PullJob) -> Iterator[StudyEntry]:
    """Yield the studies that a job wants, of those that were found."""
    for dataset in datasets:
        entry = study_entry(dataset)
        if entry is None or not _is_dated_within(entry, job):
            continue
        modalities = set(entry.modalities)
        if job.modalities and modalities and not modalities & set(job.modalities):
            continue
        description = text(dataset, "StudyDescription").upper()
        if job.descriptions and not any(fnmatchcase(description, pattern.upper()) for pattern in job.descriptions):
            continue
        yield entry


def study_entry(dataset: Dataset) -> StudyEntry | None:
    """Return what a response tells of a study; None if it names none."""
    uid = uid_of(dataset, "StudyInstanceUID")
    if not uid:
        return None
    digits = text(dataset, "StudyDate").replace(".", "").replace("-", "")
    date = digits if re.fullmatch(r"\d{8}", digits) else ""
    modalities = tuple(sorted({part.strip() for part in texts(dataset, "ModalitiesInStudy") if part.strip()}))
    return StudyEntry(uid, date, modalities, announced=number(dataset, "NumberOfStudyRelatedInstances"))


def list_study(queries: ArchiveQueries, study_instance_uid: str) -> StudyListing:
    """List a study series by series, at IMAGE level (PS3.4 C.4.1.2.1: without relational queries).

    Raises
    ------
    PeerError
        The archive refuses, or went away.
    """
    study = queries.find("STUDY", {"StudyInstanceUID": study_instance_uid}, STUDY_KEYS).datasets
    announced = max((number(dataset, "NumberOfStudyRelatedInstances") for dataset in study), default=UNKNOWN)
    series = queries.find("SERIES", {"StudyInstanceUID": study_instance_uid}, SERIES_KEYS)
    instances: dict[str, ListedInstance] = {}
    numbers = []
    for dataset in series.datasets:
        if uid := uid_of(dataset, "SeriesInstanceUID"):
            numbers.append(number(dataset, "NumberOfSeriesRelatedInstances"))
            for one in _list_series(queries, study_instance_uid, uid, numbers[-1]):
                instances.setdefault(one.sop_instance_uid, one)
    if numbers and UNKNOWN not in numbers:
        announced = max(announced, sum(numbers))
    modalities = {text(dataset, "Modality") for dataset in series.datasets} - {""}
    return StudyListing(study_instance_uid, tuple(instances.values()), announced, tuple(sorted(modalities)))


def choose(instances: Sequence[ListedInstance], job: PullJob) -> list[ListedInstance]:
    """Choose those that a job wants: all, or a sample of each series, in the order of Instance Number."""
    series = [list(group) for _, group in groupby(instances, key=lambda one: one.series_instance_uid)]
    if job.one_series and series:
        series = [max(series, key=lambda group: (len(group), group[0].series_instance_uid))]
    return [one for group in series for one in _sample(group, job)]


def _sample(group: Sequence[ListedInstance], job: PullJob) -> Sequence[ListedInstance]:
    ordered = sorted(group, key=_place)[:: job.every_nth]
    if not job.middle or len(ordered) <= job.middle:
        return ordered
    start = (len(ordered) - job.middle) // 2
    return ordered[start : start + job.middle]


def _place(one: ListedInstance) -> tuple[bool, int, str]:
    return one.instance_number is None, one.instance_number or 0, one.sop_instance_uid


def _list_series(queries: ArchiveQueries, study: str, series: str, announced: int) -> list[ListedInstance]:
    """List a series; where the archive cuts the list, ask for one Instance Number after the other."""
    keys = {"StudyInstanceUID": study, "SeriesInstanceUID": series}
    found = queries.find("IMAGE", keys, IMAGE_KEYS)
    listed = {one.sop_instance_uid: one for one in _instances(found.datasets, series)}
    if found.is_cut or len(listed) < announced:
        for instance_number in range(2 * max(announced, len(listed)) + 1):
            if len(listed) >= announced > 0:
                break
            some = queries.find("IMAGE", {**keys, "InstanceNumber": str(instance_number)}, IMAGE_KEYS)
            listed |= {one.sop_instance_uid: one for one in _instances(some.datasets, series)}
    return list(listed.values())


def _instances(datasets: Iterable[Dataset], series: str) -> Iterator[ListedInstance]:
    for dataset in datasets:
        if uid := uid_of(dataset, "SOPInstanceUID"):
            value = number(dataset, "InstanceNumber", least=-(1 << 31))
            known = None if value == UNKNOWN and text(dataset, "InstanceNumber") != "-1" else value
            yield ListedInstance(uid, series, uid_of(dataset, "SOPClassUID"), known)


def _is_dated_within(entry: StudyEntry, job: PullJob) -> bool:
    """True unless a date says otherwise: an archive may match dates loosely."""
    if not entry.study_date:
        return job.undated
    last = "99999999" if job.last_date is None else f"{job.last_date:%Y%m%d}"
    return f"{job.first_date:%Y%m%d}" <= entry.study_date <= last
