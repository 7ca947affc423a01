"""Orthanc as the archive: files go in over its REST interface, and out to the node by its own C-STORE."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.cli.send import files
from storage.record import Level
from tests.orthanc import Orthanc, running_orthanc
from tests.running import RunningNode, running_node

pytestmark = pytest.mark.peers


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RunningNode]:
    with running_node(tmp_path / "home") as node:
        yield node


@pytest.fixture
def orthanc(tmp_path: Path, node: RunningNode) -> Iterator[Orthanc]:
    modalities = {"lookalike": (node.settings.ae_title, node.settings.port)}
    with running_orthanc(tmp_path / "orthanc", modalities) as archive:
        yield archive


def test_an_archive_forwards_every_phantom(orthanc: Orthanc, node: RunningNode, phantoms: Path) -> None:
    paths = list(files(phantoms))
    uploaded = [orthanc.call("/instances", path.read_bytes())["ID"] for path in paths]

    orthanc.call("/modalities/lookalike/store", json.dumps(uploaded).encode())
    status = node.wait_indexed()

    assert (status.entities[Level.IMAGE], status.set_aside) == (len(paths), {})


def test_an_archive_finds_its_studies_in_the_node(orthanc: Orthanc, node: RunningNode, phantoms: Path) -> None:
    for stored in node.peer.store(files(phantoms)):
        assert stored.status == 0
    studies = node.wait_indexed().entities[Level.STUDY]
    question = {"Level": "Study", "Query": {"PatientID": "PHANTOM-*"}}

    query = orthanc.call("/modalities/lookalike/query", json.dumps(question).encode())

    assert len(orthanc.call(f"/queries/{query['ID']}/answers")) == studies
