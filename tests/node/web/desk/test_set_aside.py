"""What was set aside, in the browser: for operators, without patient data, and escaped."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from node.web.desk.set_aside import MAX_SHOWN
from tests.node.web.desk.test_histories import Cells
from tests.support.dicom.hostile import NAME, plain
from tests.support.web.web_archive import HERE, WebArchive, web_archive

CALLERS: dict[str, Any] = {
    "operator": {"web": True, "rights": ["admin"], "disclosure": "FULL"},
    "reader": {
        "web": True,
        "networks": ["10.0.0.0/8"],
        "rights": ["find", "similar", "retrieve"],
        "disclosure": "FULL",
    },
    "blind": {"web": True, "networks": ["172.16.0.0/12"], "rights": ["admin"], "disclosure": "BLIND"},
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebArchive]:
    with web_archive(tmp_path_factory.mktemp("aside") / "home", callers=CALLERS, set_aside_days=30) as archive:
        for number, reason in enumerate(("undecodable", "time-limit")):
            uids = {"StudyInstanceUID": "2.25.7", "SOPInstanceUID": f"2.25.7.{number}"}
            entry = archive.spool.put([plain(number)], uids["SOPInstanceUID"])
            archive.spool.take(9)
            archive.spool.set_aside(entry, reason, "<b>of no use</b>", uids, keep=bool(number))
        yield archive


def client(archive: WebArchive, address: str = HERE[0]) -> TestClient:
    return TestClient(archive.app, base_url="http://127.0.0.1", client=(address, 1))


def test_it_says_why_since_when_and_from_whom_and_what_stays(archive: WebArchive) -> None:
    texts = Cells(client(archive).get("/aside").text).texts
    told = client(archive).get("/api/aside").json()

    assert {"undecodable", "time-limit", "<b>of no use</b>", "not kept", "unknown", "30"} <= set(texts)
    assert [one["reason"] for one in told["entries"]] == ["time-limit", "undecodable"]
    assert (told["count"], told["limits"]["set_aside_days"], told["entries"][1]["size_bytes"]) == (2, 30, None)
    assert client(archive).get("/api/aside?reason=time-limit").json()["count"] == 1
    assert MAX_SHOWN > 2


def test_operators_only_may_look_and_names_are_in_nothing(archive: WebArchive) -> None:
    for path in ("/aside", "/api/aside"):
        assert client(archive, "10.1.1.1").get(path).status_code == 403
        assert NAME not in client(archive).get(path).text
        assert "2.25.7" in client(archive).get(path).text
        assert "2.25.7" not in client(archive, "172.16.0.1").get(path).text
