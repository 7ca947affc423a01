"""A real browser on the page of a running node: what the tests that use one share."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.support.running import RunningNode, program, wait_until

CHROMIUM = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
SMALL: Any = {"width": 900, "height": 500}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium of this machine; for one module, since its event loop stands in the way of others."""
    path = program("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(CHROMIUM))
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, hospital: RunningNode) -> Iterator[Page]:
    """The list of cases in a new tab; the test fails on any error of a script."""
    context = browser.new_context(viewport=SMALL)
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(hospital.settings.url)
    page.wait_for_selector(".card")
    yield page
    context.close()
    assert faults == []


def eventually(page: Page, script: str, limit_s: float = 30) -> None:
    """Wait until a script's value is true; the page's own policy forbids the scripts by which Playwright would."""
    wait_until(lambda: bool(page.evaluate(script)), script, limit_s)


def parameters(page: Page, name: str) -> list[str]:
    """Values of a parameter in the hash of the address."""
    script = "name => new URLSearchParams(location.hash.slice(1)).getAll(name)"
    return [str(value) for value in page.evaluate(script, name)]


def open_answer(page: Page, modality: str = "CR") -> None:
    """Show the look-alikes of the first case of a modality."""
    page.click(f'.bar-of-tools .chip:has-text("{modality}")')
    page.wait_for_selector(f'.bar-of-tools .chip[aria-current]:has-text("{modality}")')
    page.locator("a.card").first.click()
    page.wait_for_selector(".match")
    page.wait_for_selector('.example canvas[data-drawn="yes"]')


def open_pair(page: Page, rank: int = 1) -> None:
    """Show the example beside one of its look-alikes."""
    page.locator(".match .open").nth(rank - 1).click()
    eventually(page, "document.querySelectorAll('.pair canvas[data-drawn=yes]').length === 2")
