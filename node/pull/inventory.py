"""A DICOM Inventory object (PS3.3 A.88, C.38; Supplement 223) as proof of what is indexed."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from node.pull.search.work_list import INVENTORY
from node.version import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, __version__
from storage.database.database import Database
from storage.database.snapshot import Snapshot
from storage.record import Attributes, Level

STUDY_ATTRIBUTES = (
    "StudyDate", "StudyTime", "AccessionNumber", "StudyID", "StudyDescription", "ReferringPhysicianName",
    "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex",
)  # fmt: skip
SERIES_ATTRIBUTES = ("Modality", "SeriesNumber", "SeriesDescription")


def write_inventory(database: Database, path: Path, level: Level, now: datetime, *, is_complete: bool) -> int:
    """Write an Inventory object, and return how many studies it names.

    The object is built in memory: some 2 kB a study at the level of studies, and 200 bytes an instance below.

    Parameters
    ----------
    level
        STUDY, SERIES or IMAGE: down to which entities are listed.
    is_complete
        True if jobs have brought in everything that archives list.
    """
    dataset = _header(level, now, is_complete=is_complete)
    with database.snapshot() as snapshot:
        studies = list(_studies(snapshot, level, now))
    dataset.NumberOfStudyRecordsInInstance = dataset.TotalNumberOfStudyRecords = len(studies)
    dataset.InventoriedStudiesSequence = studies
    dcmwrite(path, dataset, enforce_file_format=True)
    return len(studies)


def _header(level: Level, now: datetime, *, is_complete: bool) -> Dataset:
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID, dataset.SOPInstanceUID = UID(INVENTORY), generate_uid(prefix=None)
    dataset.ContentDate, dataset.ContentTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = dataset.ContentDate, dataset.ContentTime
    dataset.Manufacturer, dataset.ManufacturerModelName, dataset.SoftwareVersions = (
        "Lookalike",
        "Lookalike",
        __version__,
    )
    dataset.InventoryLevel = {Level.IMAGE: "INSTANCE"}.get(level, str(level))
    dataset.InventoryCompletionStatus = "COMPLETE" if is_complete else "PARTIAL"
    dataset.InventoryPurpose = "Proof of what is indexed for similarity search"
    dataset.ScopeOfInventorySequence = []
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    dataset.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    return dataset


def _studies(snapshot: Snapshot, level: Level, now: datetime) -> Iterator[Dataset]:
    for study in snapshot.entities(Level.STUDY):
        item = Dataset()
        item.ItemInventoryDateTime = now.strftime("%Y%m%d%H%M%S")
        item.StudyInstanceUID = study.uid
        _copy(study.attributes, STUDY_ATTRIBUTES, item)
        series = snapshot.children(Level.STUDY, study.uid)
        children = {uid: snapshot.children(Level.SERIES, uid) for uid in series}
        item.NumberOfStudyRelatedSeries = len(series)
        item.NumberOfStudyRelatedInstances = sum(map(len, children.values()))
        if level is not Level.STUDY:
            item.InventoriedSeriesSequence = [
                _series(snapshot, uid, instances, level) for uid, instances in children.items()
            ]
        yield item


def _series(snapshot: Snapshot, uid: str, instances: list[str], level: Level) -> Dataset:
    item, entity = Dataset(), snapshot.entity(Level.SERIES, uid)
    item.SeriesInstanceUID = uid
    _copy(entity.attributes if entity else {}, SERIES_ATTRIBUTES, item)
    item.NumberOfSeriesRelatedInstances = len(instances)
    if level is Level.IMAGE:
        item.InventoriedInstancesSequence = [_instance(snapshot, instance) for instance in instances]
    return item


def _instance(snapshot: Snapshot, uid: str) -> Dataset:
    item, entity = Dataset(), snapshot.entity(Level.IMAGE, uid)
    item.SOPInstanceUID = uid
    _copy(entity.attributes if entity else {}, ("SOPClassUID", "InstanceNumber"), item)
    return item


def _copy(attributes: Attributes, keywords: tuple[str, ...], item: Dataset) -> None:
    for keyword in keywords:
        if value := attributes.get(keyword):
            setattr(item, keyword, value)
