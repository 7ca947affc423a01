"""What the node proposes to its peers is what the conformance statement lists in the role of a user."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import UID, SecondaryCaptureImageStorage
from pynetdicom import AE, build_context, build_role, evt

from node.ask.sending import ResultSender
from node.conformance.service_tables import sop_class_name
from node.dicom.client import Peer
from node.dicom.private import Element
from node.dicom.sop_classes import (
    STORAGE_COMMITMENT,
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
    VERIFICATION,
    Service,
    service_of,
)
from node.errors import PeerError
from node.results.report import report
from storage.spool.outbox import Outbox, ResultObject
from tests.support.answers import answer
from tests.support.dicom.answering import answering_node
from tests.support.dicom.archive import identifier
from tests.support.documents import rows
from tests.support.peers.pacs import peers


@pytest.fixture
def proposals() -> Iterator[tuple[int, list[set[UID]]]]:
    """Port of a peer that offers nothing but Verification, and the SOP classes of each association request."""
    requests: list[set[UID]] = []

    def note(event: Any) -> None:
        contexts = event.assoc.requestor.primitive.presentation_context_definition_list
        requests.append({UID(context.abstract_syntax) for context in contexts})

    ae = AE("PACS")
    ae.add_supported_context(VERIFICATION)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_REQUESTED, note)])
    assert server is not None
    yield server.server_address[1], requests
    server.shutdown()


def encoded(result: FileDataset) -> bytes:
    file = BytesIO()
    result.save_as(file, enforce_file_format=True)
    return file.getvalue()


def services(proposed: set[UID]) -> set[UID]:
    """SOP classes without those of storage."""
    return {sop_class for sop_class in proposed if service_of(sop_class) is not Service.STORAGE}


def test_the_node_proposes_the_sop_classes_of_which_it_is_a_user_and_no_others(
    proposals: tuple[int, list[set[UID]]], tmp_path: Path
) -> None:
    port, requests = proposals
    study, example = identifier("STUDY", StudyInstanceUID="1.2.3"), {Element.EXAMPLE_SOP_INSTANCE_UID: "1.2.3"}
    with answering_node(tmp_path, items=[], fetch_missing_example=True, **peers(port)) as node:
        Peer.of(node.settings, "PACS").accepted_sop_classes()
        with pytest.raises(PeerError):
            list(Peer("PACS", "127.0.0.1", port).find(study))
        node.ask(identifier("STUDY", example))
        moving = node.associate(STUDY_ROOT_MOVE)
        list(moving.send_c_move(study, "VIEW", STUDY_ROOT_MOVE))
        moving.release()
        ae = AE("CLIENT")
        roles: list[Any] = [build_role(SecondaryCaptureImageStorage, scp_role=True)]
        contexts = [build_context(STUDY_ROOT_GET), build_context(SecondaryCaptureImageStorage)]
        getting = ae.associate("127.0.0.1", node.settings.port, contexts, "LOOKALIKE", ext_neg=roles)
        list(getting.send_c_get(study, STUDY_ROOT_GET))
        getting.release()
        outbox = Outbox(tmp_path / "outbox")
        outbox.add("question", "PACS", [ResultObject("2.25.1", (encoded(report(answer(1))),))])
        ResultSender(node.settings, outbox).send(outbox.due()[0])

    checked, similar, fetch, move, get, result = requests
    users = {
        name for name, user, _ in rows("conformance.md", "SOP class", "user (SCU)", "provider (SCP)") if user == "yes"
    }
    assert {sop_class_name(sop_class) for sop_class in services(checked)} <= users
    assert (services(similar), services(fetch)) == ({STUDY_ROOT_FIND}, {STUDY_ROOT_FIND})
    assert (move, get) == ({STUDY_ROOT_MOVE}, {STUDY_ROOT_GET, SecondaryCaptureImageStorage})
    assert services(result) == {STORAGE_COMMITMENT}
    named = {sop_class_name(sop_class) for proposed in requests for sop_class in services(proposed)}
    by_other_tests = "storage"  # test_sending
    assert {name for name in users if not name.startswith(by_other_tests)} == named
