"""Queries by a region: of an indexed image by C-FIND and DICOMweb, and of a posted one, from pixels or preview."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydicom import config as pydicom_config
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE

from node.cli.send import files
from node.dicom.private import Element
from node.dicom.sop_classes import STUDY_ROOT_FIND
from node.errors import Status
from tests.peers.test_query_by_example import DICOM, Answer
from tests.support.dicom.answering import ours
from tests.support.dicom.archive import identifier
from tests.support.running import RunningNode

RETURNED = {Element.SIMILARITY_RANK: "", Element.HAMMING_DISTANCE: "", Element.REGION_SOURCE: ""}
Order = list[tuple[str, str, str]]


@pytest.fixture(scope="module")
def radiograph(phantoms: Path) -> Path:
    return next(path for path in files(phantoms) if dcmread(path, stop_before_pixels=True).Modality in ("CR", "DX"))


def find(node: RunningNode, request: Dataset) -> tuple[Dataset, list[Dataset]]:
    """Final status and identifiers of a C-FIND."""
    ae = AE("READER")
    ae.dimse_timeout = ae.network_timeout = 300  # the first query may wait for the compiler
    ae.add_requested_context(STUDY_ROOT_FIND)
    association = ae.associate(node.settings.host, node.settings.port, ae_title=node.settings.ae_title)
    responses = list(association.send_c_find(request, STUDY_ROOT_FIND))
    association.release()
    return responses[-1][0], [found for _, found in responses if found is not None]


def question(uid: str, region: list[str] | str, **more: Any) -> Dataset:
    example = {Element.EXAMPLE_SOP_INSTANCE_UID: uid, Element.EXAMPLE_REGION: region, Element.MAXIMUM_MATCHES: "5"}
    return identifier("IMAGE", {**example, **RETURNED, **more.pop("ours", {})}, SOPInstanceUID="", **more)


def order(found: list[Dataset]) -> Order:
    return [
        (ours(one)[Element.SIMILARITY_RANK], ours(one)[Element.HAMMING_DISTANCE], str(one.SOPInstanceUID))
        for one in found
    ]


def posted_order(answer: Answer) -> Order:
    return [(str(rank), str(distance), uid) for rank, distance, uid in answer.order]


def whole(path: Path) -> list[str]:
    image = dcmread(path, stop_before_pixels=True)
    return ["1", "1", str(image.Columns), str(image.Rows)]


def test_a_region_that_is_the_whole_picture_is_answered_as_the_image(hospital: RunningNode, radiograph: Path) -> None:
    uid = str(dcmread(radiograph, stop_before_pixels=True).SOPInstanceUID)

    _, by_image = find(hospital, question(uid, ""))
    status, by_region = find(hospital, question(uid, whole(radiograph)))

    assert status.Status == Status.SUCCESS
    assert order(by_region) == order(by_image)
    assert {ours(one)[Element.REGION_SOURCE] for one in by_region} == {"PREVIEW"}
    assert {ours(one)[Element.EXAMPLE_REGION] for one in by_region} == {"\\".join(whole(radiograph))}
    assert {ours(one)[Element.REGION_SOURCE] for one in by_image} == {""}


def test_a_part_is_another_question_than_the_whole_and_the_same_over_dicomweb(
    hospital: RunningNode, radiograph: Path
) -> None:
    image = dcmread(radiograph, stop_before_pixels=True)
    corners = [1, 1, image.Columns // 3, image.Rows // 3]
    uid, text = str(image.SOPInstanceUID), ",".join(map(str, corners))

    _, by_image = find(hospital, question(uid, ""))
    _, by_region = find(hospital, question(uid, list(map(str, corners))))
    web = Answer(hospital, "GET", f"/instances?similarto={uid}&region={text}&limit=5")
    posted = Answer(
        hospital, "POST", f"/similar?level=instance&region={text}&limit=5", radiograph.read_bytes(), Content_Type=DICOM
    )

    assert [distance for _, distance, _ in order(by_region)] != [distance for _, distance, _ in order(by_image)]
    assert posted_order(web) == order(by_region)
    assert {found["0075102C"]["Value"][0] for found in json.loads(posted.body)} == {"ORIGINAL"}
    assert uid not in {one for _, _, one in posted_order(posted)}, "the example itself is left out"


@pytest.mark.parametrize(
    ("region", "status"),
    [
        (["1", "1", "99999", "10"], Status.REGION_OUTSIDE),
        (["10", "10", "9", "20"], Status.REGION_OUTSIDE),
        (["0", "1", "9", "20"], Status.REGION_OUTSIDE),
        (["5", "5", "6", "6"], Status.REGION_OUTSIDE),
        (["1", "1", "9"], Status.DATA_SET_MISMATCH),
    ],
)
def test_a_region_that_is_none_is_refused_by_its_element(
    hospital: RunningNode, radiograph: Path, region: list[str], status: Status
) -> None:
    uid = str(dcmread(radiograph, stop_before_pixels=True).SOPInstanceUID)
    text = ",".join(region)

    refusal, found = find(hospital, question(uid, region))
    web = Answer(hospital, "GET", f"/instances?similarto={uid}&region={text}")

    assert (refusal.Status, found) == (status, [])
    assert refusal.OffendingElement == 0x00751005
    assert web.status == (422 if status == Status.REGION_OUTSIDE else 400)


def test_a_region_of_an_unknown_image_is_refused_as_the_image_is(hospital: RunningNode) -> None:
    refusal, _ = find(hospital, question("2.25.404", ["1", "1", "50", "50"]))

    assert (refusal.Status, refusal.OffendingElement) == (Status.EXAMPLE_UNKNOWN, 0x00751001)


@pytest.mark.parametrize("more", [{Element.EXAMPLE_FRAME_NUMBER: ["1", "2"]}, {}])
def test_a_region_is_of_one_image_and_one_frame(
    hospital: RunningNode, radiograph: Path, more: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pydicom_config.settings, "writing_validation_mode", pydicom_config.IGNORE)
    uid = str(dcmread(radiograph, stop_before_pixels=True).SOPInstanceUID)
    examples: Any = uid if more else [uid, "1.2.3"]

    refusal, _ = find(hospital, question(examples, ["1", "1", "50", "50"], ours=more))

    assert (refusal.Status, refusal.OffendingElement) == (Status.DATA_SET_MISMATCH, 0x00751005)
