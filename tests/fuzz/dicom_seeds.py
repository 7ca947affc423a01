"""Good inputs of the parsers of DICOM, computed: no seed is cut from an image of a patient."""

from io import BytesIO

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    ComprehensiveSRStorage,
    EncapsulatedPDFStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    KeyObjectSelectionDocumentStorage,
)

from node.dicom.private import Element
from node.pull.search.work_list import INVENTORY
from tests.support.dicom.archive import identifier, uid
from tests.support.dicom.hostile import NAME, body, file_of, picture, plain, uids
from tests.support.dicom.key_objects import coded, item, key_objects, reference
from tests.support.dicom.wire import (
    C_STORE_RQ,
    EXPLICIT,
    IMPLICIT,
    SECONDARY_CAPTURE,
    STUDY_ROOT_FIND,
    VERIFICATION,
    associate_rq,
    command,
)
from tests.support.dicom.wire import item as pdu_item

PDU_HEADER = 6
IMAGE = picture(1)


def associations() -> tuple[bytes, ...]:
    """Bodies of A-ASSOCIATE-RQ: plain, with every item of user information, and with a passcode."""
    contexts = [(SECONDARY_CAPTURE, (EXPLICIT, IMPLICIT)), (STUDY_ROOT_FIND, (EXPLICIT,)), (VERIFICATION, (IMPLICIT,))]
    find = STUDY_ROOT_FIND.encode()
    known = (
        pdu_item(0x51, (1 << 14).to_bytes(4)) + pdu_item(0x52, b"2.25.99") + pdu_item(0x53, bytes((0, 1, 0, 1)))
        + pdu_item(0x54, len(find).to_bytes(2) + find + b"\1\1") + pdu_item(0x55, b"VERSION")
        + pdu_item(0x56, len(find).to_bytes(2) + find + b"\1\1\1")
    )  # fmt: skip
    passcode = pdu_item(0x58, b"\2\1" + b"\0\3ws1" + b"\0\4word")
    token = pdu_item(0x58, b"\5\1" + b"\0\5a.b.c" + b"\0\0")
    requests = [associate_rq(contexts, user=user) for user in (None, known, known + passcode, known + token)]
    return tuple(request[PDU_HEADER:] for request in requests)


def command_sets() -> tuple[bytes, ...]:
    """A C-STORE request, whole, cut short and repeated."""
    stored = command(C_STORE_RQ, SECONDARY_CAPTURE, "2.25.7.1.1.1")
    return stored, stored[:-8], stored * 3


def heads() -> tuple[bytes, ...]:
    """Beginning of a data set."""
    return (body(IMAGE)[:600],)


def identifiers() -> tuple[bytes, ...]:
    """Identifiers of C-FIND: keys of each kind, and queries by example."""
    by_keys = identifier(
        "STUDY", StudyInstanceUID="", PatientID="A*", PatientName="Doe^J?n*", StudyDate="20200101-20201231",
        ModalitiesInStudy="CT\\MR", StudyTime="0900-1000", SpecificCharacterSet="ISO_IR 192",
    )  # fmt: skip
    example = {
        Element.EXAMPLE_SOP_INSTANCE_UID: uid("1.1.1"), Element.EXAMPLE_FRAME_NUMBER: "1",
        Element.EXAMPLE_REGION: "1\\1\\9\\9", Element.MAXIMUM_MATCHES: "5",
    }  # fmt: skip
    return body(by_keys), body(identifier("IMAGE", example)), body(identifier("SERIES", SeriesInstanceUID=uid("1.1")))


def notifications() -> tuple[bytes, ...]:
    """An attribute list of Instance Availability Notification."""
    one = reference(IMAGE)
    one.InstanceAvailability, one.RetrieveAETitle = "ONLINE", "PACS"
    series = item(SeriesInstanceUID=IMAGE.SeriesInstanceUID, ReferencedSOPSequence=Sequence([one]))
    step = item(
        ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.3", ReferencedSOPInstanceUID="2.25.9",
        PerformedWorkitemCodeSequence=Sequence(),
    )  # fmt: skip
    steps, listed = Sequence([step]), Sequence([series])
    told = item(
        StudyInstanceUID=IMAGE.StudyInstanceUID, ReferencedSeriesSequence=listed,
        ReferencedPerformedProcedureStepSequence=steps,
    )  # fmt: skip
    return (body(told),)


def commitments() -> tuple[bytes, ...]:
    """Action information of a request for storage commitment."""
    return (body(item(TransactionUID="2.25.8", ReferencedSOPSequence=Sequence([reference(IMAGE)]))),)


