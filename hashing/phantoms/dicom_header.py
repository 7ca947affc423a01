"""DICOM attributes of the phantoms, except the pixels and the attributes that depend on the modality."""

from uuid import NAMESPACE_OID, uuid5

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.coding import Code
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    MRImageStorage,
)

from hashing.phantoms.body.person import Person
from hashing.phantoms.schedule import Series

SOP_CLASSES = {
    "CT": CTImageStorage,
    "CR": ComputedRadiographyImageStorage,
    "DX": DigitalXRayImageStorageForPresentation,
    "MR": MRImageStorage,
}
_STUDIES = {
    "CT": "CT Thorax",
    "CR": "Chest radiograph",
    "DX": "Chest radiograph",
    "MR": "MR Head",
}


def uid(*names: object) -> UID:
    """UID of a thing in the hospital that has these names; the same names give the same UID (PS3.5 B.2)."""
    return UID(f"2.25.{uuid5(NAMESPACE_OID, 'lookalike phantom ' + ' '.join(map(str, names))).int}")


def header(person: Person, series: Series, instance_number: int) -> Dataset:
    """Data set of one instance: patient, study, series, equipment and SOP common modules, and file meta information."""
    dataset = Dataset()
    _add_sop_common(dataset, person, series, instance_number)
    _add_patient(dataset, person, series.visit)
    _add_study(dataset, person, series)
    _add_series(dataset, person, series)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.FileMetaInformationVersion = b"\x00\x01"
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = series.transfer_syntax
    dataset.file_meta.ImplementationClassUID = uid("implementation")
    dataset.file_meta.ImplementationVersionName = "PHANTOMS"
    return dataset


def _group(series: Series) -> str:
    return "XR" if series.modality in ("CR", "DX") else series.modality


def _when(person: Person, series: Series) -> tuple[str, str]:
    """Date and time of a series. Radiographs are the first images of a day."""
    hour = {"XR": 8, "CT": 11, "MR": 14}[_group(series)]
    minute = (person.number * 7 + series.number * 3) % 60
    return person.visits[series.visit].strftime("%Y%m%d"), f"{hour:02d}{minute:02d}{person.number % 60:02d}"


def character_set(name: str) -> str | None:
    """Specific Character Set that can hold a name: the narrowest of the default, Latin 1 and Unicode."""
    if name.isascii():
        return None
    try:
        name.encode("latin-1")
    except UnicodeEncodeError:
        return "ISO_IR 192"
    return "ISO_IR 100"


def _add_sop_common(dataset: Dataset, person: Person, series: Series, instance_number: int) -> None:
    charset = character_set(person.name)
    if charset:
        dataset.SpecificCharacterSet = charset
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = _when(person, series)
    dataset.SOPClassUID = SOP_CLASSES[series.modality]
    dataset.SOPInstanceUID = uid(person.seed, person.number, series.number, instance_number)
    dataset.InstanceNumber = instance_number


def _add_patient(dataset: Dataset, person: Person, visit: int) -> None:
    age = person.age_years(visit)
    dataset.PatientName = person.name
    dataset.PatientID = (
        f"PHANTOM-{person.number:04d}" if not person.seed else f"PHANTOM-{person.seed}-{person.number:04d}"
    )
    dataset.IssuerOfPatientID = "LOOKALIKE PHANTOMS"
    dataset.PatientBirthDate = person.birth_date.strftime("%Y%m%d")
    dataset.PatientSex = person.sex
    dataset.PatientAge = f"{age:03d}Y"
    dataset.PatientComments = "Computed phantom, not a patient"


def _add_study(dataset: Dataset, person: Person, series: Series) -> None:
    group = _group(series)
    dataset.StudyInstanceUID = uid(person.seed, person.number, "study", series.visit, group)
    dataset.StudyDate, dataset.StudyTime = _when(person, series)
    dataset.StudyTime = dataset.StudyTime[:2] + "0000"
    dataset.AccessionNumber = f"P{person.seed % 1000:03d}{person.number:06d}{series.visit}{group}"
    dataset.StudyID = f"{person.number}.{series.visit}.{group}"
    dataset.StudyDescription = _STUDIES[series.modality]
    dataset.ReferringPhysicianName = ("Referrer^Rosalind", "Referrer^Wilhelm", "")[person.number % 3]


def _add_series(dataset: Dataset, person: Person, series: Series) -> None:
    dataset.Modality = series.modality
    dataset.SeriesInstanceUID = uid(person.seed, person.number, "series", series.number)
    dataset.SeriesNumber = series.number
    dataset.SeriesDate, dataset.SeriesTime = _when(person, series)
    dataset.AcquisitionDate, dataset.AcquisitionTime = dataset.SeriesDate, dataset.SeriesTime
    dataset.ContentDate, dataset.ContentTime = dataset.SeriesDate, dataset.SeriesTime
    dataset.SeriesDescription = _DESCRIPTIONS[series.protocol]
    dataset.ProtocolName = f"{series.body_part.title()} {series.protocol}"
    dataset.BodyPartExamined = series.body_part
    dataset.Manufacturer = "Lookalike (computed phantom)"
    dataset.ManufacturerModelName = "Phantom"
    dataset.SoftwareVersions = "PHANTOMS"
    dataset.DeviceSerialNumber = f"{series.modality}-1"
    dataset.InstitutionName = "Lookalike Phantom Hospital"
    dataset.StationName = f"PHANTOM{series.modality}"
    dataset.ImageComments = "Computed phantom, not a patient"


_DESCRIPTIONS = {
    "native": "Thorax axial",
    "contrast": "Thorax axial contrast",
    "PA": "Chest PA",
    "LL": "Chest lateral",
    "T1": "Head axial T1",
    "T1 contrast": "Head axial T1 contrast",
    "T2": "Head axial T2",
    "FLAIR": "Head axial FLAIR",
}


def code_item(code: Code) -> Dataset:
    """Item of a code sequence that holds a code (PS3.3 8.8)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return item
