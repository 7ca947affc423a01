"""The page in a real browser: an example beside its look-alike, and why they are alike; keys, widths, paper."""

from typing import Any

import pytest
from axe_core_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.support.running import RunningNode
from tests.support.web.browsing import eventually, open_answer, open_pair, parameters

pytestmark = pytest.mark.peers
BORDERS = """() => [...document.querySelectorAll('.pair .frame')].map(frame => {
  const style = getComputedStyle(frame);
  return [parseFloat(style.borderTopWidth), style.borderImageSource];
})"""

FOCUS = """() => {
  const element = document.activeElement;
  if (element === document.body) return "the end";
  const part = [".example", ".match", ".controls"].find(name => element.closest(name)) ?? "the rest";
  const shown = element.matches(".segments input") ? element.nextElementSibling : element;
  return `${element.localName} of ${part}, ${getComputedStyle(shown).outlineStyle === "none" ? "unseen" : "seen"}`;
}"""


def looks(page: Page) -> list[dict[str, str]]:
    """How both pictures are shown."""
    script = "all => all.map(({ dataset: { zoom, level, width, map } }) => ({ zoom, level, width, map: map ?? '' }))"
    return [dict(look) for look in page.eval_on_selector_all(".pair canvas", script)]


def test_two_images_stand_in_frames_that_cannot_be_confused(page: Page) -> None:
    open_answer(page)
    open_pair(page)

    (own, own_stripes), (other, stripes) = page.evaluate(BORDERS)
    banners = page.locator(".pair .banner").all_inner_texts()

    assert other >= 4 * own
    assert own_stripes == "none"
    assert "repeating-linear-gradient" in stripes
    assert [text.upper() for text in banners] == [
        "THIS EXAMINATION", "THIS EXAMINATION", "OTHER PATIENT", "ANOTHER PATIENT, NOT THIS EXAMINATION",
    ]  # fmt: skip
    labels = page.eval_on_selector_all(".pair canvas", "all => all.map(canvas => canvas.getAttribute('aria-label'))")
    assert labels[0].startswith("This examination: ")
    assert labels[1].startswith("Another patient, not this examination: ")


def test_window_and_zoom_of_both_pictures_change_together_and_reset(page: Page) -> None:
    open_answer(page)
    open_pair(page)
    first = looks(page)

    page.locator(".pair canvas").first.focus()
    page.keyboard.press("+")
    page.keyboard.press("Shift+ArrowLeft")
    page.fill('[aria-label="Window level"]', "90")
    changed = looks(page)
    page.click(".window >> text=Reset")

    assert changed == 2 * [{"zoom": "1.25", "level": "90", "width": "245", "map": ""}]
    assert looks(page) == first == 2 * [{"zoom": "1.00", "level": "128", "width": "255", "map": ""}]


def test_windowed_pixels_follow_the_standard(page: Page) -> None:
    open_answer(page)
    read = """() => { const canvas = document.querySelector('.example canvas');
      const { width, height } = canvas;
      const { data } = canvas.getContext('2d').getImageData(width / 4, height / 2, width / 2, 1);
      return [...data].filter((_, index) => index % 4 === 0) }"""
    before = page.evaluate(read)

    page.fill('[aria-label="Window width"]', "100")

    after = page.evaluate(read)
    inside = [(grey, seen) for grey, seen in zip(before, after, strict=True) if 110 <= grey <= 145]
    assert len(inside) > 3
    for grey, seen in inside:
        assert abs(seen - 255 * ((grey - 127.5) / 100 + 0.5)) <= 4  # both were drawn larger, and rounded


def test_why_is_told_on_demand_and_goes_away_again(page: Page) -> None:
    open_answer(page)
    open_pair(page)
    assert page.inner_text(".meaning") == ""

    page.keyboard.press("w")
    eventually(page, "document.querySelector('.meaning').textContent.includes('not disease')")
    shown = [look["map"] for look in looks(page)]
    page.keyboard.press("w")

    assert shown == ["shown", "shown"]
    assert [look["map"] for look in looks(page)] == ["", ""]
    assert page.inner_text(".meaning") == ""


def test_keys_lead_through_an_answer_and_back_to_where_the_reader_was(page: Page) -> None:
    open_answer(page)
    for _ in range(2):
        page.keyboard.press("j")
    focused = page.evaluate("document.activeElement.closest('.match').dataset.uid")
    page.keyboard.press("Enter")
    page.wait_for_selector(".pair")
    first = parameters(page, "with")
    page.keyboard.press("p")
    eventually(page, f"!location.hash.includes('with={first[0]}&')")
    page.keyboard.press("n")
    eventually(page, f"location.hash.includes('with={first[0]}&')")

    page.keyboard.press("Escape")
    page.wait_for_selector(".match")

    assert first == [focused]
    assert page.evaluate("document.activeElement.closest('.match')?.dataset.uid") == focused
    page.keyboard.press("Escape")
    page.wait_for_selector(".bar-of-tools")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.name") == "find"


def test_the_tabulator_reaches_every_control_of_an_answer_and_shows_where_it_is(page: Page) -> None:
    open_answer(page)
    controls = page.evaluate("document.querySelectorAll('main :is(a, button, input, select, summary, canvas)').length")
    page.evaluate("document.querySelector('.skip').focus()")
    reached: list[str] = []
    for _ in range(controls + 12):
        page.keyboard.press("Tab")
        reached.append(str(page.evaluate(FOCUS)))

    assert "canvas of .example, seen" in reached
    assert "button of .match, seen" in reached
    assert "a of .match, seen" in reached
    assert "input of .controls, seen" in reached
    assert [stop for stop in reached if stop.endswith("unseen")] == []


def test_the_list_of_keys_can_switch_them_off(page: Page) -> None:
    page.keyboard.press("?")
    page.wait_for_selector("dialog[open]")
    faults = Axe().run(page)["violations"]

    page.uncheck("dialog >> text=Single keys work")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")
    page.keyboard.press("/")

    assert faults == []
    assert page.evaluate("document.activeElement.name ?? ''") == ""


@pytest.mark.parametrize("width", [390, 1440, 2560])
def test_nothing_is_cut_off_at_any_width(browser: Browser, hospital: RunningNode, width: int) -> None:
    viewport: Any = {"width": width, "height": 900}
    page = browser.new_page(viewport=viewport)
    page.goto(hospital.settings.url)
    page.wait_for_selector(".card")
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    found = [page.evaluate(overflow)]
    open_answer(page)
    page.evaluate("document.querySelector('.filters').open = true")
    found.append(page.evaluate(overflow))
    open_pair(page)
    found.append(page.evaluate(overflow))
    page.close()

    assert found == [0, 0, 0]


def test_on_paper_the_banner_stays_and_the_controls_go(page: Page) -> None:
    open_answer(page)

    page.emulate_media(media="print")

    assert page.locator(".match .banner").first.is_visible()
    assert (
        page.eval_on_selector(".match .banner.other", "banner => getComputedStyle(banner).backgroundColor")
        == "rgb(0, 0, 0)"
    )
    assert not page.locator(".controls").is_visible()
    assert not page.locator(".refine").first.is_visible()


@pytest.mark.parametrize("view", ["pair", "node"])
def test_assistive_technology_finds_no_fault_in_other_views(page: Page, view: str) -> None:
    if view == "pair":
        open_answer(page)
        open_pair(page)
    else:
        page.click(".tabs >> text=Node")
        page.wait_for_selector(".node table")

    found = Axe().run(page)

    assert [(fault["id"], [node["html"][:120] for node in fault["nodes"]]) for fault in found["violations"]] == []
