"""A node that keeps objects is the archive of real programs: DCMTK and Orthanc get back what was stored."""

import io
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import sync_playwright
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian

from node.cli.send import files
from storage.objects.report_table import ReportTable
from tests.node.ingest.test_report_reading import written_report
from tests.peers.test_retrieve_peers import images_of, syntax_of
from tests.support.peers.clients import OrthancUser
from tests.support.peers.orthanc import Orthanc, running_orthanc
from tests.support.running import RunningNode, free_port, program, run_peer, wait_until
from tests.support.web.browsing import CHROMIUM, eventually, open_pair

pytestmark = pytest.mark.peers


@dataclass
class Site:
    """A node that keeps objects, Orthanc as its client, and what the node was sent."""

    node: RunningNode
    orthanc: Orthanc
    view: int
    paths: list[Path]

    @property
    def study(self) -> tuple[str, set[str]]:
        """UID and images of the largest study without compressed images."""
        plain = [path for path in self.paths if syntax_of(path) == ExplicitVRLittleEndian]
        whole = images_of(self.paths)
        return max((item for item in images_of(plain).items() if item[1] == whole[item[0]]), key=lambda i: len(i[1]))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, phantoms: Path) -> Iterator[Site]:
    folder, view, port = tmp_path_factory.mktemp("site"), free_port(), free_port()
    with ExitStack() as stack:
        orthanc = stack.enter_context(running_orthanc(folder / "orthanc", {"node": ("LOOKALIKE", port)}))
        lines = ['retain = "all"', "keep_reports = true"]
        for title, at in (("VIEW", view), ("ORTHANC", orthanc.port)):
            lines += [f"[peers.{title}]", 'host = "127.0.0.1"', f"port = {at}", "move_destination = true"]
        (folder / "home").mkdir()
        (folder / "home" / "settings.toml").write_text("\n".join(lines))
        node = RunningNode(folder / "home")
        node.settings = node.settings.model_copy(update={"port": port})
        node.start()
        stack.callback(node.stop)
        paths = list(files(phantoms))
        assert {stored.status for stored in node.peer.store(paths)} == {0}
        node.wait_indexed()
        yield Site(node, orthanc, view, paths)


def get(site: Site, path: str) -> Any:
    """JSON of a path of the page, or the picture."""
    with urlopen(f"{site.node.settings.url}{path}") as response:
        octets = response.read()
        is_picture = response.headers["Content-Type"].startswith("image/")
    return Image.open(io.BytesIO(octets)) if is_picture else json.loads(octets)


def contents(paths: Iterator[Path] | list[Path]) -> dict[str, Any]:
    """Data sets by SOP Instance UID."""
    return {dataset.SOPInstanceUID: dataset for dataset in map(dcmread, paths)}


def sent(site: Site, uids: set[str]) -> dict[str, object]:
    return {uid: dataset for uid, dataset in contents(site.paths).items() if uid in uids}


def test_status_tells_what_the_objects_take(site: Site) -> None:
    status = site.node.status()

    assert status.objects.objects == len(site.paths) - sum(status.set_aside.values())
    size = sum(path.stat().st_size for path in site.paths)
    assert 0.8 * size < status.objects.size_bytes < 1.2 * size
    assert all(status.kept_bytes[kind] > 0 for kind in ("records", "codes", "previews", "outputs"))


def test_movescu_gets_what_was_sent(site: Site, tmp_path: Path) -> None:
    study, images = site.study
    command = [program("movescu"), "-v", "-S", "-aec", "LOOKALIKE", "-aet", "VIEW", "-aem", "VIEW"]
    command += ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}", "+xa"]
    command += ["-od", str(tmp_path), "+P", str(site.view), "127.0.0.1", str(site.node.settings.port)]

    run_peer(*command)

    assert contents(list(tmp_path.iterdir())) == sent(site, images)


@pytest.mark.parametrize("model", ["-S", "-P"])
def test_getscu_gets_what_was_sent(site: Site, model: str, tmp_path: Path) -> None:
    study, images = site.study
    command = [program("getscu"), "-v", model, "-aec", "LOOKALIKE", "-od", str(tmp_path)]
    command += ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}"]

    run_peer(*command, "127.0.0.1", str(site.node.settings.port))

    assert contents(list(tmp_path.iterdir())) == sent(site, images)


