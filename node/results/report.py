"""The structured report: the result of record, as Comprehensive 3D SR or Comprehensive SR (PS3.16 TID 1500)."""

from typing import Final

from highdicom.sr import (
    AlgorithmIdentification,
    CodeContentItem,
    Comprehensive3DSR,
    ComprehensiveSR,
    ContainerContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    ImageContentItem,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom.dataset import Dataset, FileDataset
from pydicom.sr.codedict import codes

from node.results.answer import Answer, ImageReference, SimilarCase
from node.results.coding import (
    BITS,
    CHANCE_EXPECTATION,
    HAMMING_DISTANCE,
    MODALITIES,
    NO_UNITS,
    SIMILAR_IMAGE,
    SIMILARITY_RANK,
    SIMILARITY_SCORE,
    coding_scheme_identification,
)
from node.results.header import finish, study_header
from node.version import IMPLEMENTATION_CLASS_UID, __version__

WARNING: Final = "The images listed here are those of other patients: they are no findings of this examination."
DEVICE: Final = "Lookalike"


def report(answer: Answer, *, three_dimensional: bool = True) -> FileDataset:
    """Report the look-alikes of an example, in the example's study; there must be one: TID 1500 has no empty report.

    Parameters
    ----------
    three_dimensional
        True for Comprehensive 3D SR, as IHE AI Results expects it; False for Comprehensive SR, the same content for
        destinations that refuse the other.

    Returns
    -------
    FileDataset
        The example stands in Current Requested Procedure Evidence Sequence, the look-alikes in Pertinent Other
        Evidence Sequence. COMPLETE, UNVERIFIED.
    """
    kind = "report" if three_dimensional else "comprehensive report"
    document = (Comprehensive3DSR if three_dimensional else ComprehensiveSR)(
        evidence=_evidence(answer),
        content=_content(answer)[0],
        series_instance_uid=answer.uid("report series"),
        series_number=1,
        sop_instance_uid=answer.uid(kind),
        instance_number=1,
        manufacturer=DEVICE,
        is_complete=True,
        is_verified=False,
    )
    document.CodingSchemeIdentificationSequence = [coding_scheme_identification()]
    return finish(document, answer, "report")


def _evidence(answer: Answer) -> list[Dataset]:
    """What highdicom takes the references, and patient and study of the document from."""
    header = study_header(answer)
    return [_evidence_item(image, header) for image in answer.examples] + [
        _evidence_item(case.image, Dataset()) for case in answer.cases
    ]


def _evidence_item(image: ImageReference, header: Dataset) -> Dataset:
    item = Dataset()
    item.update(header)
    item.SOPClassUID, item.SOPInstanceUID = image.sop_class_uid, image.sop_instance_uid
    item.SeriesInstanceUID, item.StudyInstanceUID = image.series_instance_uid, image.study_instance_uid
    return item


def _content(answer: Answer) -> MeasurementReport:
    groups = [_group(answer, number, case) for number, case in enumerate(answer.cases, start=1)]
    tree = MeasurementReport(
        observation_context=_observer(), procedure_reported=codes.CID100.ImagingProcedure, imaging_measurements=groups
    )
    items = tree[0].ContentSequence
    measurements = next(index for index, item in enumerate(items) if item.name == codes.DCM.ImagingMeasurements)
    items.insert(measurements, _image_library(answer))
    comment = " ".join(filter(None, (WARNING, answer.chance_note, answer.unusual_note, answer.note)))
    items.append(TextContentItem(codes.DCM.Comment, comment, relationship_type=RelationshipTypeValues.CONTAINS))
    return tree


def _observer() -> ObservationContext:
    """Say that a device observed, and which (TID 1001, 1004)."""
    device = DeviceObserverIdentifyingAttributes(
        uid=IMPLEMENTATION_CLASS_UID, name=DEVICE, manufacturer_name=DEVICE, model_name=DEVICE
    )
    return ObservationContext(
        observer_device_context=ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)
    )


def _image_library(answer: Answer) -> ContainerContentItem:
    """The example's images (TID 1600); those of other patients stand with their measurements only."""
    library = ContainerContentItem(codes.DCM.ImageLibrary, relationship_type=RelationshipTypeValues.CONTAINS)
    group = ContainerContentItem(codes.DCM.ImageLibraryGroup, relationship_type=RelationshipTypeValues.CONTAINS)
    group.ContentSequence = ContentSequence()
    for image in answer.examples:
        entry = ImageContentItem(
            name=codes.SCT.Source,
            referenced_sop_class_uid=image.sop_class_uid,
            referenced_sop_instance_uid=image.sop_instance_uid,
            referenced_frame_numbers=image.frame,
            relationship_type=RelationshipTypeValues.CONTAINS,
        )
        if image.modality in MODALITIES:
            modality = CodeContentItem(
                codes.DCM.Modality, MODALITIES[image.modality], relationship_type=RelationshipTypeValues.HAS_ACQ_CONTEXT
            )
            entry.ContentSequence = ContentSequence([modality])
        group.ContentSequence.append(entry)
    library.ContentSequence = ContentSequence([group])
    return library


def _group(answer: Answer, number: int, case: SimilarCase) -> MeasurementsAndQualitativeEvaluations:
    """One look-alike: finding, rank, score and distance, and the image (TID 1501)."""
    image = case.image
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=answer.uid("case", number), identifier=f"Similar image {number} (another patient)"
        ),
        finding_type=SIMILAR_IMAGE,
        algorithm_id=AlgorithmIdentification(name=DEVICE, version=__version__, parameters=[*_parameters(answer)]),
        measurements=[
            Measurement(SIMILARITY_RANK, case.rank, NO_UNITS),
            Measurement(SIMILARITY_SCORE, round(case.score, 6), NO_UNITS),
            Measurement(HAMMING_DISTANCE, case.distance, BITS),
            *([] if case.expectation is None else [_chance(case.expectation)]),
        ],
        source_images=[
            SourceImageForMeasurementGroup(
                image.sop_class_uid, image.sop_instance_uid, [image.frame] if image.frame else None
            )
        ],
    )


def _chance(expectation: float) -> Measurement:
    return Measurement(CHANCE_EXPECTATION, float(f"{expectation:.3g}"), NO_UNITS)


def _parameters(answer: Answer) -> tuple[str, ...]:
    return (
        f"model {answer.model}",
        f"code length {answer.code_length} bits",
        f"index snapshot {answer.snapshot}",
        *answer.regions,
    )
