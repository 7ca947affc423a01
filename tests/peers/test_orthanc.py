"""Orthanc as the archive: files go in over its REST interface, and out to the node by its own C-STORE."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom import dcmread

from node.cli.send import files
from node.cli.status import NodeStatus
from node.dicom.client import Peer
from storage.record import Level
from tests.support.peers.orthanc import Orthanc, running_orthanc
from tests.support.running import REPOSITORY, RunningNode, running_node, wait_until

pytestmark = pytest.mark.peers
RULE = REPOSITORY / "deploy" / "orthanc" / "forward.lua"


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
        with running_orthanc(folder / "orthanc", modalities, LuaScripts=[str(RULE)], StableAge=1) as orthanc:
            for path in paths:
                orthanc.call("/instances", path.read_bytes())
            wait_until(lambda: node.status().entities[Level.IMAGE] == len(paths), "the rule to forward every image")
            yield Site(node, orthanc, len(paths), node.wait_indexed())


def test_an_archive_forwards_every_phantom(site: Site) -> None:
    assert (site.status.entities[Level.IMAGE], site.status.set_aside) == (site.images, {})


def test_an_archive_finds_its_studies_in_the_node(site: Site) -> None:
    question = {"Level": "Study", "Query": {"PatientID": "PHANTOM-*"}}

    query = site.orthanc.call("/modalities/lookalike/query", json.dumps(question).encode())

    assert len(site.orthanc.call(f"/queries/{query['ID']}/answers")) == site.status.entities[Level.STUDY] > 1


def test_what_the_node_sent_is_not_forwarded_to_it(site: Site, phantoms: Path, tmp_path: Path) -> None:
    answer = dcmread(next(files(phantoms)))
    answer.StudyInstanceUID, answer.SeriesInstanceUID, answer.SOPInstanceUID = "2.25.71", "2.25.72", "2.25.73"
    answer.file_meta.MediaStorageSOPInstanceUID = answer.SOPInstanceUID
    answer.save_as(tmp_path / "answer.dcm")
    archive = Peer("ORTHANC", "127.0.0.1", site.orthanc.port, calling_ae_title=site.node.settings.ae_title)
    jobs = len(site.orthanc.call("/jobs"))

    stored = [each.status for each in archive.store([tmp_path / "answer.dcm"])]
    study = site.orthanc.call("/tools/lookup", b"2.25.71")[0]["ID"]

    def is_stable() -> bool:
        changes = site.orthanc.call("/changes?limit=1000")["Changes"]
        return any(change["ChangeType"] == "StableStudy" and change["ID"] == study for change in changes)

    wait_until(is_stable, "the answer's study to be stable")
    assert stored == [0]
    assert len(site.orthanc.call("/jobs")) == jobs
