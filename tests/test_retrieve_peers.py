"""Real programs retrieve through the node: DCMTK asks, Orthanc holds the images."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom import dcmread

from node.cli.send import files
from tests.answering import Node, answering_node
from tests.orthanc import running_orthanc
from tests.pacs import peers
from tests.running import free_port, program, run_peer

pytestmark = pytest.mark.peers


@dataclass
class Site:
    """A node with Orthanc behind it, and the images of one study there."""

    node: Node
    study: str
    images: set[str]
    view: int


def images_of(paths: list[Path]) -> dict[str, set[str]]:
    """SOP Instance UIDs by study."""
    studies: dict[str, set[str]] = {}
    for path in paths:
        dataset = dcmread(path, stop_before_pixels=True)
        studies.setdefault(dataset.StudyInstanceUID, set()).add(dataset.SOPInstanceUID)
    return studies


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, phantoms: Path) -> Iterator[Site]:
    folder, port, view = tmp_path_factory.mktemp("site"), free_port(), free_port()
    with ExitStack() as stack:
        modalities = {"node": ("LOOKALIKE", port), "view": ("VIEW", view)}
        orthanc = stack.enter_context(running_orthanc(folder / "orthanc", modalities))
        node = stack.enter_context(answering_node(folder / "home", items=[], port=port, **peers(orthanc.port, view)))
        paths = list(files(phantoms))
        for path in paths:
            orthanc.call("/instances", path.read_bytes())
        study, images = max(images_of(paths).items(), key=lambda item: len(item[1]))
        yield Site(node, study, images, view)


@pytest.mark.parametrize("model", ["-S", "-P"])
def test_movescu_retrieves_a_study_through_the_node(site: Site, model: str, tmp_path: Path) -> None:
    command = [program("movescu"), "-v", model, "-aec", "LOOKALIKE", "-aet", "VIEW", "-aem", "VIEW"]
    command += ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={site.study}"]
    command += ["-od", str(tmp_path), "+P", str(site.view), "127.0.0.1", str(site.node.settings.port)]

    output = run_peer(*command)

    assert images_of(list(tmp_path.iterdir())) == {site.study: site.images}
    assert f"{len(site.images)}" in output.stdout + output.stderr


@pytest.mark.parametrize("model", ["-S", "-P"])
def test_getscu_retrieves_a_study_through_the_node(site: Site, model: str, tmp_path: Path) -> None:
    command = [program("getscu"), "-v", model, "-aec", "LOOKALIKE", "-aet", "VIEW", "-od", str(tmp_path)]
    command += ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={site.study}"]

    output = run_peer(*command, "127.0.0.1", str(site.node.settings.port))

    assert images_of(list(tmp_path.iterdir())) == {site.study: site.images}
    text = output.stdout + output.stderr
    assert re.search(rf"Number of Completed Suboperations\s*: {len(site.images)}\b", text), text
