"""The view: plain query screens that name a study by its number get the studies that look like it, if they may."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.association import Association

from node.dicom.private import Element
from node.dicom.sop_classes import PATIENT_ROOT_FIND, STUDY_ROOT_FIND
from node.errors import Status
from node.peers import RemoteEntity
from tests.support.dicom.answering import Node, answering_node
from tests.support.dicom.archive import identifier, instance, uid
from tests.support.peers.orthanc import running_orthanc
from tests.support.running import program, run_peer

ITEMS = [
    instance("1.1.1", 0, PatientID="A", AccessionNumber="ACC1", StudyDate="20200101", Modality="CT"),
    instance("1.1.2", 30, PatientID="A", AccessionNumber="ACC1", StudyDate="20200101", Modality="CT"),
    instance("2.1.1", 1, PatientID="A", AccessionNumber="ACC2", StudyDate="20200301", Modality="CT"),
    instance("3.1.1", 2, PatientID="B", AccessionNumber="ACC3", StudyDate="20210101", Modality="CT"),
    instance("4.1.1", 3, PatientID="B", AccessionNumber="ACC4", StudyDate="20210601", Modality="MR"),
    instance("5.1.1", 9, PatientID="C", AccessionNumber="ACC5", StudyDate="20190101", Modality="MR"),
    instance("6.1.1", 5, PatientID="D", AccessionNumber="", StudyDate="20190101", Modality="CT"),
    instance("7.1.1", 6, PatientID="E", AccessionNumber="TWICE", StudyDate="20220101", Modality="CT"),
    instance("8.1.1", 7, PatientID="F", AccessionNumber="TWICE", StudyDate="20220101", Modality="CT"),
]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    peers = {
        "SCREEN": RemoteEntity(host="127.0.0.1", port=1, views=True),
        "ORTHANC": RemoteEntity(host="127.0.0.1", port=1, views=True),
        "STRICT": RemoteEntity(host="127.0.0.1", port=1, views=True, unsupported_match="refuse"),
        "OTHER": RemoteEntity(host="127.0.0.1", port=2),
    }
    with answering_node(tmp_path_factory.mktemp("view") / "home", ITEMS, peers=peers) as node:
        yield node


def associate(node: Node, calling: str, model: Any = STUDY_ROOT_FIND, called: str = "LOOKALIKE_VIEW") -> Association:
    ae = AE(calling)
    ae.add_requested_context(model)
    return ae.associate("127.0.0.1", node.settings.port, ae_title=called)


def ask(
    node: Node, request: Dataset, calling: str = "SCREEN", **options: Any
) -> tuple[list[int], list[Dataset], Dataset]:
    """Statuses of the pending responses, their identifiers, and the final status."""
    association = associate(node, calling, **options)
    responses = list(association.send_c_find(request, options.get("model", STUDY_ROOT_FIND)))
    association.release()
    return [status.Status for status, _ in responses[:-1]], [i for _, i in responses if i is not None], responses[-1][0]


def plain(**keys: str) -> Dataset:
    return identifier("STUDY", {}, {"StudyInstanceUID": "", "AccessionNumber": "", "PatientID": "", **keys})


@pytest.mark.parametrize(
    ("keys", "studies"),
    [
        ({"AccessionNumber": "ACC1"}, ["3", "6", "7", "8", "5"]),
        ({"AccessionNumber": "ACC1 ", "ModalitiesInStudy": "MR"}, ["4", "5"]),
        ({"AccessionNumber": "ACC1", "StudyDate": "20190101-20191231"}, ["6", "5"]),
        ({"StudyInstanceUID": uid("5"), "AccessionNumber": "ignored"}, ["8", "7", "6", "4", "2"]),
    ],
)
def test_a_number_gives_the_studies_of_other_patients_that_look_like_it(
    node: Node, keys: dict[str, str], studies: list[str]
) -> None:
    _, found, status = ask(node, plain(**keys))

    assert status.Status == Status.SUCCESS
    assert [str(study.StudyInstanceUID) for study in found] == [uid(study) for study in studies]
    assert all(study.AccessionNumber == by_study(study.StudyInstanceUID) for study in found)


def by_study(study_instance_uid: str) -> str:
    return next(
        item.record.study["AccessionNumber"] for item in ITEMS if item.record.study_instance_uid == study_instance_uid
    )


def test_a_key_that_neither_names_nor_filters_is_returned_and_flagged(node: Node) -> None:
    statuses, found, _ = ask(node, plain(AccessionNumber="ACC1", PatientID="A"))
    _, none, refusal = ask(node, plain(AccessionNumber="ACC1", PatientID="A"), "STRICT")

    assert set(statuses) == {Status.PENDING_WITH_UNSUPPORTED_KEYS}
    assert [study.PatientID for study in found] == ["B", "D", "E", "F", "C"]
    assert (none, refusal.Status, refusal.OffendingElement) == ([], Status.DATA_SET_MISMATCH, 0x00100020)


def test_the_rank_stands_in_patient_comments_for_those_who_ask_for_it(node: Node) -> None:
    statuses, found, _ = ask(node, plain(AccessionNumber="ACC1", PatientComments=""))
    _, without, _ = ask(node, plain(AccessionNumber="ACC1"))

    assert set(statuses) == {Status.PENDING}
    assert [study.PatientComments for study in found[:2]] == [
        "Look-alike 001, 2 of 64 bits apart: not the examination asked about.",
        "Look-alike 002, 5 of 64 bits apart: not the examination asked about.",
    ]
    assert not any("PatientComments" in study for study in without)


def test_the_rank_stands_there_in_a_query_by_example_too_and_in_no_ordinary_one(node: Node) -> None:
    example = {Element.EXAMPLE_SOP_INSTANCE_UID: uid("1.1.1"), Element.MAXIMUM_MATCHES: "2"}
    by_example = identifier("IMAGE", example, SOPInstanceUID="", PatientComments="")
    ordinary = identifier("STUDY", {}, StudyInstanceUID=uid("1"), PatientComments="")

    _, found, _ = ask(node, by_example, called="LOOKALIKE")
    statuses, [study], _ = ask(node, ordinary, called="LOOKALIKE")

    assert [image.PatientComments[:14] for image in found] == ["Look-alike 001", "Look-alike 002"]
    assert "PatientComments" not in study
    assert statuses == [Status.PENDING_WITH_UNSUPPORTED_KEYS]


@pytest.mark.parametrize(
    ("keys", "status", "offending"),
    [
        ({}, Status.DATA_SET_MISMATCH, 0x00080050),
        ({"AccessionNumber": "ACC*"}, Status.DATA_SET_MISMATCH, 0x00080050),
        ({"StudyInstanceUID": [uid("1"), uid("2")]}, Status.DATA_SET_MISMATCH, 0x0020000D),
        ({"AccessionNumber": "TWICE"}, Status.DATA_SET_MISMATCH, 0x00080050),
        ({"AccessionNumber": "NONE"}, Status.EXAMPLE_UNKNOWN, 0x00080050),
    ],
)
def test_what_names_no_study_of_one_patient_is_refused(node: Node, keys: Any, status: Status, offending: int) -> None:
    _, found, refusal = ask(node, plain(**keys))

    assert (found, refusal.Status, refusal.OffendingElement) == ([], status, offending)


def test_the_series_of_a_look_alike_can_be_opened(node: Node) -> None:
    _, [series], status = ask(node, identifier("SERIES", {}, StudyInstanceUID=uid("3"), SeriesInstanceUID=""))

    assert (series.SeriesInstanceUID, status.Status) == (uid("3.1"), Status.SUCCESS)


def test_another_model_is_refused(node: Node) -> None:
    _, found, refusal = ask(node, plain(AccessionNumber="ACC1"), model=PATIENT_ROOT_FIND)

    assert (found, refusal.Status) == ([], Status.SOP_CLASS_NOT_SUPPORTED)


@pytest.mark.parametrize("calling", ["OTHER", "STRANGER"])
def test_only_the_peers_that_are_named_may_use_the_view(node: Node, calling: str) -> None:
    association = associate(node, calling)

    primitive = association.acceptor.primitive
    assert association.is_rejected
    assert primitive is not None
    assert (primitive.result, primitive.result_source, primitive.diagnostic) == (1, 1, 3)


def test_the_usual_title_keeps_the_usual_meaning(node: Node) -> None:
    _, found, _ = ask(node, plain(AccessionNumber="ACC1"), called="LOOKALIKE")

    assert {study.StudyInstanceUID for study in found} == {uid("1"), uid("6")}, "an empty number matches anything"


def test_without_such_a_peer_there_is_no_view(tmp_path: Path) -> None:
    with answering_node(tmp_path / "home", ITEMS[:1]) as node:
        association = associate(node, "SCREEN")

    primitive = association.acceptor.primitive
    assert primitive is not None
    assert (primitive.result, primitive.result_source, primitive.diagnostic) == (1, 1, 7)


@pytest.mark.peers
def test_findscu_shows_ranks_without_a_dictionary(node: Node) -> None:
    keys = ("QueryRetrieveLevel=STUDY", "AccessionNumber=ACC1", "StudyInstanceUID", "PatientComments")
    address = ("-aet", "SCREEN", "-aec", "LOOKALIKE_VIEW", "127.0.0.1", str(node.settings.port))

    result = run_peer(program("findscu"), "-S", *(part for key in keys for part in ("-k", key)), *address)

    text = result.stdout + result.stderr
    assert text.index("Look-alike 001, 2 of 64") < text.index("Look-alike 002, 5 of 64")


@pytest.mark.peers
def test_orthanc_keeps_the_rank_also_where_it_drops_what_it_does_not_know(node: Node, tmp_path: Path) -> None:
    keys = {"AccessionNumber": "ACC1", "StudyInstanceUID": "", "PatientComments": ""}
    modality = {"view": ("LOOKALIKE_VIEW", node.settings.port)}
    with running_orthanc(tmp_path / "orthanc", modality) as orthanc:
        body = json.dumps({"Level": "Study", "Query": keys, "Normalize": True}).encode()
        query = orthanc.call("/modalities/view/query", body)["ID"]
        answers = orthanc.call(f"/queries/{query}/answers")
        shown = [orthanc.call(f"/queries/{query}/answers/{one}/content?simplify") for one in answers]

    assert [one["StudyInstanceUID"] for one in shown] == [uid(study) for study in ("3", "6", "7", "8", "5")]
    assert [one["PatientComments"][:14] for one in shown[:2]] == ["Look-alike 001", "Look-alike 002"]
