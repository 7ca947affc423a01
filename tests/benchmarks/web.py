"""How long do readers wait? python -m tests.benchmarks.web [--quick] [--json FILE] [--folder DIR].

In a real browser, over phantoms: from the click on a case to the first look-alike's picture, and from the click on
*Why?* to the maps. By HTTP, over many rows: similarity requests of one client and of sixteen.
"""

import http.client
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
from playwright.sync_api import Page, sync_playwright

from hashing.phantoms.hospital import write_samples
from node.cli.send import files
from node.home import open_for_writing
from node.settings import Settings
from storage.record import Level
from tests.benchmarks.find_large import fill
from tests.benchmarks.report import Row, parser, publish
from tests.support.dicom.archive import uid
from tests.support.running import RunningNode, program, running_node
from tests.support.web.browsing import CHROMIUM

CLIENTS: Final = 16
CLICK_LIMIT_MS: Final = 1000.0
ALONE: Final = 1
LOADED: Final = "[...document.querySelectorAll('.match img')].some(image => image.complete && image.naturalWidth > 0)"
MAPPED: Final = "[...document.querySelectorAll('.pair canvas')].every(canvas => canvas.dataset.map === 'shown')"


def main() -> None:
    """Run all rows."""
    options = parser(__doc__)
    options.add_argument("--folder", type=Path, help="where the large index is made, or found again")
    given = options.parse_args()
    count, repeats = (20_000, 20) if given.quick else (1_000_000, 100)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [*reading(folder, 8), *asking(given.folder or folder / "large", count, repeats)]
    publish(rows, given.json)


def reading(folder: Path, repeats: int) -> Iterator[Row]:
    """What a reader of the page waits for."""
    for _ in write_samples(folder / "phantoms", patients=4):
        continue
    with running_node(folder / "home") as node, sync_playwright() as playwright:
        list(node.peer.store(files(folder / "phantoms")))
        images = node.wait_indexed().entities[Level.IMAGE]
        browser = playwright.chromium.launch(executable_path=program("chromium"), args=list(CHROMIUM))
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        clicks, whys = zip(*(_clicks(page, node, number) for number in range(repeats)), strict=True)
        browser.close()
    work = f"the page in Chromium, {images} images"
    yield _row(f"{work}: from the click on a case to the first look-alike, median", median(clicks), CLICK_LIMIT_MS)
    yield _row(f"{work}: the same, the first of the browser", clicks[0], CLICK_LIMIT_MS)
    yield _row(f"{work}: from *Why?* to the maps, median", median(whys), CLICK_LIMIT_MS)


def _clicks(page: Page, node: RunningNode, number: int) -> tuple[float, float]:
    """Milliseconds from two clicks to what they show."""
    page.goto(node.settings.url)
    page.wait_for_selector("a.card")
    started_s = time.perf_counter()
    page.locator("a.card").nth(number).click()
    _until(page, LOADED)
    shown_s = time.perf_counter()
    page.locator(".match .open").first.click()
    page.wait_for_selector(".pair")
    asked_s = time.perf_counter()
    page.click("text=Why?")
    _until(page, MAPPED)
    return 1e3 * (shown_s - started_s), 1e3 * (time.perf_counter() - asked_s)


def _until(page: Page, script: str) -> None:
    while not page.evaluate(script):
        time.sleep(0.005)


def asking(folder: Path, count: int, repeats: int) -> Iterator[Row]:
    """Similarity requests over an index of `count` images."""
    with open_for_writing(Settings(home=folder)) as database:
        fill(database, count)
    with running_node(folder) as node:
        _times(node, 0, 5, count)  # codes and kernels are loaded by the first
        for clients in (ALONE, CLIENTS):
            with ThreadPoolExecutor(clients) as pool:
                asked = pool.map(lambda number: _times(node, number, repeats, count), range(clients))
                times = sorted(time_ms for some in asked for time_ms in some)
            for share in (50, 99):
                work = f"20 look-alikes by HTTP among {count:,} images, {clients} clients, p{share}"
                yield _row(work, float(np.percentile(times, share)), None)


def _times(node: RunningNode, client: int, repeats: int, count: int) -> Sequence[float]:
    """Milliseconds of requests one after the other over one connection."""
    connection, times = http.client.HTTPConnection(node.settings.host, node.settings.http_port, timeout=60), []
    for number in range(repeats):
        example = uid(f"{(client * repeats + number) % count + 1}.1.1")
        started_s = time.perf_counter()
        connection.request("GET", f"/api/similar/{example}?k=20")
        answer: Any = connection.getresponse()
        answer.read()
        assert answer.status == http.client.OK, answer.status
        times.append(1e3 * (time.perf_counter() - started_s))
    connection.close()
    return times


def _row(work: str, time_ms: float, limit_ms: float | None) -> Row:
    ratio = None if limit_ms is None else limit_ms / time_ms
    return Row(work, "ms", round(time_ms, 1), limit=limit_ms, ratio=ratio, reach=None if limit_ms is None else 1.0)


if __name__ == "__main__":
    main()
