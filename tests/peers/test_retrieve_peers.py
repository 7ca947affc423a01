"""Real programs retrieve through the node: DCMTK asks, Orthanc holds the images."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from pydicom import dcmread
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless

from node.cli.send import files
from node.dicom.private import Element
from node.errors import Status
from tests.support.dicom.answering import Node, answering_node
from tests.support.dicom.archive import identifier
from tests.support.peers.orthanc import Orthanc, running_orthanc
from tests.support.peers.pacs import peers
from tests.support.running import free_port, program, run_peer

pytestmark = pytest.mark.peers


@dataclass
class Site:
    """A node with Orthanc behind it, and the images of one study there."""

    node: Node
    orthanc: Orthanc
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


def syntax_of(path: Path) -> UID:
    """Transfer syntax of a file."""
    return UID(dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, phantoms: Path) -> Iterator[Site]:
    folder, port, view = tmp_path_factory.mktemp("site"), free_port(), free_port()
    with ExitStack() as stack:
        modalities = {"node": ("LOOKALIKE", port), "view": ("VIEW", view)}
        orthanc = stack.enter_context(running_orthanc(folder / "orthanc", modalities))
        chosen = {"port": port, "fetch_missing_example": True, "fetch_limit_s": 3, **peers(orthanc.port, view)}
        node = stack.enter_context(answering_node(folder / "home", items=[], **chosen))
        paths = list(files(phantoms))
        for path in paths:
            orthanc.call("/instances", path.read_bytes())
        study, images = max(images_of(paths).items(), key=lambda item: len(item[1]))
        yield Site(node, orthanc, study, images, view)


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


def test_a_failure_of_orthanc_is_relayed_though_it_lists_instances_in_the_command(
    site: Site, phantoms: Path, tmp_path: Path
) -> None:
    """It cannot convert JPEG 2000 to what getscu takes."""
    compressed = next(path for path in files(phantoms) if syntax_of(path) == JPEG2000Lossless)
    instance = dcmread(compressed, stop_before_pixels=True)
    command = [program("getscu"), "-v", "-S", "-aec", "LOOKALIKE", "-aet", "VIEW", "-od", str(tmp_path)]
    command += ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={instance.StudyInstanceUID}"]

    output = run_peer(*command, "127.0.0.1", str(site.node.settings.port), check=False)

    assert "Failed: UnableToProcess" in output.stdout + output.stderr
    assert re.search(r"Number of Failed Suboperations\s*: [1-9]", output.stdout + output.stderr)


def test_an_example_that_only_orthanc_has_is_fetched_from_there(site: Site) -> None:
    example = min(site.images)

    [status], _ = site.node.ask(identifier("STUDY", {Element.EXAMPLE_SOP_INSTANCE_UID: example}))

    spool = site.node.finder.retriever.spool
    assert status.Status == Status.EXAMPLE_NOT_READY  # no indexer runs here
    assert spool.is_waiting(example)
    assert {dcmread(entry.path).SOPInstanceUID for entry in spool} == {example}


STUDIES = 300


@pytest.fixture(scope="module")
def everything(site: Site, phantoms: Path) -> set[str]:
    """SOP Instance UIDs of 300 studies of one patient in Orthanc, an image each."""
    plain = [path for path in files(phantoms) if syntax_of(path) == ExplicitVRLittleEndian]  # Orthanc converts nothing
    dataset = dcmread(min(plain, key=lambda path: path.stat().st_size))
    dataset.PatientID = "THREE HUNDRED"
    for number in range(STUDIES):
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            setattr(dataset, keyword, f"2.25.300.{number}")
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        buffer = BytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
        site.orthanc.call("/instances", buffer.getvalue())
    return {f"2.25.300.{number}" for number in range(STUDIES)}


def of_patient(name: str, site: Site, *options: str) -> list[str]:
    """Command line of a DCMTK client that retrieves the patient."""
    command = [program(name), "-d", "-P", "-aec", "LOOKALIKE", "-aet", "VIEW", *options]
    command += ["-k", "QueryRetrieveLevel=PATIENT", "-k", "PatientID=THREE HUNDRED"]
    return [*command, "127.0.0.1", str(site.node.settings.port)]


def completed(output: CompletedProcess[str]) -> int:
    """Number of completed sub-operations in the last response."""
    return int(re.findall(r"Completed Suboperations +: (\d+)", output.stdout + output.stderr)[-1])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["movescu", "getscu"])
def test_300_studies_arrive_through_the_node(name: str, site: Site, everything: set[str], tmp_path: Path) -> None:
    ours = ["-aem", "VIEW", "+P", str(site.view)] if name == "movescu" else []

    output = run_peer(*of_patient(name, site, *ours, "-od", str(tmp_path)))

    assert completed(output) == STUDIES
    assert set().union(*images_of(list(tmp_path.iterdir())).values()) == everything


@pytest.mark.slow
def test_a_cancel_half_way_leaves_the_rest_of_300_studies(site: Site, everything: set[str], tmp_path: Path) -> None:
    ours = ["-aem", "VIEW", "+P", str(site.view), "--cancel", "20", "-od", str(tmp_path)]

    output = run_peer(*of_patient("movescu", site, *ours), check=False)

    assert "0xfe00" in output.stdout + output.stderr
    assert 20 <= completed(output) == len(list(tmp_path.iterdir())) < STUDIES
