"""The page in a real browser: the reader's place is kept, faults are said once, and assistive technology can follow."""

from pathlib import Path
from typing import Any

import pytest
from axe_core_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.support.running import RunningNode

pytestmark = pytest.mark.peers


def go_to_a_case(page: Page) -> dict[str, Any]:
    """Choose a modality, scroll down, and open the third-last case; where the reader was."""
    page.click(".chip:nth-child(2)")
    page.wait_for_selector(".chip:nth-child(2)[aria-current]")
    card = page.locator(".card").nth(-1)
    card.scroll_into_view_if_needed()
    card.focus()
    place = where(page)
    card.click()
    page.wait_for_selector(".example")
    return place


def where(page: Page) -> dict[str, Any]:
    return dict(
        page.evaluate("({hash: location.hash, scroll: Math.round(scrollY), focus: document.activeElement.href ?? ''})")
    )


@pytest.mark.parametrize("way", ["back", "Escape", "All cases"])
def test_every_way_back_leads_to_where_the_reader_was(page: Page, way: str) -> None:
    place = go_to_a_case(page)

    if way == "back":
        page.go_back()
    elif way == "Escape":
        page.keyboard.press("Escape")
    else:
        page.click(".example .back")

    page.wait_for_selector(".bar-of-tools")
    assert place["focus"]
    assert where(page) == place


def test_a_page_that_is_not_there_shows_the_last_one(page: Page, hospital: RunningNode) -> None:
    page.goto(f"{hospital.settings.url}#offset=99999")

    page.wait_for_selector(".card")
    assert "No case here" not in page.inner_text("main")


def test_an_error_that_cannot_change_offers_the_list_only(page: Page, hospital: RunningNode) -> None:
    page.goto(f"{hospital.settings.url}#image=9.9.9")

    page.wait_for_selector("main h1 >> text=not here")
    assert page.locator("main button").count() == 0
    assert page.locator("main a", has_text="All cases").count() == 1


@pytest.mark.parametrize("view", ["list", "result", "error"])
def test_assistive_technology_finds_no_fault(page: Page, hospital: RunningNode, view: str) -> None:
    if view == "result":
        go_to_a_case(page)
    elif view == "error":
        page.goto(f"{hospital.settings.url}#image=9.9.9")
        page.wait_for_selector("main h1 >> text=not here")

    found = Axe().run(page)

    assert [(fault["id"], [node["html"][:120] for node in fault["nodes"]]) for fault in found["violations"]] == []


def test_what_is_chosen_is_seen_in_forced_colours(browser: Browser, hospital: RunningNode, tmp_path: Path) -> None:
    page = browser.new_page(forced_colors="active")
    page.goto(hospital.settings.url)
    page.wait_for_selector(".chip[aria-current]")

    outline = page.eval_on_selector(".chip[aria-current]", "chip => getComputedStyle(chip).outlineStyle")

    page.close()
    assert outline == "solid"


def test_a_case_is_found_by_its_accession_number_and_by_a_link(page: Page, hospital: RunningNode) -> None:
    studies = page.request.get(f"{hospital.settings.url}dicom-web/studies?limit=1").json()
    accession_number, series = studies[0]["00080050"]["Value"][0], studies[0]["00201206"]["Value"][0]
    before = page.locator(".card").count()

    page.fill(".search input", accession_number)
    page.keyboard.press("Enter")
    page.locator(".card").nth(before - 1).wait_for(state="detached")
    searched = page.locator(".card").count()
    page.goto(f"{hospital.settings.url}#find=nothing-like-it")
    page.wait_for_selector(".nothing")
    page.goto(f"{hospital.settings.url}#find={accession_number}")
    page.wait_for_selector(".card")

    assert searched == page.locator(".card").count() == series
    assert page.input_value(".search input") == accession_number
