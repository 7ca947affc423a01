"""The table of peers: what it takes, what each peer accepts, and what responses say of where to retrieve."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pynetdicom import AE, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    CTImageStorage,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from node.cli.check import run_checks
from node.configuration import load_settings
from node.dicom.client import Peer
from node.errors import PeerError, SettingsError
from node.peers import RemoteEntity
from node.settings import FILE_NAME, Settings
from tests.support.dicom.answering import EXAMPLE, Node, answering_node
from tests.support.dicom.archive import identifier, uid
from tests.support.running import free_port


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with answering_node(tmp_path_factory.mktemp("node")) as node:
        yield node


@contextmanager
def pacs(sizes: list[int] | None = None) -> Iterator[int]:
    """Port of an application entity that takes C-ECHO, C-MOVE and CT images, and notes the PDU sizes it is offered."""
    ae, port = AE("PACS"), free_port()
    for sop_class in (Verification, StudyRootQueryRetrieveInformationModelMove, CTImageStorage):
        ae.add_supported_context(sop_class)

    def note(event: Any) -> None:
        if sizes is not None:
            sizes.append(event.assoc.requestor.maximum_length)

    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_ACCEPTED, note)])
    assert server is not None
    try:
        yield port
    finally:
        server.shutdown()


PEERS = """
source_peer = "PACS"
[peers.PACS]
host = "10.0.0.7"
port = 104
[peers."VIEW 1"]
host = "view"
port = 11112
move_destination = true
"""


def test_peers_are_a_table_each_and_nothing_is_sent_anywhere_unless_it_is_allowed(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(PEERS)

    settings = load_settings(home=tmp_path)

    assert {title: peer.move_destination for title, peer in settings.peers.items()} == {"PACS": False, "VIEW 1": True}
    assert Peer.of(settings, "PACS") == Peer("PACS", "10.0.0.7", 104, "LOOKALIKE", 131072)
    with pytest.raises(PeerError, match="'OTHER' is not in the table"):
        Peer.of(settings, "OTHER")


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ("port = 104", "port = 0", "peers.PACS.port: "),
        ("port = 104", "port = 104\nrights = 1", "peers.PACS.rights: there is no such setting"),
        ("port = 104", "port = 104\nassume_charset = 'latin'", "peers.PACS.assume_charset: "),
        ("peers.PACS", "peers.SEVENTEEN_LETTERS_", "peers: 'SEVENTEEN_LETTERS_' is no AE title"),
        ("peers.PACS", "peers.OTHER", "source_peer: 'PACS' is not in the table of peers"),
        ('host = "10.0.0.7"', "", "peers.PACS.host: "),
        ('source_peer = "PACS"', "fetch_missing_example = true", "fetch_missing_example: there is no source_peer"),
    ],
)
def test_an_entry_that_cannot_be_used_is_named(tmp_path: Path, before: str, after: str, named: str) -> None:
    (tmp_path / FILE_NAME).write_text(PEERS.replace(before, after))

    with pytest.raises(SettingsError) as caught:
        load_settings(home=tmp_path)

    assert named in str(caught.value)
    assert str(tmp_path / FILE_NAME) in str(caught.value)


def test_roles_get_the_table_from_their_supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / FILE_NAME).write_text(PEERS)
    settings = load_settings(home=tmp_path, port=104)

    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)

    assert load_settings() == settings


def test_a_table_in_the_environment_that_is_no_json_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKALIKE_PEERS", "PACS@10.0.0.7:104")

    with pytest.raises(SettingsError, match=r'environment: .*"peers".*; a table is written as JSON'):
        load_settings(home=tmp_path)


def test_check_echoes_each_peer_and_lists_what_it_accepts(tmp_path: Path) -> None:
    sizes: list[int] = []
    with pacs(sizes) as port:
        entry = {"host": "127.0.0.1", "port": port, "maximum_pdu_size": 65536}
        table: Any = {"PACS": entry, "GONE": {"host": "127.0.0.1", "port": free_port()}}
        found = {o.subject: o for o in run_checks(Settings(home=tmp_path, peers=table, source_peer="PACS"))}

    assert found["peer PACS, the source"].good
    move = StudyRootQueryRetrieveInformationModelMove.name
    assert found["peer PACS, the source"].finding == f"answers C-ECHO; storage classes accepted: 1, {move}"
    assert sizes == [65536]
    assert not found["peer GONE"].good
    assert "does not answer" in found["peer GONE"].finding
    assert found["Retrieve AE Title"].finding == "LOOKALIKE in each response"


def test_check_says_that_no_retrieve_ae_title_is_sent(tmp_path: Path) -> None:
    found = {o.subject: o for o in run_checks(Settings(home=tmp_path))}

    assert found["Retrieve AE Title"].finding.startswith("none is sent: set retrieve_ae_title, or source_peer")


@pytest.mark.parametrize(
    ("archive", "source", "named"),
    [
        ("", "", None),  # never the sender, which may be a modality
        ("ARCHIVE", "", "ARCHIVE"),
        ("", "PACS", "LOOKALIKE"),
        ("ARCHIVE", "PACS", ["ARCHIVE", "LOOKALIKE"]),
    ],
)
def test_images_are_retrieved_from_the_archive_that_is_set_and_from_us_if_we_relay(
    node: Node, archive: str, source: str, named: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = node.settings.model_copy(update={"retrieve_ae_title": archive, "source_peer": source})
    monkeypatch.setattr(node.finder, "settings", changed)

    [ordinary] = node.found(identifier("STUDY", StudyInstanceUID=uid("1")))
    [look_alike] = node.found(identifier("STUDY", EXAMPLE, StudyInstanceUID=uid("2")))

    assert ordinary.get("RetrieveAETitle") == look_alike.get("RetrieveAETitle") == named


def test_a_caller_that_names_no_character_set_is_read_and_answered_in_the_one_it_is_set_to(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    latin = RemoteEntity(host="127.0.0.1", port=104, assume_charset="ISO_IR 100")
    changed = node.settings.model_copy(update={"peers": {"CLIENT": latin}})
    monkeypatch.setattr(node.entity.find_service, "settings", changed)
    request = identifier("STUDY", StudyInstanceUID="")
    request[0x00100010] = RawDataElement(Tag(0x00100010), "PN", 8, "Müller^*".encode("latin-1"), 0, False, True)

    [response] = node.found(request)

    assert (response.SpecificCharacterSet, str(response.PatientName)) == ("ISO_IR 100", "Müller^Jörg")
