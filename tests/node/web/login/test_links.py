"""A link opens a session in a browser, for a while, with the rights of who asked for it."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from node.access.logins import LINK, sign
from node.web.caller_gate import COOKIE
from tests.support.dicom.archive import uid
from tests.support.web.web_archive import BASE, WebArchive, web_archive

PACS, READER = ("10.0.1.7", 1), ("10.0.2.9", 1)
CALLERS: dict[str, Any] = {
    "pacs": {"web": True, "networks": ["10.0.0.0/16"], "token": "pacs", "rights": ["similar"], "disclosure": "BLIND"},
    "server": {"web": True, "networks": ["10.0.1.7/32"], "rights": ["similar"], "disclosure": "FULL"},
}
STUDY = uid("1")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebArchive]:
    with web_archive(tmp_path_factory.mktemp("links") / "home", callers=CALLERS) as archive:
        yield archive


def browser(archive: WebArchive, address: tuple[str, int]) -> TestClient:
    return TestClient(archive.app, base_url="http://127.0.0.1", client=address, follow_redirects=False)


def test_a_link_that_a_program_asked_for_opens_a_session_at_the_study(archive: WebArchive) -> None:
    made = browser(archive, PACS).post(f"/api/links?study={STUDY}")
    assert made.status_code == 201
    reader = browser(archive, PACS)

    opened = reader.get(made.json()["url"])

    assert (opened.status_code, opened.headers["location"]) == (303, f"/#find={STUDY}")
    cookie = opened.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert reader.get("/api/cases").status_code == 200


def test_a_session_works_where_the_address_alone_does_not_and_not_beyond_its_rights(archive: WebArchive) -> None:
    reader = browser(archive, READER)
    assert reader.get("/api/cases").status_code == 401

    reader.get(f"/open?token={sign(archive.resources.settings, LINK, 'pacs', 1, study=STUDY)}")

    assert reader.get("/api/cases").status_code == 200
    assert reader.get(f"{BASE}/studies/{STUDY}").status_code == 403
    assert reader.post(f"/api/links?study={STUDY}").status_code == 401  # a session does not prolong itself


def test_an_old_or_forged_link_and_a_forged_session_are_to_log_in(archive: WebArchive) -> None:
    reader = browser(archive, READER)
    genuine = sign(archive.resources.settings, LINK, "pacs", 1, study=STUDY)
    for token in (sign(archive.resources.settings, LINK, "pacs", -1, study=STUDY), genuine[:-3] + "AAA", "x"):
        refused = reader.get(f"/open?token={token}")
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        assert "set-cookie" not in refused.headers
    for session in (genuine, "x"):
        reader.cookies.set(COOKIE, session)
        assert reader.get("/api/cases").status_code == 401


def test_what_is_no_bearer_token_is_refused_whatever_the_address(archive: WebArchive) -> None:
    for authorization in ("Basic dTpw", "Bearer", "Bearer x y", "Bearer x"):
        refused = browser(archive, PACS).get("/api/cases", headers={"Authorization": authorization})
        assert refused.status_code == 401


def test_a_response_names_its_request(archive: WebArchive) -> None:
    client = browser(archive, PACS)

    assert client.get("/healthz", headers={"X-Request-ID": "from-a-proxy"}).headers["X-Request-ID"] == "from-a-proxy"
    assert len(client.get("/healthz", headers={"X-Request-ID": "odd one"}).headers["X-Request-ID"]) == 8
