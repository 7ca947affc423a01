"""Orthanc as the archive: files go in over its REST interface, and out to the node by its own C-STORE."""

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node.cli.send import files
from storage.record import Level
from tests.running import RunningNode, free_port, program, running_node, wait_until

pytestmark = pytest.mark.peers


class Orthanc:
    """A running Orthanc."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def call(self, path: str, body: bytes | None = None) -> Any:
        """GET, or POST of a body."""
        with urllib.request.urlopen(f"{self.url}{path}", data=body, timeout=60) as response:
            return json.loads(response.read())

    def answers(self) -> bool:
        """Whether it is up."""
        try:
            return bool(self.call("/system"))
        except OSError:
            return False


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RunningNode]:
    with running_node(tmp_path / "home") as node:
        yield node


@pytest.fixture
def orthanc(tmp_path: Path, node: RunningNode) -> Iterator[Orthanc]:
    port = free_port()
    folder = tmp_path / "orthanc"
    folder.mkdir()
    settings = {
        "StorageDirectory": str(folder),
        "IndexDirectory": str(folder),
        "HttpPort": port,
        "DicomPort": free_port(),
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomModalities": {"lookalike": [node.settings.ae_title, node.settings.host, node.settings.port]},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    command = [program("Orthanc"), str(folder / "orthanc.json")]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=os.environ | {"TCP_NODELAY": "1"}, **quiet) as process:  # type: ignore[call-overload]
        archive = Orthanc(port)
        wait_until(archive.answers, "Orthanc to start")
        yield archive
        process.terminate()


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
