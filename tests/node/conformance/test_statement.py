"""The conformance statement is what the code's tables say, and what a running node negotiates and answers."""

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from pydicom._uid_dict import UID_dictionary as UIDS
from pydicom.uid import (
    UID,
    AllTransferSyntaxes,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
)
from pynetdicom import AE, build_context
from pynetdicom import sop_class as tables
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation

from node.conformance.statement import CONSTANTS, FIELD, TABLES, TEMPLATE, conformance_statement
from node.dicom.sop_classes import FIND_CLASSES, MOVE_CLASSES, STORAGE_CLASSES, STORAGE_COMMITMENT, VERIFICATION
from node.settings import Settings
from tests.support.dicom.answering import Node, answering_node
from tests.support.documents import DOCS, rows

PACS = {"source_peer": "PACS", "peers": {"PACS": {"host": "127.0.0.1", "port": 1}}}
MAX_CONTEXTS = 128
PROPOSED = {uid for uid, entry in UIDS.items() if entry[1] in ("SOP Class", "Meta SOP Class")} | {
    str(uid)
    for name, table in vars(tables).items()
    if name.endswith("_CLASSES") and isinstance(table, dict)
    for uid in table.values()
    if isinstance(uid, str)
} | set(STORAGE_CLASSES) | set(FIND_CLASSES)  # fmt: skip
SYNTAX_NAMES = {syntax.name: syntax for syntax in AllTransferSyntaxes}


@pytest.fixture(scope="module", params=["alone", "before a PACS", "as an archive"])
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    choices: dict[str, dict[str, Any]] = {"before a PACS": PACS, "as an archive": {"retain": "all"}, "alone": {}}
    settings = choices[request.param]
    with answering_node(tmp_path_factory.mktemp("node"), items=[], **settings) as node:
        yield node


def accepted(node: Node, uids: Iterable[str], syntaxes: list[UID]) -> dict[str, UID]:
    """Transfer syntax of each SOP class that the node accepts."""
    proposed, ae = sorted(uids), AE("CLIENT")
    found: dict[str, UID] = {}
    for start in range(0, len(proposed), MAX_CONTEXTS - 1):
        contexts = [build_context(uid, [*syntaxes]) for uid in proposed[start : start + MAX_CONTEXTS - 1]]
        contexts.append(build_context(VERIFICATION))  # pynetdicom aborts where no context is accepted
        association = ae.associate(node.settings.host, node.settings.port, contexts, node.settings.ae_title)
        assert association.is_established
        ids = range(1, 2 * len(contexts) - 1)
        answers = [context for context in association.accepted_contexts if context.context_id in ids]
        found |= {str(context.abstract_syntax): context.transfer_syntax[0] for context in answers}
        association.release()
    return found


def stated(node: Node, syntaxes: list[UID]) -> dict[str, UID]:
    """Transfer syntax of each SOP class that the statement lists for this node."""
    header = ("SOP class", "UID", "role", "transfer syntaxes, preferred first", "extended negotiation", "offered if")
    found = {uid: syntaxes[0] for _, uid, _ in rows("conformance.md", "SOP class", "UID", "state")}
    conditions = {
        "`source_peer`": bool(node.settings.source_peer),
        "`retain` is all": node.settings.retain == "all",
    }
    for _, uid, role, preferred, _, condition in rows("conformance.md", *header):
        assert role == ("SCP, SCU" if uid == STORAGE_COMMITMENT else "SCP")
        usable = [SYNTAX_NAMES[name] for name in preferred.split(", ") if uid and SYNTAX_NAMES[name] in syntaxes]
        holds = condition == "" or any(holds for words, holds in conditions.items() if words in condition)
        found |= {uid: usable[0]} if holds and usable else {}
    return found


def test_the_committed_statement_is_the_one_that_the_code_writes() -> None:
    written = conformance_statement(Settings.model_construct())

    assert (DOCS / "conformance.md").read_text() == written, "run `make statement`"


def test_the_template_uses_every_table_and_constant() -> None:
    fields = set(FIELD.findall(TEMPLATE.read_text()))

    assert {*TABLES, *CONSTANTS} <= fields


@pytest.mark.parametrize(
    "syntaxes",
    [
        [JPEGBaseline8Bit, ExplicitVRBigEndian, ImplicitVRLittleEndian, ExplicitVRLittleEndian],
        [ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
        [JPEGBaseline8Bit],
    ],
    ids=["all kinds", "unusual", "compressed"],
)
def test_a_sop_class_is_accepted_in_a_syntax_exactly_as_the_statement_lists_it(syntaxes: list[UID], node: Node) -> None:
    assert len(PROPOSED) > 300

    assert accepted(node, PROPOSED, syntaxes) == stated(node, syntaxes)


@pytest.mark.parametrize("sop_class", [*FIND_CLASSES, *MOVE_CLASSES, VERIFICATION])
def test_extended_negotiation_is_answered_as_the_statement_lists_it(sop_class: UID, node: Node) -> None:
    fields = rows("conformance.md", "byte", "behaviour", "answer where proposed")
    proposal = SOPClassExtendedNegotiation()
    proposal.sop_class_uid = sop_class
    proposal.service_class_application_information = bytes([1] * len(fields))

    association = node.associate(sop_class, ext_neg=[proposal])
    answers = association.acceptor.sop_class_extended
    association.release()

    answer = bytes(int(answer) for _, _, answer in fields)
    assert answers == ({sop_class: answer} if sop_class in FIND_CLASSES else {})


def test_what_is_stated_for_a_node_follows_its_settings() -> None:
    text = conformance_statement(Settings(ae_title="ELSEWHERE", max_find_responses=77))

    assert "One application entity, `ELSEWHERE`" in text
    assert "More than 77 matches" in text