def files() -> tuple[bytes, ...]:
    """Small images."""
    return plain(1, PixelData=bytes(7680)), plain(2, WindowCenter="40", WindowWidth="400"), plain(3, NumberOfFrames=1)


def reports() -> tuple[bytes, ...]:
    """A structured report with an item of each kind of value, and a PDF."""
    words = Sequence([
        item(RelationshipType="CONTAINS", ValueType="TEXT", TextValue="nothing", ConceptNameCodeSequence=[coded("1")]),
        item(RelationshipType="CONTAINS", ValueType="PNAME", PersonName=NAME, ConceptNameCodeSequence=[coded("2")]),
        item(
            RelationshipType="CONTAINS", ValueType="NUM", ConceptNameCodeSequence=[coded("3")],
            MeasuredValueSequence=[item(NumericValue="4.5", MeasurementUnitsCodeSequence=[coded("mm", "UCUM")])],
        ),
        item(
            RelationshipType="CONTAINS", ValueType="CODE", ConceptCodeSequence=[coded("4")],
            ConceptNameCodeSequence=[coded("5")],
        ),
    ])  # fmt: skip
    tree = item(ValueType="CONTAINER", ConceptNameCodeSequence=[coded("121071")], ContentSequence=words)
    pdf = item(EncapsulatedDocument=b"%PDF-1.4\n%%EOF\n", MIMETypeOfEncapsulatedDocument="application/pdf")
    return _document(4, ComprehensiveSRStorage, tree), _document(5, EncapsulatedPDFStorage, pdf)


def questions() -> tuple[bytes, ...]:
    """Objects that ask about images: key objects, a presentation state and a report with outlines; and an image."""
    outline = item(
        GraphicAnnotationUnits="PIXEL", GraphicDimensions=2, NumberOfGraphicPoints=2, GraphicType="CIRCLE",
        GraphicData=[20.0, 20.0, 30.0, 20.0],
    )  # fmt: skip
    images = Sequence([reference(IMAGE)])
    annotation = item(ReferencedImageSequence=images, GraphicObjectSequence=Sequence([outline]))
    series = item(SeriesInstanceUID=IMAGE.SeriesInstanceUID, ReferencedImageSequence=images)
    state = item(GraphicAnnotationSequence=Sequence([annotation]), ReferencedSeriesSequence=Sequence([series]))
    selected = item(RelationshipType="SELECTED FROM", ValueType="IMAGE", ReferencedSOPSequence=images)
    region = item(
        RelationshipType="CONTAINS", ValueType="SCOORD", GraphicType="POLYLINE",
        GraphicData=[2.0, 2.0, 9.0, 2.0, 9.0, 9.0, 2.0, 2.0], ContentSequence=Sequence([selected]),
    )  # fmt: skip
    report = item(ValueType="CONTAINER", ContentSequence=Sequence([region]))
    return (
        _document(6, GrayscaleSoftcopyPresentationStateStorage, state),
        _document(7, ComprehensiveSRStorage, report),
        _document(8, KeyObjectSelectionDocumentStorage, key_objects("113000", [IMAGE], uids(8)["SOPInstanceUID"])),
        plain(9),
    )


def notes() -> tuple[bytes, ...]:
    """Rejection notes, and key objects that reject nothing."""
    titles = ("113001", "113000")
    return tuple(_document(8, KeyObjectSelectionDocumentStorage, key_objects(one, [IMAGE], "2.25.8")) for one in titles)


def pictures(kind: str) -> tuple[bytes, ...]:
    """Pictures of 8 bits, grey and coloured."""
    grey = np.add.outer(np.arange(40), np.arange(60)).astype(np.uint8)
    made = []
    for pixels in (grey, np.stack([grey, grey[::-1], grey], -1)):
        stream = BytesIO()
        Image.fromarray(pixels).save(stream, kind)
        made.append(stream.getvalue())
    return tuple(made)


def work_lists() -> tuple[bytes, ...]:
    """A CSV with headings, one without, and an Inventory object."""
    studies = Sequence([item(StudyInstanceUID="1.2.3"), item(StudyInstanceUID="1.2.4")])
    inventory = item(SOPClassUID=INVENTORY, InventoriedStudiesSequence=studies)
    return b"name,StudyInstanceUID\nx,1.2.3\ny,1.2.4\n", b"1.2.3\n1.2.4\n", file_of(body(inventory))


def _document(number: int, sop_class_uid: str, content: Dataset) -> bytes:
    """File of an object without pixels."""
    whole = Dataset(content)
    for keyword, value in uids(number).items():
        setattr(whole, keyword, value)
    whole.SOPClassUID, whole.PatientID, whole.PatientName, whole.Modality = sop_class_uid, f"P{number}", NAME, "OT"
    return file_of(body(whole))
