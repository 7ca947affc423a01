"""The panel in OHIF, in a real browser behind nginx: from the open image to a case of another patient beside it."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, sync_playwright

from node.cli.send import files
from tests.support.peers.nginx import running_nginx
from tests.support.peers.orthanc import Orthanc, running_orthanc
from tests.support.running import REPOSITORY, RunningNode, free_port, program, running_node
from tests.support.web.browsing import CHROMIUM

pytestmark = pytest.mark.peers
FOLDER = REPOSITORY / "deploy" / "ohif"
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
PACKAGE = "@ohif/app@3.13.2"
SOFTWARE_GL = (
    *(option for option in CHROMIUM if option != "--disable-gpu"),
    "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist",
)  # fmt: skip
SLOW_MS = 120_000
"""A viewer of ten megabytes of script, whose WebGL is computed."""


def extension(expression: str) -> Any:
    """Value of an expression over the extension, as Node.js loads it."""
    script = f"const e = require('./lookalike-ohif.js'); console.log(JSON.stringify({expression}))"
    result = subprocess.run([program("node"), "-e", script], cwd=FOLDER, capture_output=True, text=True, check=True)
    return json.loads(result.stdout)


def test_the_extension_keeps_the_contract_of_plug_ins() -> None:
    package = json.loads((FOLDER / "package.json").read_text())

    found = extension("{ id: e.id, same: e.default === e, panel: e.getPanelModule(), commands: e.getCommandsModule() }")

    assert found["id"] == package["name"]
    assert found["same"]
    assert [panel["name"] for panel in found["panel"]] == ["similar"]
    assert set(found["commands"]["definitions"]) == {"findSimilarImage", "findSimilarRegion", "openSimilarCase"}
    assert "ohif-extension" in package["keywords"]
    assert list(package["peerDependencies"]) == ["@ohif/core"]
    assert all((FOLDER / name).is_file() for name in package["files"])


def test_the_panel_asks_for_few_cases_of_other_patients() -> None:
    options = "{ limit: 3, sex: 'F', from: '2020', region: [1, 2, 3, 4] }"

    asked = extension(f"String(e.testing.questionOf({{ instance: '1.2', frame: 3 }}, {options}))")

    assert "similarto=1.2" in asked
    assert "exclude=SELF%2CPATIENT" in asked
    assert "distinct=PATIENT" in asked
    assert "frame=3" in asked
    assert "region=1%2C2%2C3%2C4" in asked
    assert "StudyDate=20200101-" in asked


def test_the_package_holds_no_text_that_becomes_markup() -> None:
    source = (FOLDER / "lookalike-ohif.js").read_text()

    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|srcdoc", source)


@dataclass
class Site:
    """Viewer, archive and node behind one address; the archive has what the node has indexed."""

    url: str
    orthanc: Orthanc
    node: RunningNode


@pytest.fixture(scope="module")
def site(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Archive and node with the same studies: a case that the archive lacks could not be opened."""
    if not PLUGIN.is_file():
        pytest.skip("Orthanc has no DICOMweb: apt-get install orthanc-dicomweb")
    folder = tmp_path_factory.mktemp("ohif")
    dist = Path(os.environ.get("LOOKALIKE_OHIF_DIST", "")) if "LOOKALIKE_OHIF_DIST" in os.environ else viewer(folder)
    more: Any = {"Plugins": [str(PLUGIN)], "DicomWeb": {"Enable": True, "Root": "/dicom-web/"}}
    with running_orthanc(folder / "orthanc", {}, **more) as orthanc, running_node(folder / "home") as node:
        for path in files(phantoms):
            orthanc.call("/instances", path.read_bytes())
        assert {stored.status for stored in node.peer.store(files(phantoms))} == {0}
        node.wait_indexed()
        with nginx(folder, dist, orthanc.url, node.settings.url) as url:
            yield Site(url, orthanc, node)


def viewer(folder: Path) -> Path:
    """Folder of the built viewer, from its package."""
    subprocess.run([program("npm"), "pack", "--silent", PACKAGE], cwd=folder, check=True, capture_output=True)
    archive = next(folder.glob("ohif-app-*.tgz"))
    subprocess.run(["tar", "xzf", archive.name, "package/dist"], cwd=folder, check=True)
    return folder / "package" / "dist"


