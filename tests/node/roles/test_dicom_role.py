"""The application entity on the wire: refusals, cancel, extended negotiation, what is no identifier."""

import threading
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.dimse_primitives import C_FIND
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation

from node.dicom.hierarchy import tag_of
from node.dicom.private import GROUP, SIMILARITY_FIND, Element
from node.errors import Status
from node.query import catalog
from node.query.response import ResponseEncoder
from node.roles import dicom
from tests.support.dicom.answering import EXAMPLE, MANY, RETURNED, SYNTAXES, Node, StudyRoot, answering_node
from tests.support.dicom.archive import identifier, uid


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with answering_node(tmp_path_factory.mktemp("node")) as node:
        yield node


@pytest.mark.parametrize(
    "request_",
    [
        identifier("STUDY", EXAMPLE | dict.fromkeys(RETURNED, ""), StudyInstanceUID="", PatientName="", StudyDate=""),
        identifier("SERIES", StudyInstanceUID=uid("3"), SeriesInstanceUID="", PatientName=""),
    ],
)
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_the_same_request_on_the_same_snapshot_gives_the_same_bytes(node: Node, request_: Dataset, syntax: UID) -> None:
    answers = []
    for _ in range(2):
        sent: list[bytes] = []
        listening = [(evt.EVT_DATA_RECV, lambda event, sent=sent: sent.append(event.data))]
        association = node.associate(StudyRoot, syntax, evt_handlers=listening)
        assert [status.Status for status, _ in association.send_c_find(request_, StudyRoot)][-1] == 0
        association.release()
        answers.append([pdu for pdu in sent if pdu[0] == 0x04])  # P-DATA-TF

    assert len(answers[0]) > 2
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("request_", "status", "offending"),
    [
        (identifier("PATIENT"), Status.DATA_SET_MISMATCH, tag_of("QueryRetrieveLevel")),
        (identifier("", PatientID="A"), Status.DATA_SET_MISMATCH, tag_of("QueryRetrieveLevel")),
        (identifier("STUDY", {**EXAMPLE, Element.MAXIMUM_MATCHES: "0"}), Status.DATA_SET_MISMATCH, Tag(GROUP, 0x1006)),
        (identifier("STUDY", {Element.MAXIMUM_MATCHES: "5"}), Status.DATA_SET_MISMATCH, Tag(GROUP, 0x1006)),
        (
            identifier("STUDY", {**EXAMPLE, Element.EXAMPLE_STUDY_INSTANCE_UID: uid("1")}, block=0x20),
            Status.DATA_SET_MISMATCH,
            Tag(GROUP, 0x2003),
        ),
        (
            identifier("STUDY", {Element.EXAMPLE_SERIES_INSTANCE_UID: uid("9.9")}, block=0x20),
            Status.EXAMPLE_UNKNOWN,
            Tag(GROUP, 0x2002),
        ),
        (identifier("STUDY", {**EXAMPLE, Element.MODEL_IDENTIFIER: "x"}), Status.MODEL_UNKNOWN, Tag(GROUP, 0x1008)),
        (identifier("STUDY", {**EXAMPLE, Element.INDEX_SNAPSHOT: "x"}), Status.SNAPSHOT_GONE, Tag(GROUP, 0x100B)),
    ],
)
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_refusal_names_the_element_and_says_what_to_do(
    node: Node, request_: Dataset, status: Status, offending: int, syntax: UID
) -> None:
    [answer], found = node.ask(request_, syntax=syntax)

    assert (answer.Status, answer.OffendingElement, found) == (status, offending, [])
    assert 10 < len(answer.ErrorComment) <= 64


def test_our_own_sop_class_refuses_a_query_without_example(node: Node) -> None:
    [answer], _ = node.ask(identifier("STUDY", PatientID="A"), SIMILARITY_FIND)

    assert (answer.Status, answer.OffendingElement) == (Status.DATA_SET_MISMATCH, Tag(GROUP, 0x1001))


@pytest.mark.parametrize(
    "octets",
    [b"\x08\x00\x05\x11SQ\0\0\xff\xff\xff\xff" + b"x" * 20, b"garbage, not a data set", b"\1\2\3", None],
)
def test_an_identifier_that_is_none_gets_a_failure_that_says_so(node: Node, octets: bytes | None) -> None:
    request = C_FIND()
    request.MessageID, request.Priority, request.AffectedSOPClassUID = 7, 2, StudyRoot
    request.Identifier = None if octets is None else BytesIO(octets)
    association = node.associate(StudyRoot)
    context = next(one for one in association.accepted_contexts if one.abstract_syntax == StudyRoot)

    association._reactor_checkpoint.clear()  # as pynetdicom's own send_c_find, which takes data sets only
    association.dimse.send_msg(request, context.context_id or 0)
    response: Any = association.dimse.get_msg(block=True)[1]
    association._reactor_checkpoint.set()
    echo = association.send_c_echo()
    association.release()

    assert response.Status in (Status.CANNOT_UNDERSTAND, Status.DATA_SET_MISMATCH)
    assert response.ErrorComment
    assert echo.Status == 0


def test_after_a_cancel_comes_one_last_response_and_nothing_more(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    encode = ResponseEncoder.encode

    def slowly(*arguments: Any) -> bytes:
        time.sleep(0.05)  # so that the cancel arrives before the last response, however busy the machine
        return encode(*arguments)

    monkeypatch.setattr(ResponseEncoder, "encode", slowly)
    statuses: list[int] = []
    association = node.associate(StudyRoot)

    for status, _ in association.send_c_find(identifier("IMAGE", PatientID="C"), StudyRoot, msg_id=5):
        if not statuses:
            association.send_c_cancel(5, query_model=StudyRoot)
        statuses.append(status.Status)
    echo = association.send_c_echo()
    association.release()

    assert statuses[-1] == Status.CANCEL
    assert set(statuses[:-1]) == {Status.PENDING}
    assert len(statuses) < len(MANY)
    assert echo.Status == 0


def test_an_internal_error_is_told_without_detail(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("Doe^Jane")

    monkeypatch.setattr(catalog, "find", broken)

    [answer], _ = node.ask(identifier("STUDY"))

    assert answer.Status == Status.INTERNAL_ERROR
    assert "Doe" not in answer.ErrorComment


@pytest.mark.parametrize("proposed", [b"\1\1\1\1\1\1\1", b"\1", b"\0\0\0", b"\1\1\1\1\1\1\1\1\1"])
def test_of_extended_negotiation_only_what_is_done_is_accepted(node: Node, proposed: bytes) -> None:
    item = SOPClassExtendedNegotiation()
    item.sop_class_uid, item.service_class_application_information = StudyRoot, proposed

    association = node.associate(StudyRoot, ext_neg=[item])
    association.release()

    answered = association.acceptor.sop_class_extended[StudyRoot]
    done = b"\1\1\0\0\0\1\1"
    assert answered == bytes(ours & theirs for ours, theirs in zip(done, proposed, strict=False))


def test_an_entity_that_answers_itself_is_alive(node: Node) -> None:
    assert node.entity.is_alive()


def test_an_entity_that_hangs_is_not_alive(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    monkeypatch.setattr(dicom, "PROBE_TIMEOUT_S", 0.3)
    monkeypatch.setattr(dicom, "PROBE_EVERY_S", 0)
    monkeypatch.setattr("node.dicom.message_reader.MessageReader.read_values", lambda *_: released.wait(30))

    assert not node.entity.is_alive()

    released.set()


def test_a_role_whose_listener_ended_ends(tmp_path: Path) -> None:
    with answering_node(tmp_path / "node", items=[]) as node:
        listener = node.entity._listener
        assert listener is not None
        listener.stop()

        with pytest.raises(RuntimeError, match="has ended"):
            node.entity.is_alive()
