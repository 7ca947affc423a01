"""A running node that answers questions which are sent, objects that ask, and what arrives."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from node.dicom.client import Peer
from tests.support.running import RunningNode

KEY_OBJECTS, PRESENTATION_STATE = "1.2.840.10008.5.1.4.1.1.88.59", "1.2.840.10008.5.1.4.1.1.11.1"
REPORT = "1.2.840.10008.5.1.4.1.1.88.33"
COPIED = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate", "StudyTime")


@contextmanager
def asked_node(home: Path, port: int, title: str = "PACS", **settings: str) -> Iterator[RunningNode]:
    """A node whose answers go to a peer on a port of this machine."""
    home.mkdir(parents=True)
    lines = [f"{name} = {value}" for name, value in settings.items()]
    peer = f'[peers.{title}]\nhost = "127.0.0.1"\nport = {port}\n'
    (home / "settings.toml").write_text("\n".join([f'source_peer = "{title}"', *lines, peer]))
    node = RunningNode(home)
    node.start()
    try:
        yield node
    finally:
        node.stop()


def asking(node: RunningNode, calling_ae_title: str = "WORKSTATION") -> Peer:
    """The node under the title that takes questions."""
    return Peer(node.settings.ask_ae_title, node.settings.host, node.settings.port, calling_ae_title)


def ask(node: RunningNode, paths: Sequence[Path]) -> list[int | None]:
    """Send files over one association; their statuses."""
    return [outcome.status for outcome in asking(node).store(paths)]


def key_object_file(path: Path, images: Sequence[Path]) -> Path:
    """Write a key object selection of some images of one study."""
    selection, first = _of_study(dcmread(images[0]), KEY_OBJECTS, "KO"), Dataset()
    selection.ValueType, selection.ContinuityOfContent = "CONTAINER", "SEPARATE"
    selection.ContentSequence = []
    first.StudyInstanceUID, first.ReferencedSeriesSequence = selection.StudyInstanceUID, []
    for image in map(dcmread, images):
        item, series = Dataset(), Dataset()
        item.ValueType, item.RelationshipType, item.ReferencedSOPSequence = "IMAGE", "CONTAINS", [_reference(image)]
        selection.ContentSequence.append(item)
        series.SeriesInstanceUID, series.ReferencedSOPSequence = image.SeriesInstanceUID, [_reference(image)]
        first.ReferencedSeriesSequence.append(series)
    selection.CurrentRequestedProcedureEvidenceSequence = [first]
    return _saved(selection, path)


def presentation_state_file(path: Path, image: Path, kind: str, data: Sequence[float]) -> Path:
    """Write a presentation state with one graphic object on an image."""
    example = dcmread(image)
    state, series, annotation, graphic = _of_study(example, PRESENTATION_STATE, "PR"), Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID, series.ReferencedImageSequence = example.SeriesInstanceUID, [_reference(example)]
    graphic.GraphicAnnotationUnits, graphic.GraphicDimensions, graphic.GraphicType = "PIXEL", 2, kind
    graphic.NumberOfGraphicPoints, graphic.GraphicData, graphic.GraphicFilled = len(data) // 2, list(data), "N"
    annotation.GraphicLayer, annotation.GraphicObjectSequence = "LAYER", [graphic]
    annotation.ReferencedImageSequence = [_reference(example)]
    state.ReferencedSeriesSequence, state.GraphicAnnotationSequence = [series], [annotation]
    return _saved(state, path)


def report_file(path: Path, image: Path, kind: str, data: Sequence[float]) -> Path:
    """Write a report with one outline on an image."""
    example = dcmread(image)
    document, outline, selected = _of_study(example, REPORT, "SR"), Dataset(), Dataset()
    selected.ValueType, selected.RelationshipType = "IMAGE", "SELECTED FROM"
    selected.ReferencedSOPSequence = [_reference(example)]
    outline.ValueType, outline.RelationshipType = "SCOORD", "CONTAINS"
    outline.GraphicType, outline.GraphicData, outline.ContentSequence = kind, list(data), [selected]
    document.ValueType, document.ContentSequence = "CONTAINER", [outline]
    return _saved(document, path)


def _of_study(example: Dataset, sop_class_uid: str, modality: str) -> Dataset:
    made = Dataset()
    for keyword in COPIED:
        setattr(made, keyword, example.get(keyword, ""))
    made.SOPClassUID, made.SOPInstanceUID = sop_class_uid, f"{example.SOPInstanceUID[:50]}.7{modality == 'PR':d}"
    made.SeriesInstanceUID, made.Modality = f"{example.SeriesInstanceUID[:50]}.7", modality
    return made


def _reference(image: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    return item


def _saved(dataset: Dataset, path: Path) -> Path:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
    return path
