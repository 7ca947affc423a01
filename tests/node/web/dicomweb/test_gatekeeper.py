"""Who may use DICOMweb, and how many at once; what viewers of other origins may read."""

from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from fastapi.testclient import TestClient

from node.query.find import Finder
from node.settings import Settings
from tests.support.running import wait_until
from tests.support.web.web_archive import BASE, web_archive


@pytest.mark.parametrize(
    ("networks", "address", "status", "page"),
    [
        (None, "127.0.0.1", 200, 200),
        (None, "::1", 200, 200),
        (None, "10.1.2.3", 403, 403),
        (None, "::ffff:127.0.0.1", 200, 200),
        (("10.1.0.0/16",), "10.1.2.3", 200, 200),
        (("10.1.0.0/16",), "127.0.0.1", 403, 200),
        ((), "127.0.0.1", 403, 200),
        (None, "somewhere", 403, 403),
    ],
)
def test_only_listed_networks_get_names_and_ids(
    tmp_path: Path, networks: tuple[str, ...] | None, address: str, status: int, page: int
) -> None:
    chosen: dict[str, Any] = {} if networks is None else {"dicomweb_networks": networks}
    with web_archive(tmp_path / "home", **chosen) as archive:
        client = TestClient(archive.app, base_url="http://127.0.0.1", client=(address, 1))

        assert client.get(f"{BASE}/studies").status_code == status
        assert client.get("/api/status").status_code == page
        assert client.get("/healthz").status_code == 200


def test_more_requests_than_slots_are_to_try_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, leave = Event(), Event()

    def wait(*_: Any, **__: Any) -> list[Any]:
        inside.set()
        leave.wait(20)
        return []

    with web_archive(tmp_path / "home", web_requests=1) as archive:
        monkeypatch.setattr(Finder, "gather", wait)
        answers: list[int] = []
        first = Thread(target=lambda: answers.append(archive.get("/studies").status_code))
        first.start()
        inside.wait(20)

        second = archive.get("/studies")
        leave.set()
        first.join()

        wait_until(lambda: archive.get("/studies").status_code == 204, "the slot to be free", 5)
        assert (second.status_code, second.headers["retry-after"], answers) == (503, "2", [204])


def test_viewers_of_listed_origins_only_may_read(tmp_path: Path) -> None:
    viewer, other = {"Origin": "https://viewer.hospital"}, {"Origin": "https://elsewhere.example"}
    with web_archive(tmp_path / "home", cors_origins=("https://viewer.hospital",)) as archive:
        allowed, refused = archive.get("/studies", headers=viewer), archive.get("/studies", headers=other)
        preflight = archive.client.options(f"{BASE}/studies", headers=viewer | {"Access-Control-Request-Method": "GET"})

    assert allowed.headers["access-control-allow-origin"] == "https://viewer.hospital"
    assert "access-control-allow-origin" not in refused.headers
    assert (preflight.status_code, preflight.headers["access-control-allow-methods"]) == (200, "GET, POST")


@pytest.mark.parametrize("field", [{"dicomweb_networks": ("10.1.2.3/8",)}, {"cors_origins": ("*",)}])
def test_a_list_that_would_let_in_anybody_by_mistake_is_refused(field: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="write one as"):
        Settings(**field)
