"""Key object documents, as an image manager sends them (PS3.3 C.17.6, PS3.16 TID 2010)."""

from collections.abc import Iterable

from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian, KeyObjectSelectionDocumentStorage, generate_uid

OF_INTEREST = "113000"


def key_objects(title: str, images: Iterable[Dataset], uid: str = "") -> FileDataset:
    """Key object document that references images, by their SOP Class, SOP Instance, Series and Study Instance UIDs."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = KeyObjectSelectionDocumentStorage, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = UID(uid or generate_uid())
    document = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    document.SOPClassUID, document.SOPInstanceUID = KeyObjectSelectionDocumentStorage, meta.MediaStorageSOPInstanceUID
    document.PatientID, document.PatientName, document.Modality = "P1", "Doe^Jane", "KO"
    document.StudyInstanceUID, document.SeriesInstanceUID = generate_uid(), generate_uid()
    document.ValueType, document.ContinuityOfContent = "CONTAINER", "SEPARATE"
    document.ConceptNameCodeSequence = [coded(title)]
    studies: dict[str, dict[str, list[Dataset]]] = {}
    for image in images:
        series = studies.setdefault(image.StudyInstanceUID, {})
        series.setdefault(image.SeriesInstanceUID, []).append(reference(image))
    document.CurrentRequestedProcedureEvidenceSequence = Sequence(
        item(
            StudyInstanceUID=study,
            ReferencedSeriesSequence=Sequence(
                item(SeriesInstanceUID=uid, ReferencedSOPSequence=Sequence(found)) for uid, found in series.items()
            ),
        )
        for study, series in studies.items()
    )
    document.ContentSequence = Sequence(
        item(RelationshipType="CONTAINS", ValueType="IMAGE", ReferencedSOPSequence=Sequence([found]))
        for series in studies.values()
        for references in series.values()
        for found in references
    )
    return document


def coded(value: str, scheme: str = "DCM", meaning: str = "Title") -> Dataset:
    """Code as an item of a sequence."""
    return item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def reference(image: Dataset) -> Dataset:
    """Reference to an image."""
    return item(ReferencedSOPClassUID=image.SOPClassUID, ReferencedSOPInstanceUID=image.SOPInstanceUID)


def item(**values: object) -> Dataset:
    """Data set with these values."""
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset
