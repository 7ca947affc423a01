"""Questions sent by real programs, and their answers in a real archive."""

import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from node.cli.send import files
from storage.record import Level
from tests.support.peers.asking import asked_node, key_object_file, presentation_state_file, report_file
from tests.support.peers.orthanc import Orthanc, running_orthanc
from tests.support.running import RunningNode, free_port, program, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.peers]

BOX = [50, 50, 100, 50, 100, 120, 50, 120, 50, 50]
ARRIVAL_S = 60
"""Longer than the 10 s that it should take: the tests' machine may be busy."""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Orthanc, RunningNode]]:
    folder, port = tmp_path_factory.mktemp("asked"), free_port()
    with (
        running_orthanc(folder / "orthanc", {"lookalike": ("LOOKALIKE", port)}) as orthanc,
        asked_node(folder / "home", orthanc.port, "ORTHANC") as node,
    ):
        yield orthanc, node


@pytest.fixture(scope="module")
def stored(archive: tuple[Orthanc, RunningNode], phantoms: Path) -> list[Path]:
    """Files of phantoms that the node has indexed."""
    paths = sorted(files(phantoms))
    assert {outcome.status for outcome in archive[1].peer.store(paths)} == {0}
    archive[1].wait_indexed()
    return paths


def arrived(orthanc: Orthanc) -> dict[str, Dataset]:
    """Objects in the archive by SOP Instance UID."""
    found: dict[str, Dataset] = {}
    for name in orthanc.call("/instances"):
        with urllib.request.urlopen(f"{orthanc.url}/instances/{name}/file") as response:
            dataset = dcmread(BytesIO(response.read()))
        found[str(dataset.SOPInstanceUID)] = dataset
    return found


def ask(archive: tuple[Orthanc, RunningNode], *paths: Path, expected: int = 3) -> dict[str, Dataset]:
    """Send a question by DCMTK, and return what arrives for it."""
    orthanc, node = archive
    before = arrived(orthanc)
    command = [
        program("storescu"),
        "-aet",
        "WORKSTATION",
        "-aec",
        "LOOKALIKE_ASK",
        "127.0.0.1",
        str(node.settings.port),
    ]
    subprocess.run([*command, *map(str, paths)], check=True, env=os.environ | {"TCP_NODELAY": "1"})
    wait_until(lambda: len(orthanc.call("/instances")) >= len(before) + expected, "the answer", ARRIVAL_S)
    return {uid: dataset for uid, dataset in arrived(orthanc).items() if uid not in before}


def test_an_image_that_is_sent_is_answered_in_its_study_once_and_never_indexed(
    archive: tuple[Orthanc, RunningNode], stored: list[Path]
) -> None:
    example, images = dcmread(stored[0]), archive[1].status().entities[Level.IMAGE]
    answer = ask(archive, stored[0])
    again = ask(archive, stored[0], expected=0)
    time.sleep(3)

    assert {one.Modality for one in answer.values()} == {"SR", "OT", "KO"}
    assert {one.StudyInstanceUID for one in answer.values()} == {example.StudyInstanceUID}
    assert {str(one.PatientName) for one in answer.values()} == {str(example.PatientName)}
    assert again == {}
    assert len(arrived(archive[0])) == 3
    assert archive[1].status().entities[Level.IMAGE] == images


def test_key_objects_are_answered(archive: tuple[Orthanc, RunningNode], stored: list[Path], tmp_path: Path) -> None:
    marked = [path for path in stored if dcmread(path).StudyInstanceUID == dcmread(stored[0]).StudyInstanceUID][:2]

    answer = ask(archive, key_object_file(tmp_path / "ko.dcm", marked))

    (selection,) = (one for one in answer.values() if one.Modality == "KO")
    images = [item for item in selection.ContentSequence if item.ValueType == "IMAGE"]
    uids = {item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in images}
    assert len(marked) == 2
    assert uids == {dcmread(path).SOPInstanceUID for path in marked}


@pytest.mark.parametrize(("write", "kind"), [(presentation_state_file, "POLYLINE"), (report_file, "ELLIPSE")])
def test_an_outline_is_answered_from_the_preview_or_the_archive_s_pixels(
    archive: tuple[Orthanc, RunningNode], stored: list[Path], tmp_path: Path, write: type, kind: str
) -> None:
    data = BOX if kind == "POLYLINE" else [50, 80, 110, 80, 80, 60, 80, 100]
    image = stored[3 if kind == "POLYLINE" else 4]

    from_preview = ask(archive, write(tmp_path / "outline.dcm", image, kind, data))
    archive[0].call("/instances", image.read_bytes())
    from_pixels = ask(archive, write(tmp_path / "outline.dcm", image, kind, data))

    assert "from its preview" in _parameters(from_preview)
    assert "from its original pixels" in _parameters(from_pixels)


def test_what_cannot_be_answered_gets_a_page_that_says_why(
    archive: tuple[Orthanc, RunningNode], stored: list[Path], tmp_path: Path
) -> None:
    answer = ask(archive, report_file(tmp_path / "line.dcm", stored[5], "POINT", [5, 5]), expected=1)

    (page,) = answer.values()
    assert (page.Modality, page.StudyInstanceUID) == ("OT", dcmread(stored[5]).StudyInstanceUID)


def _parameters(answer: dict[str, Dataset]) -> str:
    """All texts of the report."""
    (document,) = (one for one in answer.values() if one.Modality == "SR")
    return "\n".join(str(element.value) for element in document.iterall() if element.keyword == "TextValue")
