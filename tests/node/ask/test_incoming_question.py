"""Associations that ask by sending: who may, what is offered, and how much one question holds."""

from collections.abc import Iterator

import numpy as np
import pytest
from pydicom.uid import UID, CTImageStorage
from pynetdicom import AE
from pynetdicom.association import Association

from node.dicom.sop_classes import STUDY_ROOT_FIND
from node.home import open_questions
from node.peers import RemoteEntity
from node.query.question import MAX_EXAMPLES
from tests.support.dicom.answering import Node, answering_node
from tests.support.hashing.images import image

PEER = RemoteEntity(host="127.0.0.1", port=1)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    peers = {"PACS": PEER, "WORKSTATION": RemoteEntity(host="127.0.0.1", port=2, answers_to="PACS")}
    with answering_node(tmp_path_factory.mktemp("asked"), [], peers=peers) as node:
        yield node


def associate(node: Node, calling: str, *classes: UID, called: str = "LOOKALIKE_ASK") -> Association:
    ae = AE(calling)
    for sop_class in classes:
        ae.add_requested_context(sop_class)
    return ae.associate("127.0.0.1", node.settings.port, ae_title=called)


def answer_of(association: Association) -> tuple[int | None, int | None, int | None]:
    """Result, source and reason of a rejection."""
    primitive = association.acceptor.primitive
    assert primitive is not None
    return primitive.result, primitive.result_source, primitive.diagnostic


def store(association: Association, numbers: range) -> list[int]:
    statuses = []
    for number in numbers:
        dataset = image(np.zeros((4, 4), np.uint8), SOPClassUID=CTImageStorage, SOPInstanceUID=f"2.25.{number + 1}")
        dataset.StudyInstanceUID = dataset.SeriesInstanceUID = "2.25.7"
        statuses.append(association.send_c_store(dataset).Status)
    return statuses


def test_a_caller_without_a_destination_for_its_answer_is_rejected(node: Node) -> None:
    association = associate(node, "STRANGER", CTImageStorage)

    assert association.is_rejected
    assert answer_of(association) == (1, 1, 3)


def test_an_unknown_called_title_is_rejected(node: Node) -> None:
    association = associate(node, "WORKSTATION", CTImageStorage, called="SOMEBODY")

    assert association.is_rejected
    assert answer_of(association) == (1, 1, 7)


def test_a_question_can_be_stored_and_nothing_be_queried(node: Node) -> None:
    association = associate(node, "WORKSTATION", CTImageStorage, UID(STUDY_ROOT_FIND))

    assert [context.abstract_syntax for context in association.accepted_contexts] == [CTImageStorage]
    association.release()


def test_a_question_is_durable_and_its_surplus_is_refused(node: Node) -> None:
    association = associate(node, "WORKSTATION", CTImageStorage)
    statuses = store(association, range(MAX_EXAMPLES + 2))
    questions = open_questions(node.settings)
    before = list(questions.waiting())
    association.release()
    association.join()

    (question,) = questions.waiting()

    assert statuses == [0] * MAX_EXAMPLES + [0xA700] * 2
    assert before == []
    assert len(question.objects) == MAX_EXAMPLES
    assert question.calling_ae_title == "WORKSTATION"
    assert not list(node.finder.retriever.spool)  # never to be indexed
