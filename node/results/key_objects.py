"""The key object selection that marks the example in its own study (PS3.16 TID 2010).

It never names a look-alike: a selection that references several studies must be duplicated into each of them (PS3.3
C.17.6.2.1), and that would write into the studies of other patients.
"""

from typing import Final

from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from highdicom.sr import DeviceObserverIdentifyingAttributes, ObserverContext
from pydicom.dataset import Dataset, FileDataset
from pydicom.sr.codedict import codes

from node.results.answer import Answer
from node.results.coding import OF_INTEREST
from node.results.header import finish, study_header
from node.version import IMPLEMENTATION_CLASS_UID

DESCRIPTION: Final = "Image for which similar cases of other patients were searched"


def key_objects(answer: Answer) -> FileDataset:
    """Mark the images that were the example as of interest."""
    header = study_header(answer)
    marked = [_marked(answer, number, header) for number in range(len(answer.examples))]
    selection = KeyObjectSelection(
        document_title=OF_INTEREST,
        referenced_objects=marked,
        observer_device_context=_observer(),
        description=DESCRIPTION,
    )
    document = KeyObjectSelectionDocument(
        evidence=marked,
        content=selection,
        series_instance_uid=answer.uid("key object series"),
        series_number=1,
        sop_instance_uid=answer.uid("key objects"),
        instance_number=1,
        manufacturer="Lookalike",
    )
    for item in document.ContentSequence:
        if item.ValueType == "IMAGE":  # highdicom gives it a purpose of reference, which TID 2010 row 10 forbids
            del item.ConceptNameCodeSequence
    return finish(document, answer, "key objects")


def _observer() -> ObserverContext:
    device = DeviceObserverIdentifyingAttributes(uid=IMPLEMENTATION_CLASS_UID, name="Lookalike")
    return ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)


def _marked(answer: Answer, number: int, header: Dataset) -> Dataset:
    image, item = answer.examples[number], Dataset()
    item.update(header)
    item.SOPClassUID, item.SOPInstanceUID = image.sop_class_uid, image.sop_instance_uid
    item.SeriesInstanceUID, item.StudyInstanceUID = image.series_instance_uid, image.study_instance_uid
    item.Rows = item.Columns = 1  # not written anywhere: by these highdicom tells images from other objects
    return item
