"""C-FIND requests that are cut, hostile or read slowly, over a real association."""

import struct
from collections.abc import Iterator

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE, build_context

from node.dicom.hierarchy import tag_of
from node.dicom.private import CREATOR, GROUP, Element
from node.errors import Refusal, Status
from node.peers import RemoteEntity
from node.query import find
from storage.database.snapshot import Snapshot
from tests.support.dicom.answering import EXAMPLE, SYNTAXES, Node, StudyRoot, answering_node
from tests.support.dicom.archive import identifier, uid

STUDIES = identifier("STUDY", StudyInstanceUID="")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with answering_node(tmp_path_factory.mktemp("node")) as node:
        yield node


def element(group: int, number: int, vr: bytes, value: bytes, *, implicit: bool = False, length: int = -1) -> bytes:
    size = len(value) if length < 0 else length
    if implicit:
        return struct.pack("<HHI", group, number, size) + value
    if vr == b"UN":
        return struct.pack("<HH2sHI", group, number, vr, 0, size) + value
    return struct.pack("<HH2sH", group, number, vr, size) + value


def send(node: Node, octets: bytes, *, implicit: bool = False) -> list[Dataset]:
    """Statuses of the responses to an Identifier of these bytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pynetdicom.association.encode", lambda *_: octets)
        return node.ask(STUDIES, StudyRoot, SYNTAXES[implicit])[0]


LEVEL = (8, 0x52, b"CS", b"STUDY ")


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize(
    ("value", "length"), [(b"Doe", 8), (b"", 2), (b"D", 0xFFFE)], ids=["shorter", "missing", "far shorter"]
)
def test_an_identifier_whose_last_value_is_cut_is_not_understood(
    node: Node, value: bytes, length: int, implicit: bool
) -> None:
    octets = element(*LEVEL, implicit=implicit)
    octets += element(0x10, 0x10, b"PN", value, implicit=implicit, length=length)

    [status] = send(node, octets, implicit=implicit)

    assert status.Status == Status.CANNOT_UNDERSTAND


@pytest.mark.parametrize("octets", [b"\0\1", b"no data set at all", bytes(range(200))])
def test_what_is_no_data_set_is_not_understood(node: Node, octets: bytes) -> None:
    [status] = send(node, octets)

    assert status.Status == Status.CANNOT_UNDERSTAND


def test_an_identifier_of_another_size_than_is_read_is_refused(node: Node) -> None:
    [status] = send(node, element(*LEVEL) + element(0x20, 0xD, b"UN", b"1.2\\" * (1 << 18)))

    assert status.Status == Status.OUT_OF_RESOURCES


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("value", [b"2\0", b"\0\0", b" \0", b"\x07\0"], ids=["=32", "=100", "=20", "=7"])
def test_a_number_that_came_as_binary_is_refused_and_named(node: Node, value: bytes, implicit: bool) -> None:
    """So findscu writes (0075,1006)=32 without our dictionary, or where the key comes before its creator."""
    octets = element(*LEVEL, implicit=implicit)
    octets += element(GROUP, 0x10, b"LO", CREATOR.encode(), implicit=implicit)
    octets += element(GROUP, 0x1001, b"UI", uid("1.1.1").encode().ljust(10, b"\0"), implicit=implicit)
    octets += element(GROUP, 0x1006, b"UN", value, implicit=implicit)

    [status] = send(node, octets, implicit=implicit)

    assert (status.Status, status.OffendingElement) == (Status.DATA_SET_MISMATCH, GROUP << 16 | 0x1006)


def test_a_number_to_be_returned_may_come_as_un(node: Node) -> None:
    octets = element(*LEVEL) + element(GROUP, 0x10, b"LO", CREATOR.encode())
    octets += element(GROUP, 0x1001, b"UI", uid("1.1.1").encode().ljust(10, b"\0"))
    octets += element(GROUP, 0x1006, b"UN", b"") + element(GROUP, 0x1020, b"UN", b"")

    *pending, last = send(node, octets)

    assert {status.Status for status in pending} == {Status.PENDING}
    assert last.Status == Status.SUCCESS


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_run_of_asterisks_is_answered_while_others_are_served(node: Node, syntax: str) -> None:
    request = identifier("STUDY", PatientName="*" * 60 + "x", StudyInstanceUID="")

    statuses, found = node.ask(request, StudyRoot, UID(syntax))

    assert ([status.Status for status in statuses], found) == ([Status.SUCCESS], [])


@pytest.mark.parametrize("keyword", ["InstanceAvailability", "EthnicGroup"])
@pytest.mark.parametrize("ours", [{}, EXAMPLE])
def test_a_key_that_is_left_out_is_flagged_in_every_response(
    node: Node, keyword: str, ours: dict[Element, str]
) -> None:
    statuses, found = node.ask(identifier("STUDY", ours, {keyword: "", "PatientID": "A"}))

    assert len(found) >= 1
    assert {status.Status for status in statuses[:-1]} == {Status.PENDING_WITH_UNSUPPORTED_KEYS}
    assert not any(keyword in response for response in found)


@pytest.mark.parametrize(("choice", "status"), [("refuse", Status.DATA_SET_MISMATCH), ("warn", Status.SUCCESS)])
def test_a_caller_may_choose_refusal_of_keys_that_are_not_supported(
    node: Node, choice: str, status: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = RemoteEntity.model_validate({"host": "127.0.0.1", "port": 104, "unsupported_match": choice})
    monkeypatch.setattr(
        node.entity.find_service, "settings", node.settings.model_copy(update={"peers": {"CLIENT": client}})
    )

    statuses, found = node.ask(identifier("STUDY", PatientID="A", PatientComments="x"))
    supported = node.found(identifier("STUDY", PatientID="A"))

    assert statuses[-1].Status == status
    assert statuses[-1].get("OffendingElement") == (tag_of("PatientComments") if choice == "refuse" else None)
    assert len(found) == (0 if choice == "refuse" else 2)
    assert len(supported) == 2


@pytest.mark.parametrize("request_", [STUDIES, identifier("STUDY", EXAMPLE, StudyInstanceUID="")])
def test_no_read_transaction_is_open_while_responses_are_sent(
    node: Node, request_: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_snapshots: list[Snapshot] = []
    enter, leave = Snapshot.__enter__, Snapshot.__exit__

    def entered(snapshot: Snapshot) -> Snapshot:
        open_snapshots.append(snapshot)
        return enter(snapshot)

    def left(snapshot: Snapshot, *exc: object) -> None:
        open_snapshots.remove(snapshot)
        leave(snapshot, *exc)

    monkeypatch.setattr(Snapshot, "__enter__", entered)
    monkeypatch.setattr(Snapshot, "__exit__", left)

    responses = node.finder.find(request_, implicit=False, is_cancelled=lambda: False)

    for status, _ in responses:
        assert status == Status.PENDING
        assert open_snapshots == []


def test_more_text_than_is_gathered_is_refused_before_the_first_response(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find, "MAX_CHARACTERS", 10)

    with pytest.raises(Refusal) as refused:
        list(node.finder.find(STUDIES, implicit=False, is_cancelled=lambda: False))

    assert refused.value.status == Status.OUT_OF_RESOURCES


@pytest.mark.parametrize(
    "keys",
    [{"NumberOfPatientRelatedInstances": ""}, {"SOPClassesInStudy": "1.2.3"}, {"StudyDate": "20200101-20201231"}],
)
def test_counting_what_lies_below_one_entity_is_cancelled_too(
    node: Node, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find, "CHECK_S", 0)
    calls: list[None] = []

    def is_cancelled() -> bool:
        calls.append(None)
        return len(calls) > 9

    request = identifier("STUDY", PatientID="C", keys=keys)
    if "StudyDate" in keys:
        request = identifier("STUDY", {Element.EXAMPLE_STUDY_INSTANCE_UID: uid("5")}, keys)
    responses = node.finder.find(request, implicit=False, is_cancelled=is_cancelled)

    assert list(responses) == [(Status.CANCEL, None)]
    assert len(calls) == 10


def test_an_echo_beside_hostile_keys_is_answered(node: Node) -> None:
    key = "\\".join(["*" + "a?" * 500 + "b*"] * 30)
    hostile = node.associate(StudyRoot)
    asking = hostile.send_c_find(identifier("IMAGE", PatientName=key, StudyDescription=key), StudyRoot)
    ae = AE("OTHER")
    ae.requested_contexts = [build_context("1.2.840.10008.1.1")]
    other = ae.associate(node.settings.host, node.settings.port, ae_title=node.settings.ae_title)

    echoed = other.send_c_echo()
    final = [status.Status for status, _ in asking]

    assert (echoed.Status, final) == (Status.SUCCESS, [Status.SUCCESS])
    other.release()
    hostile.release()
