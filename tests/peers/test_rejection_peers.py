"""Rejection notes from DCMTK to a running node: its queries, its page and its commands, and kills on the way."""

import json
import random
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from node.cli.send import files
from node.corrections.rejection_note import TITLES
from node.errors import PeerError
from node.home import open_for_reading
from storage.database.database import Database
from storage.database.rejections import Title
from storage.record import Level
from tests.support.dicom.key_objects import key_objects
from tests.support.running import REPOSITORY, RunningNode, program, run_peer, wait_until
from tests.whole.test_kills import kill

VICTIMS = ("supervisor", "dicom", "index", "dicom-2")


def note_file(folder: Path, title: str, images: Sequence[Dataset]) -> Path:
    note = key_objects(title, images)
    path = folder / f"{note.SOPInstanceUID}.dcm"
    note.save_as(path, enforce_file_format=True, implicit_vr=False, little_endian=True)
    return path


def storescu(node: RunningNode, path: Path) -> int:
    """Exit status of DCMTK's storescu."""
    address = ("-aet", "PACS", "-aec", node.settings.ae_title, node.settings.host, str(node.settings.port))
    return run_peer(program("storescu"), *address, path, check=False).returncode


def listed(node: RunningNode) -> set[str]:
    """SOP Instance UIDs that the database has in its answers."""
    reading = open_for_reading(node.settings)
    with reading.database, reading.database.snapshot() as snapshot:
        return {entity.uid for entity in snapshot.entities(Level.IMAGE)}


def page(node: RunningNode, path: str) -> int:
    """HTTP status of the page."""
    try:
        with urllib.request.urlopen(f"{node.settings.url}{path}") as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.peers
def test_a_note_of_dcmtk_hides_images_from_queries_and_page_until_they_are_restored(
    hospital: RunningNode, phantoms: Path, tmp_path: Path
) -> None:
    images = [dcmread(path, stop_before_pixels=True) for path in list(files(phantoms))[:3]]
    uids = {str(image.SOPInstanceUID) for image in images}
    preview = f"preview/{images[0].SOPInstanceUID}.png"
    assert (page(hospital, preview), uids <= listed(hospital)) == (200, True)
    note = note_file(tmp_path, Title.PATIENT_SAFETY, images)

    assert storescu(hospital, note) == 0

    assert (page(hospital, preview), uids & listed(hospital)) == (404, set())
    assert (hospital.status().rejected, hospital.status().restorable) == (3, 3)
    command = [sys.executable, "-m", "node", "restore", note.stem, "--home", str(hospital.settings.home), "--json"]
    restored = subprocess.run(command, capture_output=True, check=True, cwd=REPOSITORY)
    assert json.loads(restored.stdout) == {"instances": 3, "lifted": 3}
    assert (page(hospital, preview), uids <= listed(hospital)) == (200, True)


@pytest.mark.slow
@pytest.mark.peers
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("trial", range(5))
def test_an_acknowledged_note_holds_at_once_whatever_was_killed(trial: int, phantoms: Path, tmp_path: Path) -> None:
    node, rng, paths = RunningNode(tmp_path / "home"), random.Random(trial), list(files(phantoms))
    rng.shuffle(paths)
    rejected: set[str] = set()
    node.start()
    try:
        store_all(node, paths[::2])  # the other half is rejected before it comes
        for number in range(0, len(paths) - 2, 3):
            images = [dcmread(path, stop_before_pixels=True) for path in paths[number : number + 2]]
            note = note_file(tmp_path, rng.choice(sorted(TITLES)), images)
            if number % 4 == 0:
                kill(node, rng.choice(VICTIMS))
            wait_until(lambda note=note: storescu(node, note) == 0, "the note to be acknowledged", 300)  # type: ignore[misc]
            rejected |= {str(image.SOPInstanceUID) for image in images}
            assert listed(node) & rejected == set()
        wait_until(node.is_ready, "the roles to be ready again")
        node.wait_indexed()
    finally:
        node.stop()

    everything = {str(dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in paths[::2]}
    assert listed(node) == everything - rejected
    with Database.open(node.settings.database_path) as database:
        assert database.verify() == []


def store_all(node: RunningNode, paths: list[Path]) -> None:
    waiting = list(paths)
    while waiting:
        try:
            for stored in node.peer.store(list(waiting)):
                if stored.status == 0:
                    waiting.remove(stored.path)
        except PeerError:
            wait_until(node.is_ready, "the roles to be ready again")
    node.wait_indexed()


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("trial", range(3))
def test_what_is_forgotten_stays_away_whatever_was_killed(trial: int, phantoms: Path, tmp_path: Path) -> None:
    node, rng, paths = RunningNode(tmp_path / "home"), random.Random(trial), list(files(phantoms))
    studies: dict[str, set[str]] = {}
    for path in paths:
        image = dcmread(path, stop_before_pixels=True)
        studies.setdefault(str(image.StudyInstanceUID), set()).add(str(image.SOPInstanceUID))
    everything, forgotten = set().union(*studies.values()), set()
    node.start()
    try:
        store_all(node, paths)
        for study in list(studies)[:4]:
            command = [sys.executable, "-m", "node", "forget", "--study", study, "--yes"]
            running = subprocess.Popen([*command, "--home", str(node.settings.home)], cwd=REPOSITORY)
            time.sleep(rng.uniform(0, 3))
            kill(node, rng.choice(VICTIMS))
            assert running.wait(300) == 0
            forgotten |= studies[study]
            assert listed(node) == everything - forgotten
        wait_until(node.is_ready, "the roles to be ready again")
    finally:
        node.stop()

    with Database.open(node.settings.database_path) as database:
        assert database.verify() == []
