"""Instance Availability Notifications: each element, and what a notification does to the answers."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, build_context
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import InstanceAvailabilityNotification  # type: ignore[attr-defined]

from node.corrections.availability import AvailabilityNotification, read_notification
from node.errors import Refusal, Status
from storage.corrections.announcing import is_settled, settlement
from storage.corrections.rejecting import restore
from tests.node.corrections.test_follower import IMAGES, images
from tests.support.dicom.answering import ITEMS, Node
from tests.support.dicom.archive import instance, uid
from tests.support.dicom.correcting import correcting_node
from tests.support.dicom.key_objects import item

STEP_CLASS = "1.2.840.10008.3.1.2.3.3"


def notification(study: str = "1", **availabilities: str) -> Dataset:
    """Notification of a study; images by place with underscores, as i1_1_1, all in one series."""
    references = [
        item(
            ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.2",
            ReferencedSOPInstanceUID=uid(place.removeprefix("i").replace("_", ".")),
            InstanceAvailability=availability,
            RetrieveAETitle="PACS",
        )
        for place, availability in availabilities.items()
    ]
    step = item(ReferencedSOPClassUID=STEP_CLASS, ReferencedSOPInstanceUID="2.25.1", PerformedWorkitemCodeSequence=[])
    series = item(SeriesInstanceUID=uid(f"{study}.1"), ReferencedSOPSequence=Sequence(references))
    return item(
        StudyInstanceUID=uid(study),
        ReferencedPerformedProcedureStepSequence=Sequence([step]),
        ReferencedSeriesSequence=Sequence([series]),
    )


def octets(dataset: Dataset, syntax: UID = ExplicitVRLittleEndian) -> bytes:
    return encode(dataset, syntax.is_implicit_VR, is_little_endian=True) or b""


PLACES = {
    "ReferencedPerformedProcedureStepSequence": lambda whole: whole,
    "StudyInstanceUID": lambda whole: whole,
    "ReferencedSeriesSequence": lambda whole: whole,
    "SeriesInstanceUID": lambda whole: whole.ReferencedSeriesSequence[0],
    "ReferencedSOPSequence": lambda whole: whole.ReferencedSeriesSequence[0],
    "ReferencedSOPClassUID": lambda whole: whole.ReferencedSeriesSequence[0].ReferencedSOPSequence[0],
    "ReferencedSOPInstanceUID": lambda whole: whole.ReferencedSeriesSequence[0].ReferencedSOPSequence[0],
    "InstanceAvailability": lambda whole: whole.ReferencedSeriesSequence[0].ReferencedSOPSequence[0],
    "RetrieveAETitle": lambda whole: whole.ReferencedSeriesSequence[0].ReferencedSOPSequence[0],
    "PerformedWorkitemCodeSequence": lambda whole: whole.ReferencedPerformedProcedureStepSequence[0],
}
"""The data set of a notification that holds each element."""
MAY_BE_EMPTY = ("ReferencedPerformedProcedureStepSequence", "PerformedWorkitemCodeSequence")
WRONG = {
    **{keyword: "Doe^Jane" for keyword in PLACES if keyword.endswith("UID")},
    "InstanceAvailability": "SOMEWHERE",
}


def refusal(dataset: Dataset, syntax: UID = ExplicitVRLittleEndian) -> Status:
    with pytest.raises(Refusal) as caught:
        read_notification(octets(dataset, syntax), syntax)
    assert "Doe" not in caught.value.comment
    return caught.value.status


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_a_whole_notification_is_read(syntax: UID) -> None:
    dataset = notification(i1_1_1="ONLINE", i1_1_2="NEARLINE", i1_1_3="OFFLINE", i1_1_4="UNAVAILABLE")

    found = read_notification(octets(dataset, syntax), syntax)

    here = tuple(uid(f"1.1.{number}") for number in (1, 2, 3))
    assert found == AvailabilityNotification(uid("1"), here, (uid("1.1.4"),))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("keyword", PLACES)
def test_an_element_that_is_missing_empty_or_wrong_has_its_status(keyword: str, syntax: UID) -> None:
    missing, empty, wrong = (notification(i1_1_1="ONLINE") for _ in range(3))

    delattr(PLACES[keyword](missing), keyword)
    assert refusal(missing, syntax) is Status.MISSING_ATTRIBUTE

    setattr(PLACES[keyword](empty), keyword, Sequence() if keyword.endswith("Sequence") else "")
    if keyword in MAY_BE_EMPTY:
        read_notification(octets(empty, syntax), syntax)
    else:
        assert refusal(empty, syntax) is Status.MISSING_ATTRIBUTE_VALUE

    if keyword in WRONG:
        PLACES[keyword](wrong).add_new(keyword, "LO", WRONG[keyword])
        assert refusal(wrong, syntax) is Status.INVALID_ATTRIBUTE_VALUE


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_damaged_notification_is_read_or_refused_and_nothing_else(data: st.DataObject) -> None:
    whole = bytearray(octets(notification(i1_1_1="ONLINE", i1_1_2="UNAVAILABLE")))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(whole)))

    refused = None
    try:
        read_notification(bytes(whole[:end]), ExplicitVRLittleEndian)
    except Refusal as caught:
        refused = caught.status

    assert refused in (None, 0x0106, 0x0110, 0x0120, 0x0121)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    chosen: dict[str, Any] = {"corrections_from": ("PACS",), "items": ITEMS}
    with correcting_node(tmp_path_factory.mktemp("node") / "home", **chosen) as node:
        yield node


def notify(node: Node, dataset: Dataset | None, title: str = "PACS", instance_uid: str | None = "2.25.7") -> Dataset:
    """Status of an N-CREATE, in an association of its own."""
    ae = AE(title)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 30
    contexts = [build_context(InstanceAvailabilityNotification, ExplicitVRLittleEndian)]
    association = ae.associate(node.settings.host, node.settings.port, contexts, node.settings.ae_title)
    assert association.is_established
    try:
        status: Dataset = association.send_n_create(dataset, InstanceAvailabilityNotification, instance_uid)[0]
        return status
    finally:
        association.release()


def test_what_is_unavailable_is_hidden_until_it_is_announced_or_sent_again(node: Node) -> None:
    for _ in range(2):
        hiding = notification(i1_1_1="UNAVAILABLE", i1_1_2="ONLINE")
        assert notify(node, hiding).Status == Status.SUCCESS
        assert images(node) == set(IMAGES) - {"1.1.1"}

    assert notify(node, notification(i1_1_1="NEARLINE")).Status == Status.SUCCESS
    assert images(node) == set(IMAGES)

    assert notify(node, hiding).Status == Status.SUCCESS
    again = replace(ITEMS[0], record=replace(ITEMS[0].record, received_ns=2**62))
    assert node.finder.database.append([again]).new == 1
    assert images(node) == set(IMAGES)
    restore(node.finder.database, uid("1.1.1"))
    assert node.finder.database.verify() == []


def test_a_study_is_settled_once_all_that_was_announced_is_here(node: Node) -> None:
    database = node.finder.database
    assert notify(node, notification("8", i8_1_1="ONLINE", i8_1_2="ONLINE", i8_1_3="UNAVAILABLE")).Status == 0

    with database.snapshot() as snapshot:
        before = settlement(snapshot, lambda _: False)
        assert is_settled(snapshot, lambda one: one in (uid("8.1.1"), uid("8.1.2")))
        assert not is_settled(snapshot, lambda _: False)
    database.append([instance("8.1.1", 0), instance("8.1.2", 0)])
    with database.snapshot() as snapshot:
        after = settlement(snapshot, lambda _: False)
        assert is_settled(snapshot, lambda _: False)
        assert list(snapshot.rejections.all_awaited()) == []

    assert (before.announced - before.settled, before.missing) == (1, (uid("8.1.1"), uid("8.1.2")))
    assert (after.announced - after.settled, after.missing) == (0, ())
    database.remove([uid("8.1.1"), uid("8.1.2")])


def test_a_refused_notification_changes_nothing_and_says_why(node: Node) -> None:
    hiding = notification(i1_1_1="UNAVAILABLE")
    without_study = notification(i1_1_1="UNAVAILABLE")
    del without_study.StudyInstanceUID

    others, nothing, lacking = notify(node, hiding, "MODALITY"), notify(node, None), notify(node, without_study)

    assert [answer.Status for answer in (others, nothing, lacking)] == [0x0124, 0x0120, 0x0120]
    assert lacking.ErrorComment == "StudyInstanceUID is missing"
    assert images(node) == set(IMAGES)


def test_the_node_names_a_notification_that_has_no_uid(node: Node) -> None:
    assert notify(node, notification(i1_1_2="ONLINE"), instance_uid=None).Status == Status.SUCCESS
