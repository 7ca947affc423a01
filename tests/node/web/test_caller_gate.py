"""Who may send which HTTP request: every route is behind the gate, and a broken check lets nobody in."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.routing import Mount

from node.access.callers import NOBODY, Caller, Callers
from node.access.rates import RateLimits
from node.options.access import Right
from node.web.app import Page
from node.web.caller_gate import OPEN, caller_of, needed_rights
from tests.support.dicom.archive import uid
from tests.support.web.web_archive import BASE, WebArchive, web_archive

CALLERS: dict[str, Any] = {
    "viewer": {"web": True, "networks": ["10.0.1.0/24"], "rights": ["similar"], "disclosure": "FULL"},
    "worklist": {"web": True, "networks": ["10.0.2.0/24"], "rights": ["find"], "disclosure": "FULL"},
    "sender": {"web": True, "networks": ["10.0.3.0/24"], "rights": ["store"], "disclosure": "FULL"},
    "reader": {"web": True, "networks": ["10.0.4.0/24"], "rights": ["retrieve"], "disclosure": "FULL"},
    "quick": {
        "web": True, "networks": ["10.0.5.0/24"], "rights": ["similar"], "disclosure": "FULL",
        "requests_per_minute": 5,
    },
    "all": {
        "web": True, "networks": ["10.0.7.0/24"], "rights": list(Right), "disclosure": "FULL",
        "requests_per_minute": 1,
    },
    "modality": {"ae_titles": ["CT1"], "networks": ["10.0.6.0/24"], "rights": ["store", "find", "similar"]},
}  # fmt: skip
SERIES = f"{BASE}/studies/{uid('1')}/series/{uid('1.1')}"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebArchive]:
    with web_archive(tmp_path_factory.mktemp("gate") / "home", callers=CALLERS) as archive:
        yield archive


def client(archive: WebArchive, network: int) -> TestClient:
    return TestClient(archive.app, base_url="http://127.0.0.1", client=(f"10.0.{network}.7", 1))


@pytest.mark.parametrize(
    ("method", "path", "networks"),
    [
        ("GET", "/", {1, 5}),
        ("GET", "/web/page.js", {1, 5}),
        ("GET", "/api/cases", {1, 5}),
        ("GET", f"/preview/{uid('1.1.1')}.png", {1, 5}),
        ("GET", f"{BASE}/studies", {2}),
        ("GET", f"{SERIES}/instances/{uid('1.1.1')}/rendered", {1, 4, 5}),
        ("GET", f"{SERIES}/metadata", {4}),
        ("POST", f"{BASE}/studies", {3}),
        ("GET", f"{BASE}/openapi.json", {1, 2, 3, 4, 5}),
    ],
)
def test_a_request_needs_the_right_to_what_it_asks_for(
    archive: WebArchive, method: str, path: str, networks: set[int]
) -> None:
    statuses = {number: client(archive, number).request(method, path).status_code for number in (*range(1, 7), 8)}

    assert {number for number, status in statuses.items() if status != 403} == networks


def test_a_search_by_example_needs_the_right_to_that(archive: WebArchive) -> None:
    query = {"similarto": uid("1.1.1")}

    answers = {number: client(archive, number).get(f"{BASE}/studies", params=query) for number in (1, 2)}

    assert (answers[1].status_code, answers[2].status_code) == (200, 403)
    assert answers[2].json()["dimse_status"] == "0124"


def test_monitors_need_no_right(archive: WebArchive) -> None:
    assert client(archive, 9).get("/healthz").status_code == 200
    assert client(archive, 9).get("/readyz").status_code == 503  # its roles are not running


def test_a_client_that_asks_too_often_is_to_retry(archive: WebArchive) -> None:
    path = f"/api/similar/{uid('1.1.1')}"

    answers = [client(archive, 7).get(path) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 429]
    assert answers[1].headers["retry-after"]
    assert client(archive, 7).get("/api/status").status_code == 200


def routes(archive: WebArchive) -> list[tuple[str, str]]:
    """Method and path of every endpoint, with a value for each parameter."""
    mounted: Any = [route.app for route in archive.app.routes if isinstance(route, Mount) and route.path == BASE]
    documented = mounted[0].openapi()["paths"].items()
    paths = [(method.upper(), BASE + path) for path, methods in documented for method in methods]
    paths += [("GET", path) for path in (*Page(archive.resources).routes, "/web/page.js", f"{BASE}/openapi.json")]
    return [(method, re.sub(r"[{}]", "", path)) for method, path in paths if path not in OPEN]


@pytest.mark.parametrize(("owner", "name"), [(Callers, "of_request"), (Caller, "check"), (RateLimits, "take")])
def test_a_broken_check_opens_no_route(
    owner: type, name: str, archive: WebArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Any:
        raise RuntimeError("this check is broken")

    monkeypatch.setattr(owner, name, broken)
    asking = client(archive, 7)
    asked = [one for one in routes(archive) if owner is not RateLimits or needed_rights(*one)[1]]

    statuses = {(method, path): asking.request(method, path).status_code for method, path in asked}

    assert len(statuses) >= 12
    assert set(statuses.values()) == {500}


def test_a_request_that_did_not_pass_the_gate_is_of_nobody() -> None:
    assert caller_of({"type": "http"}) is NOBODY


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_a_method_that_nobody_thought_of_needs_the_highest_right(method: str) -> None:
    assert needed_rights(method, f"{BASE}/studies")[0] == (Right.ADMIN,)
