"""Reports of storage commitment that destinations send over associations of their own."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE, build_role
from pynetdicom.association import Association
from pynetdicom.sop_class import StorageCommitmentPushModel  # type: ignore[attr-defined]

from node.dicom.sop_classes import STORAGE_COMMITMENT
from node.errors import Status
from node.home import open_outbox
from node.peers import RemoteEntity
from storage.spool.outbox import Outbox, ResultObject
from tests.support.dicom.answering import Node, answering_node

WELL_KNOWN = UID("1.2.840.10008.1.20.1.1")


@pytest.fixture
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    peers = {"PACS": RemoteEntity(host="127.0.0.1", port=1), "ELSE": RemoteEntity(host="127.0.0.1", port=2)}
    home = tmp_path_factory.mktemp("commitment") / "home"
    with answering_node(home, [], peers=peers, source_peer="PACS") as node:
        outbox = open_outbox(node.settings)
        outbox.add("question", "PACS", [ResultObject(f"2.25.{number}", (b"object",)) for number in (1, 2)])
        while due := outbox.due():
            outbox.sent(due[0])
        yield node


def associate(node: Node, calling: str, *, roles: bool = True) -> Association:
    ae = AE(calling)
    ae.add_requested_context(STORAGE_COMMITMENT)
    selection: list[Any] = [build_role(STORAGE_COMMITMENT, scp_role=True)] if roles else []
    return ae.associate("127.0.0.1", node.settings.port, ae_title="LOOKALIKE", ext_neg=selection)


def report(association: Association, *uids: str, failed: str = "", event_type: int = 1) -> int | None:
    """Status of the answer to a report."""
    information, sop_class = Dataset(), "1.2.840.10008.5.1.4.1.1.7"
    information.TransactionUID = "2.25.99"
    information.ReferencedSOPSequence = [_item(uid, sop_class) for uid in uids]
    if failed:
        information.FailedSOPSequence = [_item(failed, sop_class, 0x0112)]
    model: Any = StorageCommitmentPushModel
    status, _ = association.send_n_event_report(information, event_type, model, WELL_KNOWN)
    association.release()
    found: int | None = status.get("Status")
    return found


def _item(uid: str, sop_class: str, reason: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
    if reason is not None:
        item.FailureReason = reason
    return item


def outbox_of(node: Node) -> Outbox:
    return open_outbox(node.settings)


def test_a_report_over_an_association_of_its_own_is_noted(node: Node) -> None:
    association = associate(node, "PACS")
    roles = [(context.as_scu, context.as_scp) for context in association.accepted_contexts]

    status = report(association, "2.25.1", "2.25.2")

    assert roles == [(False, True)], "the peer is the SCP"
    assert (status, outbox_of(node).state().committed) == (Status.SUCCESS, 2)


def test_of_a_report_with_failures_only_what_is_committed_counts(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    status = report(associate(node, "PACS"), "2.25.1", failed="2.25.2", event_type=2)

    assert (status, outbox_of(node).state().committed) == (Status.SUCCESS, 1)
    assert "result 2.25.2 is not committed by its destination: reason 0112" in caplog.text


def test_a_report_of_who_did_not_get_an_object_counts_for_nothing(node: Node) -> None:
    status = report(associate(node, "ELSE"), "2.25.1")

    assert (status, outbox_of(node).state().committed) == (Status.SUCCESS, 0)


def test_another_event_is_none(node: Node) -> None:
    assert report(associate(node, "PACS"), "2.25.1", event_type=7) == Status.NO_SUCH_EVENT_TYPE
    assert outbox_of(node).state().committed == 0


def test_nobody_is_promised_commitment(node: Node) -> None:
    association = associate(node, "PACS", roles=False)
    request = Dataset()
    request.TransactionUID, request.ReferencedSOPSequence = "2.25.98", [_item("2.25.1", "1.2.840.10008.5.1.4.1.1.7")]

    status, _ = association.send_n_action(request, 1, STORAGE_COMMITMENT, WELL_KNOWN)

    association.release()
    assert status.Status == Status.UNRECOGNIZED_OPERATION


def test_without_answers_to_send_no_reports_are_taken(tmp_path_factory: pytest.TempPathFactory) -> None:
    with answering_node(tmp_path_factory.mktemp("quiet") / "home", []) as node:
        association = associate(node, "PACS")

    assert not association.is_established
