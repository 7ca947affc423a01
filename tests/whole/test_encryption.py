"""A node with a key, used by programs of others: it answers as ever, and nothing on its disk names a patient."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from pydicom import dcmread
from pydicom.uid import UID

from node.cli.send import files
from storage.sealed_file import MARK
from tests.support.running import RunningNode, program, run_peer, running_node

SECRET_TAGS = ("PatientName", "PatientID", "PatientBirthDate", "AccessionNumber")
UNSEALED = ("audit", "run")
"""Folders with the audit trail, which must name patients, and with no patient data."""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, phantoms: Path) -> Iterator[RunningNode]:
    """A node with a key that keeps objects, and has phantoms indexed and an image that it cannot read set aside."""
    folder = tmp_path_factory.mktemp("encrypted")
    key = folder / "key"
    key.write_text(os.urandom(32).hex())
    with running_node(folder / "home", retain="all", encryption_key=f"file:{key}") as node:
        damaged = dcmread(next(files(phantoms)))
        damaged.SOPInstanceUID = damaged.file_meta.MediaStorageSOPInstanceUID = UID("2.25.666")
        damaged.PixelData = damaged.PixelData[:100]
        damaged.save_as(folder / "damaged.dcm")
        sent = [*files(phantoms), folder / "damaged.dcm"]
        assert {stored.status for stored in node.peer.store(sent)} == {0}
        node.wait_indexed()
        yield node


def secrets(phantoms: Path) -> set[bytes]:
    """Values that name the patients of the phantoms, as they lie in files, and as the index folds them."""
    found = set()
    for path in files(phantoms):
        dataset = dcmread(path, stop_before_pixels=True)
        found |= {str(dataset.get(tag, "")) for tag in SECRET_TAGS}
    return {text.encode() for value in found for text in (value, value.lower()) if len(value) > 5}


def leaks(home: Path, wanted: set[bytes]) -> dict[str, list[bytes]]:
    """Files in which any of some texts can be read, DICOM or PNG files among them."""
    wanted = wanted | {b"DICM", b"\x89PNG"}
    found = {}
    for path in home.rglob("*"):
        if path.is_file() and path.relative_to(home).parts[0] not in UNSEALED:
            octets = path.read_bytes()
            if here := [text for text in wanted if text in octets]:
                found[str(path.relative_to(home))] = here
    return found


def find(node: RunningNode, *keys: str) -> str:
    options = [part for key in keys for part in ("-k", key)]
    peer = [node.settings.host, str(node.settings.port)]
    level = "QueryRetrieveLevel=STUDY"
    return run_peer(program("findscu"), "-S", "-aec", node.settings.ae_title, "-k", level, *options, *peer).stderr


@pytest.mark.peers
def test_nothing_on_its_disk_names_a_patient_or_holds_a_picture(node: RunningNode, phantoms: Path) -> None:
    assert len(secrets(phantoms)) > 5
    assert leaks(node.settings.home, secrets(phantoms)) == {}
    objects = list(node.settings.home.rglob("*.dcm"))
    assert len(objects) > len(list(files(phantoms)))
    assert all(path.read_bytes().startswith(MARK) for path in objects)


@pytest.mark.peers
def test_patients_are_found_by_name_id_and_part_of_a_name(node: RunningNode, phantoms: Path) -> None:
    dataset = dcmread(next(files(phantoms)), stop_before_pixels=True)
    study, name = dataset.StudyInstanceUID, str(dataset.PatientName)

    for key in (f"PatientName={name}", f"PatientName={name[:4]}*", f"PatientName=*{name[3:7].lower()}*"):
        assert study in find(node, key, "StudyInstanceUID"), key
    assert study in find(node, f"PatientID={dataset.PatientID}", "StudyInstanceUID")
    assert study in find(node, f"PatientID={dataset.PatientID[:3]}*", "StudyInstanceUID")
    assert study not in find(node, "PatientName=nobody*", "StudyInstanceUID")


@pytest.mark.peers
def test_a_kept_object_comes_back_as_it_was_sent(node: RunningNode, phantoms: Path, tmp_path: Path) -> None:
    sent = dcmread(next(files(phantoms)))
    keys = [f"StudyInstanceUID={sent.StudyInstanceUID}", "QueryRetrieveLevel=STUDY"]
    options = [part for key in keys for part in ("-k", key)]
    peer = ["-aec", node.settings.ae_title, node.settings.host, str(node.settings.port)]

    run_peer(program("getscu"), "-S", "+B", "-od", tmp_path, *options, *peer)

    received = {dataset.SOPInstanceUID: dataset for dataset in map(dcmread, tmp_path.iterdir())}
    assert received[sent.SOPInstanceUID] == sent


@pytest.mark.peers
def test_what_was_set_aside_is_exported_in_clear(node: RunningNode, tmp_path: Path) -> None:
    environment: dict[str, Any] = dict(node.environment)
    command: list[str | Path] = [*node.program, "aside", "export", "--reason", "undecodable", "--to", tmp_path / "out"]

    run_peer(*command, "--home", node.settings.home, **environment)

    assert [str(dcmread(path).SOPInstanceUID) for path in (tmp_path / "out").iterdir()] == ["2.25.666"]


@pytest.mark.peers
def test_another_machine_cannot_open_a_copy_of_the_folder(node: RunningNode, tmp_path: Path) -> None:
    shutil.copytree(node.settings.home, tmp_path / "stolen", ignore=shutil.ignore_patterns("run"))

    for key in ("", "env:GUESSED"):
        environment: dict[str, Any] = node.environment | {"LOOKALIKE_ENCRYPTION_KEY": key, "GUESSED": "00" * 32}
        shown = run_peer(*node.program, "list", "--home", tmp_path / "stolen", check=False, **environment)
        assert shown.returncode != 0
        assert "encryption_key" in shown.stderr


@pytest.mark.peers
def test_pictures_come_from_kept_objects_and_a_posted_file_is_searched_by(node: RunningNode, phantoms: Path) -> None:
    path = next(files(phantoms))
    uid = dcmread(path, stop_before_pixels=True).SOPInstanceUID
    picture = f"{node.settings.url}preview/{uid}.png?large=true"

    with urlopen(picture, timeout=60) as answer:
        assert answer.headers["Cache-Control"].startswith("private"), "it is made from the original"
    posted = Request(f"{node.settings.url}dicom-web/similar", path.read_bytes(), {"Content-Type": "application/dicom"})
    with urlopen(posted, timeout=60) as answer:
        assert len(json.loads(answer.read())) > 0
