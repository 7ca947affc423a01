"""The search box of the page: the open case by number or UID, cases by description, and no identity for strangers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from storage.database.database import Item
from tests.support.dicom.archive import instance
from tests.support.web.web_archive import WebArchive, web_archive


def item(place: str, **attributes: str) -> Item:
    return instance(place, 0, attributes={"Modality": "CT", **attributes})


ITEMS = [
    item("1.1.1", AccessionNumber="A-17", PatientID="P-1", StudyDescription="Thorax mit KM"),
    item("1.2.1", AccessionNumber="A-17", PatientID="P-1", SeriesDescription="lung thin"),
    item("2.1.1", AccessionNumber="", PatientID="P-2", StudyDescription="CHEST PA"),
    item("3.1.1", AccessionNumber="P-2", PatientID="P-3", SeriesDescription="Chest lateral", Modality="DX"),
]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebArchive]:
    with web_archive(tmp_path_factory.mktemp("web") / "home", ITEMS) as archive:
        yield archive


def found(client: Any, text: str, **more: str) -> list[str]:
    answer = client.get("/api/cases", params={"find": text, **more})
    assert answer.status_code == 200, answer.text
    assert answer.json()["total"] == len(answer.json()["cases"])
    return sorted(case["series_uid"].removeprefix("2.25.") for case in answer.json()["cases"])


@pytest.mark.parametrize(
    ("text", "series"),
    [
        ("A-17", ["1.1", "1.2"]),
        (" A-17 ", ["1.1", "1.2"]),
        ("2.25.1", ["1.1", "1.2"]),
        ("2.25.1.2", ["1.2"]),
        ("2.25.3.1.1", ["3.1"]),
        ("P-1", ["1.1", "1.2"]),
        ("P-2", ["3.1"]),
        ("chest", ["2.1", "3.1"]),
        ("thorax", ["1.1", "1.2"]),
        ("lung", ["1.2"]),
        ("A*", []),
        ("", ["1.1", "1.2", "2.1", "3.1"]),
        ("2.25.99", []),
        ("<b>", []),
        ("a\\b", []),
    ],
)
def test_a_text_finds_the_case_that_it_names(archive: WebArchive, text: str, series: list[str]) -> None:
    assert found(archive.client, text) == series


def test_modality_and_text_combine(archive: WebArchive) -> None:
    assert found(archive.client, "chest", modality="DX") == ["3.1"]


def test_a_client_that_may_not_see_identity_finds_cases_by_uid_only(tmp_path: Path) -> None:
    with web_archive(tmp_path / "home", ITEMS, dicomweb_networks=()) as archive:
        assert found(archive.client, "2.25.1.1") == ["1.1"]
        for text in ("P-1", "A-17", "chest"):
            assert archive.client.get("/api/cases", params={"find": text}).status_code == 403


def test_a_client_that_nobody_knows_finds_nothing(archive: WebArchive) -> None:
    stranger = TestClient(archive.app, base_url="http://127.0.0.1", client=("10.1.2.3", 1))

    assert stranger.get("/api/cases", params={"find": "A-17"}).status_code == 403


def test_a_text_that_is_too_long_is_refused(archive: WebArchive) -> None:
    assert archive.client.get("/api/cases", params={"find": "x" * 129}).status_code == 400