@contextmanager
def nginx(folder: Path, dist: Path, archive: str, node: str) -> Iterator[str]:
    """The address at which nginx serves the viewer by the sample configuration, with the addresses of this machine."""
    port, site = free_port(), (FOLDER / "nginx.conf").read_text()
    for before, after in {
        "listen 8088": f"listen 127.0.0.1:{port}",
        "/usr/share/ohif/dist": str(dist),
        "/etc/lookalike/ohif": str(FOLDER),
        "http://orthanc:8042": archive,
        "http://lookalike:8080/": node,
    }.items():
        assert before in site, before
        site = site.replace(before, after)
    with running_nginx(folder, site):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def page(site: Site) -> Iterator[Page]:
    """The viewer with a radiograph open, and the panel."""
    study = site.orthanc.call("/dicom-web/studies?ModalitiesInStudy=CR&limit=1")[0]["0020000D"]["Value"][0]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program("chromium"), args=list(SOFTWARE_GL))
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(SLOW_MS)
        page.add_init_script("localStorage.setItem('shownTours', JSON.stringify(['basicViewerTour']))")
        page.goto(f"{site.url}/viewer?StudyInstanceUIDs={study}")
        page.wait_for_selector('[data-cy="viewport-pane"] canvas')
        page.click("text=Confirm and hide")
        page.click('[data-cy="similar-btn"]')
        page.wait_for_selector(".lookalike .find")
        yield page
        browser.close()


def answered(page: Page) -> None:
    """Ask until the viewer shows an image that can be asked about."""
    page.click(".lookalike .find")
    if "Select a viewport" in page.inner_text(".lookalike .status"):
        page.wait_for_timeout(500)
        answered(page)
    page.wait_for_selector(".lookalike .case")


@pytest.mark.slow
def test_a_case_is_opened_beside_the_image_in_a_frame_of_its_own(page: Page) -> None:
    answered(page)
    cards = page.locator(".lookalike .case").count()
    banners = page.locator(".lookalike .case .lookalike-banner").all_inner_texts()

    page.locator(".lookalike .open").first.click()
    page.wait_for_selector(".lookalike-frame")
    panes = page.locator('[data-cy="viewport-pane"]')
    framed = page.locator(".lookalike-frame")

    assert 1 <= cards <= 3
    assert all("OTHER PATIENT" in banner for banner in banners)
    assert panes.count() == 2
    assert framed.count() == 1
    boxes: list[Any] = [each.bounding_box() for each in (panes.nth(0), panes.nth(1), framed)]
    own, other, frame = boxes
    assert frame["x"] >= own["x"] + own["width"] - 5
    assert abs(frame["width"] - other["width"]) < 12
    assert framed.locator(".lookalike-banner").all_inner_texts() == 2 * ["OTHER PATIENT · not this examination"]
    assert "another patient" in page.inner_text(".lookalike .status")


@pytest.mark.slow
def test_filters_and_the_key_ask_again(page: Page) -> None:
    answered(page)

    page.select_option('.lookalike [name="sex"]', "F")
    page.wait_for_function("!document.querySelector('.lookalike .status').textContent.includes('Looking')")
    of_women = page.locator(".lookalike .faint").all_inner_texts()
    page.select_option('.lookalike [name="sex"]', "")
    page.wait_for_function("!document.querySelector('.lookalike .status').textContent.includes('Looking')")

    assert all(text.startswith("female") for text in of_women)
    assert page.locator(".lookalike .case").count() >= len(of_women)


@pytest.mark.slow
def test_a_drawn_rectangle_is_asked_about_and_the_whole_image_again(page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "similarto" in request.url else None)
    answered(page)
    page.click('[data-cy="MeasurementTools-split-button-secondary"]')
    page.click('[data-cy="RectangleROI"]')
    box: Any = page.locator('[data-cy="viewport-pane"]').first.bounding_box()
    page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.4 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"], steps=9)
    page.mouse.up()

    page.click(".lookalike .region")
    page.wait_for_function("document.querySelector('.lookalike .status').textContent.includes('to the rectangle')")
    page.click(".lookalike .undo")
    page.wait_for_function("!document.querySelector('.lookalike .status').textContent.includes('Looking')")

    with_region = ["region=" in url for url in asked]
    assert with_region == [False, True, False]
    corners = [int(corner) for corner in parse_qs(urlsplit(asked[1]).query)["region"][0].split(",")]
    assert 0 < corners[0] < corners[2]
    assert 0 < corners[1] < corners[3]