def test_orthanc_moves_every_study_to_itself_compressed_ones_too(site: Site) -> None:
    user, whole = OrthancUser(site.orthanc), images_of(site.paths)

    for study in whole:
        user.move(study, "ORTHANC")

    found = {
        site.orthanc.call(f"/instances/{name}")["MainDicomTags"]["SOPInstanceUID"]
        for name in site.orthanc.call("/instances")
    }
    assert found == set().union(*whole.values())


def test_orthanc_is_told_which_of_its_images_the_node_commits_itself_to(site: Site) -> None:
    known = [(str(each.SOPClassUID), uid) for uid, each in contents(site.paths[:3]).items()]
    request = {"DicomInstances": [*known, (known[0][0], "2.25.404")]}

    path = site.orthanc.call("/modalities/node/storage-commitment", json.dumps(request).encode())["Path"]
    wait_until(lambda: site.orthanc.call(path)["Status"] != "Pending", "the report", 60)

    report = site.orthanc.call(path)
    assert report["Status"] == "Failure"
    assert sorted(each["SOPInstanceUID"] for each in report["Success"]) == sorted(uid for _, uid in known)
    assert [(each["SOPInstanceUID"], each["FailureReason"]) for each in report["Failures"]] == [("2.25.404", 0x0112)]


def test_pictures_are_made_from_kept_objects(site: Site) -> None:
    image = next(dataset for dataset in contents(site.paths).values() if dataset.Modality == "CR")
    uid, path = image.SOPInstanceUID, f"dicom-web/studies/{image.StudyInstanceUID}/series/{image.SeriesInstanceUID}"

    small, large = (get(site, f"preview/{uid}.png{more}") for more in ("", "?large=true"))
    rendered, thumbnail = (get(site, f"{path}/instances/{uid}/{kind}") for kind in ("rendered", "thumbnail"))

    side = min(2048, max(image.Rows, image.Columns))
    assert (small.size, large.size, thumbnail.size) == ((224, 224), (side, side), (224, 224))
    assert rendered.size == (image.Columns * side // max(image.Rows, image.Columns), image.Rows)
    shrunk = np.asarray(large.resize((224, 224), Image.Resampling.BOX), float)
    assert np.abs(shrunk - np.asarray(small, float)).mean() < 2


def test_the_page_shows_originals_and_the_report_beside_them_until_it_is_forgotten(site: Site, tmp_path: Path) -> None:
    image = next(dataset for dataset in contents(site.paths).values() if dataset.Modality == "CR")
    report = written_report()
    for keyword in ("StudyInstanceUID", "PatientID", "IssuerOfPatientID"):
        setattr(report, keyword, image.get(keyword, ""))
    report.save_as(tmp_path / "report.dcm", enforce_file_format=True)
    run_peer(
        program("storescu"), "-aec", "LOOKALIKE", "127.0.0.1", str(site.node.settings.port), tmp_path / "report.dcm"
    )
    site.node.wait_indexed()

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program("chromium"), args=list(CHROMIUM))
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.goto(f"{site.node.settings.url}#image={image.SOPInstanceUID}&frame=1")
        page.wait_for_selector(".match")
        open_pair(page)
        eventually(page, "[...document.querySelectorAll('.pair canvas')].every(each => each.dataset.pixels > 224)")
        notes = page.locator(".pair .source").all_inner_texts()
        page.click(".frame.this .report summary")
        words = page.inner_text(".frame.this .report")
        browser.close()

    assert all(note.startswith("From the original") for note in notes)
    assert "Effusion on the left." in words
    assert "not verified" not in words
    table = ReportTable(site.node.settings.reports_path)
    assert len(table.of_study(image.StudyInstanceUID)) == 1
    run_peer(
        sys.executable,
        "-m",
        "node",
        "forget",
        "--home",
        site.node.settings.home,
        "--study",
        image.StudyInstanceUID,
        "--yes",
    )
    assert table.of_study(image.StudyInstanceUID) == []
