"""A hundred and seventy-six real files, many odd on purpose: none may stop the node."""

import csv
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from node.dicom.client import Peer
from storage.record import Level
from tests.support.running import running_node

pytestmark = [pytest.mark.shared, pytest.mark.filterwarnings("ignore::UserWarning:pydicom")]


def test_every_odd_file_leaves_the_node_answering(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (shared_data / "dicom/dicom_conformance_index.csv").open(newline="") as table:
        expected = Counter(row["pixel_status"] for row in csv.DictReader(table))
    with zipfile.ZipFile(shared_data / "dicom/dicom_conformance.zip") as archive:
        archive.extractall(tmp_path / "odd")
    paths = sorted(path for path in (tmp_path / "odd").rglob("*") if path.is_file())

    with running_node(tmp_path / "home") as node:
        outcomes: Counter[str] = Counter()
        for path in paths:
            for stored in send_alone(node.peer, path):
                outcomes[stored] += 1
        status = node.wait_indexed()
        node.peer.echo()

    with capsys.disabled():
        print(f"\n{len(paths)} files sent one by one: {dict(outcomes)}")
        print(f"indexed {status.entities[Level.IMAGE]}, set aside {status.set_aside}")
    assert len(paths) == expected.total()
    indexed_or_set_aside = status.entities[Level.IMAGE] + sum(status.set_aside.values())
    assert indexed_or_set_aside <= outcomes["stored"]
    assert status.entities[Level.IMAGE] > 100


def send_alone(peer: Peer, path: Path) -> list[str]:
    """Outcome of sending one file over an association of its own."""
    return [
        "stored" if stored.status == 0 else "cannot be sent" if stored.status is None else f"{stored.status:04X}"
        for stored in peer.store([path])
    ]
