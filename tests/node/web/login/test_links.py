"""A link opens a session in a browser, for a while, with the rights of who asked for it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from playwright.sync_api import Browser

from node.access.logins import LINK, sign, spend
from node.web.caller_gate import COOKIE
from node.web.login.links import link_to
from tests.node.access.test_audit import messages
from tests.support.dicom.archive import uid
from tests.support.web.web_archive import BASE, WebArchive, served, web_archive

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


def client(archive: WebArchive, address: tuple[str, int]) -> TestClient:
    return TestClient(archive.app, base_url="http://127.0.0.1", client=address, follow_redirects=False)


def test_a_link_that_a_program_asked_for_opens_a_session_at_the_study(archive: WebArchive) -> None:
    made = client(archive, PACS).post(f"/api/links?study={STUDY}")
    assert made.status_code == 201
    reader = client(archive, PACS)

    opened = reader.get(made.json()["url"])

    assert (opened.status_code, opened.headers["location"]) == (303, f"/#find={STUDY}")
    cookie = opened.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert reader.get("/api/cases").status_code == 200


def test_a_session_works_where_the_address_alone_does_not_and_not_beyond_its_rights(archive: WebArchive) -> None:
    reader = client(archive, READER)
    assert reader.get("/api/cases").status_code == 401

    reader.get(f"/open?token={sign(archive.resources.settings, LINK, 'pacs', 1, study=STUDY)}")

    assert reader.get("/api/cases").status_code == 200
    assert reader.get(f"{BASE}/studies/{STUDY}").status_code == 403
    assert reader.post(f"/api/links?study={STUDY}").status_code == 401  # a session does not prolong itself


def test_an_old_or_forged_link_and_a_forged_session_are_to_log_in(archive: WebArchive) -> None:
    reader = client(archive, READER)
    genuine = sign(archive.resources.settings, LINK, "pacs", 1, study=STUDY)
    for token in (sign(archive.resources.settings, LINK, "pacs", -1, study=STUDY), genuine[:-3] + "AAA", "x"):
        refused = reader.get(f"/open?token={token}")
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        assert "set-cookie" not in refused.headers
    for session in (genuine, "x"):
        reader.cookies.set(COOKIE, session)
        assert reader.get("/api/cases").status_code == 401


def test_a_link_that_is_good_once_opens_no_second_session(tmp_path: Path) -> None:
    with web_archive(tmp_path / "home", callers=CALLERS, link_once=True) as archive:
        settings = archive.resources.settings
        spend(settings, {"exp": 1, "jti": "of a link that is over"})
        path = f"/open?token={sign(settings, LINK, 'pacs', 1, study=STUDY)}"
        first, second = client(archive, READER), client(archive, READER)

        assert first.get(path).status_code == 303
        assert [second.get(path).status_code, second.get("/api/cases").status_code] == [401, 401]
        assert first.get("/api/cases").status_code == 200
        archive.resources.trail.close()

    [spent] = (settings.run_path / "spent-links").iterdir()
    assert spent.stat().st_mode & 0o077 == 0
    alerts = [one for one in messages(settings) if "link" in one.participants]
    assert [(one.event, one.participants["link"]) for one in alerts] == [("Security Alert", READER[0])]


def test_a_link_that_cannot_be_noted_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with web_archive(tmp_path / "home", callers=CALLERS, link_once=True) as archive:
        path = f"/open?token={sign(archive.resources.settings, LINK, 'pacs', 1, study=STUDY)}"
        monkeypatch.setattr(Path, "touch", full)

        answer = client(archive, READER).get(path)

    assert answer.status_code == 500
    assert "set-cookie" not in answer.headers


@pytest.mark.peers
def test_in_a_browser_a_link_leads_to_its_study_and_only_there_once(browser: Browser, tmp_path: Path) -> None:
    reader = {"web": True, "token": "pacs", "rights": ["similar"]}
    with web_archive(tmp_path / "home", callers={"pacs": reader}, link_once=True) as archive, served(archive):
        url = link_to(archive.resources.settings, "pacs", STUDY)
        page, other = (browser.new_context().new_page() for _ in range(2))

        page.goto(url)
        page.wait_for_selector(".card")
        again = other.goto(url)

        assert page.url == f"{archive.resources.settings.url}#find={STUDY}"
        assert page.locator(".card").count() == 1
        assert page.evaluate("document.cookie") == ""
        assert again is not None
        assert again.status == 401
        assert other.request.get(f"{archive.resources.settings.url}api/cases").status == 401
        for opened in (page, other):
            opened.context.close()


def test_what_is_no_bearer_token_is_refused_whatever_the_address(archive: WebArchive) -> None:
    for authorization in ("Basic dTpw", "Bearer", "Bearer x y", "Bearer x"):
        refused = client(archive, PACS).get("/api/cases", headers={"Authorization": authorization})
        assert refused.status_code == 401


def test_a_response_names_its_request(archive: WebArchive) -> None:
    asking = client(archive, PACS)

    assert asking.get("/healthz", headers={"X-Request-ID": "from-a-proxy"}).headers["X-Request-ID"] == "from-a-proxy"
    assert len(asking.get("/healthz", headers={"X-Request-ID": "odd one"}).headers["X-Request-ID"]) == 8
