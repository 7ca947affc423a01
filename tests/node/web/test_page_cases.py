"""The page's list of cases, its series and previews."""

import io
import tempfile
from pathlib import Path

import numpy as np
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from node.home import Reading
from node.web.page.case_lists import series_by_modality
from storage.database.database import Database, Item
from storage.record import Level
from tests.support.web.invented_page import MAP_SIZE, MODEL, item, picture, private, uids


def test_cases_are_listed_latest_first_one_a_series(reading: Reading, client: TestClient) -> None:
    reading.database.append([item(number, 0) for number in range(9)])

    listed = client.get("/api/cases")
    pages = [client.get("/api/cases", params={"offset": offset, "limit": 2}) for offset in (0, 2, 4, 6)]

    assert listed.json()["total"] == 5
    assert [each["images"] for each in listed.json()["cases"]] == [1, 2, 2, 2, 2]
    assert uids(listed, "cases") == ["2.25.28", "2.25.27", "2.25.25", "2.25.23", "2.25.21"]
    assert [uid for page in pages for uid in uids(page, "cases")] == uids(listed, "cases")


def test_cases_are_listed_by_modality(reading: Reading, client: TestClient) -> None:
    reading.database.append([*(item(number, 0) for number in range(4)), private(30, 0)])

    found = {
        query: {each["modality"] for each in client.get(f"/api/cases?{query}").json()["cases"]}
        for query in ("", "modality=", "modality=CT", "modality=MR&modality=DX", "modality=XA")
    }

    assert found == {
        "": {"CT", "MR", "DX"},
        "modality=": {"CT", "MR", "DX"},
        "modality=CT": {"CT"},
        "modality=MR&modality=DX": {"MR", "DX"},
        "modality=XA": set(),
    }


@given(
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["CT", "ct ", "MR", ""])), max_size=30),
    st.sets(st.integers(0, 30)),
)
@settings(deadline=None, max_examples=25)
def test_series_by_modality_is_what_reading_every_series_gives(
    instances: list[tuple[int, str]], removed: set[int]
) -> None:
    with tempfile.TemporaryDirectory() as path, Database.create_or_open(Path(path), 64, MODEL, MAP_SIZE) as database:
        for number, modality in instances:
            database.append([item(number, 0, series={"Modality": modality})])
        database.remove(f"2.25.2{number}" for number in removed)
        with database.snapshot() as snapshot:
            expected: dict[str, list[int]] = {}
            for series in snapshot.entities(Level.SERIES):
                expected.setdefault(series.attributes["Modality"].strip().upper(), []).append(series.ordinal)

            found = {modality: ordinals.tolist() for modality, ordinals in series_by_modality(snapshot).items()}

    assert found == expected


def test_a_series_lists_its_frames_in_order(reading: Reading, client: TestClient) -> None:
    reading.database.append(
        [item(0, 0, instance={"InstanceNumber": "12"}), item(1, 0, instance={"InstanceNumber": "3"}, frames=(0, 4))]
    )

    images = client.get("/api/series/2.25.30").json()["images"]

    assert images == [
        {"uid": "2.25.21", "frame": 1},
        {"uid": "2.25.21", "frame": 5},
        {"uid": "2.25.20", "frame": 1},
    ]
    assert client.get("/api/series/1.2").status_code == 404


def test_a_preview_is_the_picture_that_was_kept(reading: Reading, client: TestClient) -> None:
    reading.database.append([item(5, 0, frames=(2, 9))])

    default, later = client.get("/preview/2.25.25.png"), client.get("/preview/2.25.25.png?frame=10")

    assert default.headers["content-type"] == "image/png"
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(default.content))), picture(7))
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(later.content))), picture(14))


def test_a_preview_is_sent_once(reading: Reading, client: TestClient) -> None:
    reading.database.append([item(5, 0, frames=(2, 9))])
    first = client.get("/preview/2.25.25.png")

    again = client.get("/preview/2.25.25.png", headers={"If-None-Match": first.headers["etag"]})
    other = client.get("/preview/2.25.25.png?frame=10", headers={"If-None-Match": first.headers["etag"]})

    assert "private" in first.headers["cache-control"]
    assert (again.status_code, again.content) == (304, b"")
    assert other.status_code == 200


def test_a_preview_that_is_not_there_is_not_found(reading: Reading, client: TestClient) -> None:
    bare = item(5, 0)
    reading.database.append([Item(bare.record, bare.codes, None, 5), item(6, 0)])

    for path in ("2.25.25.png", "2.25.26.png?frame=2", "9.png"):
        answer = client.get(f"/preview/{path}")
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json"), path
