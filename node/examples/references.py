"""Images and regions to which a key object selection, a presentation state or a report refers (PS3.3 C.17, C.10.5)."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from pydicom.dataset import Dataset
from pydicom.uid import KeyObjectSelectionDocumentStorage

from node.examples.regions import bounding_box
from node.ingest.outcome import ReferencedImage

REPORTS: Final = "1.2.840.10008.5.1.4.1.1.88."
PRESENTATION_STATES: Final = "1.2.840.10008.5.1.4.1.1.11."
MAX_ITEMS: Final = 10_000
"""Content items that are looked at: no person outlines more."""


def refers(sop_class_uid: str) -> bool:
    """True if objects of a SOP class ask about the images that they reference, not about themselves."""
    return sop_class_uid.startswith((REPORTS, PRESENTATION_STATES))


def referenced_images(dataset: Dataset) -> tuple[ReferencedImage, ...]:
    """Images that an object refers to: all of a key object selection; of others those with an outline, each once."""
    sop_class_uid = str(dataset.get("SOPClassUID", ""))
    if sop_class_uid == KeyObjectSelectionDocumentStorage:
        found = _located(dataset, (image for item in _tree(dataset) for image in _images(item)))
    elif sop_class_uid.startswith(REPORTS):
        found = _located(dataset, _outlined_in_report(dataset))
    else:
        found = _located(dataset, _outlined_in_state(dataset))
    return tuple(dict.fromkeys(found))


def _outlined_in_report(dataset: Dataset) -> Iterator[ReferencedImage]:
    """Images of SCOORD items, by the IMAGE items that these are selected from (PS3.3 C.18.6)."""
    for item in _tree(dataset):
        if item.get("ValueType") == "SCOORD":
            region = bounding_box(str(item.get("GraphicType", "")), _numbers(item))
            for child in item.get("ContentSequence") or []:
                yield from (replace(image, region=region) for image in _images(child) if region)


def _outlined_in_state(dataset: Dataset) -> Iterator[ReferencedImage]:
    """Images of graphic objects in pixel units (PS3.3 C.10.5); of those without an image, all that the state names."""
    for annotation in (dataset.get("GraphicAnnotationSequence") or [])[:MAX_ITEMS]:
        items = annotation.get("ReferencedImageSequence") or [
            image
            for series in dataset.get("ReferencedSeriesSequence") or []
            for image in series.get("ReferencedImageSequence") or []
        ]
        graphics = [
            *(annotation.get("GraphicObjectSequence") or []),
            *(annotation.get("CompoundGraphicSequence") or []),
        ]
        for graphic in graphics[:MAX_ITEMS]:
            kind = str(graphic.get("GraphicType") or graphic.get("CompoundGraphicType") or "")
            units = graphic.get("GraphicAnnotationUnits") or graphic.get("CompoundGraphicUnits")
            filled = graphic.get("GraphicFilled") == "Y"
            region = bounding_box(kind, _numbers(graphic), filled=filled) if units == "PIXEL" else None
            yield from (replace(_image(item), region=region) for item in items if region)


def _tree(dataset: Dataset) -> Iterator[Dataset]:
    """Yield the items of a content tree, without recursion: nesting may be as deep as bytes allow."""
    waiting, seen = [dataset], 0
    while waiting and seen < MAX_ITEMS:
        item, seen = waiting.pop(0), seen + 1
        yield item
        waiting += item.get("ContentSequence") or []


def _images(item: Dataset) -> Iterator[ReferencedImage]:
    if item.get("ValueType") in ("IMAGE", "COMPOSITE"):
        yield from map(_image, item.get("ReferencedSOPSequence") or [])


def _image(item: Dataset) -> ReferencedImage:
    numbers = item.get("ReferencedFrameNumber")
    frames = () if numbers in (None, "") else (numbers if isinstance(numbers, list | tuple) else _several(numbers))
    sop_class_uid, sop_instance_uid = (str(item.get(f"ReferencedSOP{kind}UID", "")) for kind in ("Class", "Instance"))
    return ReferencedImage(sop_class_uid, sop_instance_uid, "", "", tuple(int(number) for number in frames))


def _several(value: object) -> list[int]:
    return list(value) if hasattr(value, "__iter__") else [int(str(value))]


def _numbers(item: Dataset) -> list[float]:
    return [float(number) for number in item.get("GraphicData") or []]


def _located(dataset: Dataset, images: Iterator[ReferencedImage]) -> Iterator[ReferencedImage]:
    """Add the study and series of each image, as far as the object lists them (PS3.3 C.17.2, C.11.11)."""
    places: dict[str, tuple[str, str]] = {}
    for keyword in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence"):
        for study in dataset.get(keyword) or []:
            for series in study.get("ReferencedSeriesSequence") or []:
                for image in series.get("ReferencedSOPSequence") or []:
                    place = str(series.get("SeriesInstanceUID", "")), str(study.get("StudyInstanceUID", ""))
                    places[str(image.get("ReferencedSOPInstanceUID", ""))] = place
    for series in dataset.get("ReferencedSeriesSequence") or []:  # of a state: all in its own study
        for image in series.get("ReferencedImageSequence") or []:
            place = str(series.get("SeriesInstanceUID", "")), str(dataset.get("StudyInstanceUID", ""))
            places[str(image.get("ReferencedSOPInstanceUID", ""))] = place
    for image in images:
        series, study = places.get(image.sop_instance_uid, ("", ""))
        yield replace(image, series_instance_uid=series, study_instance_uid=study)
