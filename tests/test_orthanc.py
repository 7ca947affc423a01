"""Orthanc as the archive: files go in over its REST interface, and out to the node by its own C-STORE."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from node.cli.send import files
from node.cli.status import NodeStatus
from storage.record import Level
from tests.orthanc import Orthanc, running_orthanc
from tests.running import RunningNode, running_node

pytestmark = pytest.mark.peers


@dataclass
class Site:
    """A node to which an archive has forwarded every phantom; both are empty at first."""

    node: RunningNode
    orthanc: Orthanc
    images: int
    status: NodeStatus


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, phantoms: Path) -> Iterator[Site]:
    folder, paths = tmp_path_factory.mktemp("site"), list(files(phantoms))
    with running_node(folder / "home") as node:
        modalities = {"lookalike": (node.settings.ae_title, node.settings.port)}
        with running_orthanc(folder / "orthanc", modalities) as orthanc:
            uploaded = [orthanc.call("/instances", path.read_bytes())["ID"] for path in paths]
            orthanc.call("/modalities/lookalike/store", json.dumps(uploaded).encode())
            yield Site(node, orthanc, len(paths), node.wait_indexed())


def test_an_archive_forwards_every_phantom(site: Site) -> None:
    assert (site.status.entities[Level.IMAGE], site.status.set_aside) == (site.images, {})


def test_an_archive_finds_its_studies_in_the_node(site: Site) -> None:
    question = {"Level": "Study", "Query": {"PatientID": "PHANTOM-*"}}

    query = site.orthanc.call("/modalities/lookalike/query", json.dumps(question).encode())

    assert len(site.orthanc.call(f"/queries/{query['ID']}/answers")) == site.status.entities[Level.STUDY] > 1
