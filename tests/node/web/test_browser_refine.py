"""The page in a real browser: an answer is refined and taken back, and a file is asked about."""

from pathlib import Path

import pytest
from axe_core_python.sync_playwright import Axe
from playwright.sync_api import Page
from pydicom import dcmread

from tests.support.running import RunningNode
from tests.support.web.browsing import eventually, open_answer, parameters

pytestmark = pytest.mark.peers
TOGGLE = "document.querySelector('.filters').open = true"


def cards(page: Page) -> list[str]:
    """UIDs of the look-alikes that are shown."""
    return [str(uid) for uid in page.eval_on_selector_all(".match", "all => all.map(card => card.dataset.uid)")]


def test_few_cases_come_first_and_more_behind_a_click(page: Page) -> None:
    open_answer(page)
    page.uncheck("text=One of each patient")
    eventually(page, "location.hash.includes('every=1')")
    eventually(page, "document.querySelectorAll('.match').length === 5")
    few = cards(page)

    page.click(".more-matches")
    eventually(page, "document.querySelectorAll('.match').length > 5")

    assert cards(page)[:5] == few


def test_a_region_is_drawn_by_the_mouse_and_taken_back(page: Page) -> None:
    open_answer(page)
    whole = page.inner_text(".results .hint")
    page.click("text=Draw a region")
    box = page.locator(".example canvas").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.7 * box["height"], steps=4)
    page.mouse.up()
    page.wait_for_selector("text=Only the outlined region")

    left, top, right, bottom = map(int, parameters(page, "region")[0].split(","))
    page.click(".undo")
    page.wait_for_selector("text=Only the outlined region", state="detached")

    assert left < right
    assert top < bottom
    assert parameters(page, "region") == []
    assert page.inner_text(".results .hint") == whole


def test_a_region_is_drawn_by_the_keyboard(page: Page) -> None:
    open_answer(page)

    page.keyboard.press("r")
    for key in ("ArrowRight", "ArrowDown", "Shift+ArrowLeft", "Enter"):
        page.keyboard.press(key)
    page.wait_for_selector("text=Only the outlined region")

    assert len(parameters(page, "region")[0].split(",")) == 4
    assert page.locator(".match").count() > 0


def test_one_is_left_out_and_one_attracts_more_until_it_is_undone(page: Page) -> None:
    open_answer(page)
    before = cards(page)

    page.locator(".match .open").first.focus()
    page.keyboard.press("x")
    page.wait_for_selector(".refinement >> text=left out")
    without = cards(page)
    page.keyboard.press("u")
    page.wait_for_selector(".refinement", state="detached")
    again = cards(page)
    page.locator(".match .open").nth(1).focus()
    page.keyboard.press("m")
    page.wait_for_selector(".refinement >> text=also like this")

    assert before[0] not in without
    assert again == before
    assert parameters(page, "also") == [before[1]]
    assert parameters(page, "without") == []


def test_every_refinement_is_undone_one_after_the_other(page: Page) -> None:
    open_answer(page)
    before = cards(page)
    page.locator(".match [data-key=m]").nth(1).click()
    page.wait_for_selector(".refinement >> text=also like this")
    refined = cards(page)
    page.locator(".match [data-key=x]").first.click()
    page.wait_for_selector(".refinement >> text=left out")

    page.click(".undo")
    page.wait_for_selector(".refinement >> text=left out", state="detached")
    once = cards(page)
    page.click(".undo")
    page.wait_for_selector(".refinement", state="detached")

    assert once == refined
    assert cards(page) == before
    assert page.locator(".undo").count() == 0


def test_filters_combine_and_stay_in_the_address(page: Page) -> None:
    open_answer(page)
    page.evaluate(TOGGLE)
    page.click('.filters label:has-text("female")')
    eventually(page, "location.hash.includes('sex=F')")
    page.fill('[aria-label="Year from"]', "1990")
    page.keyboard.press("Tab")
    eventually(page, "location.hash.includes('date=19900101-')")
    page.wait_for_selector(".filters[open] summary >> text=2 filters")
    page.wait_for_selector('main[aria-busy="false"]')

    people = page.locator(".match .person").all_inner_texts()
    page.reload()
    page.wait_for_selector(".match, .nothing")

    assert all(person.startswith("F") for person in people)
    assert page.locator(".match .person").all_inner_texts() == people
    page.click("text=Clear filters")
    page.wait_for_selector(".filters summary >> text=Filters")


@pytest.mark.parametrize("kind", ["DICOM", "PNG"])
def test_a_file_is_compared_and_not_kept(
    page: Page, hospital: RunningNode, phantoms: Path, kind: str, tmp_path: Path
) -> None:
    path = next(
        each for each in sorted(phantoms.rglob("*.dcm")) if dcmread(each, stop_before_pixels=True).Modality == "CR"
    )
    if kind == "PNG":
        uid = dcmread(path, stop_before_pixels=True).SOPInstanceUID
        path = tmp_path / "picture.png"
        path.write_bytes(page.request.get(f"{hospital.settings.url}preview/{uid}.png").body())
    before = hospital.status()

    page.set_input_files("input[type=file]", path)
    page.wait_for_selector(".match")
    page.wait_for_selector('.example canvas[data-drawn="yes"]')

    assert "Dropped file, not kept" in page.inner_text(".example")
    assert path.name not in page.url
    assert hospital.status().entities == before.entities
    assert list((hospital.settings.run_path / "examples").iterdir()) == []
    page.reload()
    page.wait_for_selector("text=This file is no longer here")


def test_a_file_is_dropped_anywhere(page: Page) -> None:
    script = """() => {
      const data = new DataTransfer();
      data.items.add(new File(["no image"], "Kowalska.dcm"));
      for (const type of ["dragenter", "dragover", "drop"])
        document.body.dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true }));
    }"""

    page.evaluate(script)

    page.wait_for_selector("main h1 >> text=cannot be compared")
    assert "Kowalska" not in page.url


def test_assistive_technology_finds_no_fault_in_filters_and_refinements(page: Page) -> None:
    open_answer(page)
    page.locator(".match [data-key=x]").first.click()
    page.wait_for_selector(".undo")
    page.evaluate(TOGGLE)

    found = Axe().run(page)

    assert [(fault["id"], [node["html"][:120] for node in fault["nodes"]]) for fault in found["violations"]] == []
