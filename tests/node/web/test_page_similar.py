"""The page's look-alikes: order, whose they are, and what cannot be asked."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from node.errors import NO_PIXELS
from node.home import Reading
from node.web.cases import Patient, patient
from storage.record import Entity, Level, patient_key
from storage.search.chance import compute, write
from tests.support.web.invented_page import item


def test_look_alikes_come_nearest_first_without_the_own_patient(reading: Reading, client: TestClient) -> None:
    reading.database.append([item(number, number) for number in range(20)])

    answer = client.get("/api/similar/2.25.20", params={"k": 5, "distinct": "NONE"}).json()

    assert answer["example"]["uid"] == "2.25.20"
    assert answer["candidates"] == 12
    assert [match["uid"] for match in answer["matches"]] == [f"2.25.2{number}" for number in range(8, 13)]
    assert [match["distance"] for match in answer["matches"]] == [8, 9, 10, 11, 12]
    assert [match["score"] for match in answer["matches"]] == [1 - distance / 64 for distance in (8, 9, 10, 11, 12)]
    assert {match["patient"] for match in answer["matches"]} == {"OTHER"}


def test_the_own_patient_is_marked_when_it_is_let_in(reading: Reading, client: TestClient) -> None:
    reading.database.append([item(number, number) for number in (0, 7, 8)])

    matches = client.get("/api/similar/2.25.20", params={"exclude": "SELF"}).json()["matches"]

    assert [(match["uid"], match["patient"]) for match in matches] == [("2.25.27", "SAME"), ("2.25.28", "OTHER")]


def test_level_modality_and_frame_narrow_a_question(reading: Reading, client: TestClient) -> None:
    reading.database.append([item(0, 0, frames=(0, 30)), *(item(number, number) for number in range(8, 16))])

    def matches(**asked: Any) -> list[tuple[str, int]]:
        answer = client.get("/api/similar/2.25.20", params={"distinct": "NONE", **asked}).json()
        return [(match["uid"], match["distance"]) for match in answer["matches"]]

    assert matches(level="STUDY") == [("2.25.28", 7), ("2.25.212", 11)]
    assert matches(level="SERIES", modality="MR") == [("2.25.210", 9), ("2.25.214", 13)]
    assert matches(k=1, frame=1) == [("2.25.28", 8)]
    assert matches(k=1, frame=31) == [("2.25.28", 7)]


def test_each_patient_gives_one_answer_with_its_duplicates_and_what_chance_would_give(
    reading: Reading, client: TestClient
) -> None:
    reading.database.append([item(number, number) for number in range(20)])

    before = client.get("/api/similar/2.25.20").json()
    write(reading.database, compute(reading.database))
    after = client.get("/api/similar/2.25.20").json()

    patients = [number // 8 for number in (8, 16)]
    assert [match["uid"] for match in after["matches"]] == [f"2.25.2{8 * patient}" for patient in patients]
    assert after["distinct"] == "PATIENT"
    assert [match["duplicates"] for match in after["matches"]] == [0, 0]
    assert {(match["expectation"], match["no_closer_than_chance"]) for match in before["matches"]} == {(None, False)}
    assert all(
        match["no_closer_than_chance"] == (match["expectation"] >= 1) and match["expectation"] > 0
        for match in after["matches"]
    )
    assert after["matches"][-1]["no_closer_than_chance"], "of 20 codes on a line one is as far"


def test_a_region_that_is_none_is_refused(reading: Reading, client: TestClient) -> None:
    reading.database.append([item(0, 0)])

    asked = {text: client.get(f"/api/similar/2.25.20?region={text}") for text in ("5,5,4,9", "0,1,5,5", "1,2,3", "a")}

    assert [answer.json()["dimse_status"] for answer in asked.values()] == ["C106", "C106", "A900", "A900"]


@pytest.mark.parametrize(
    ("own", "other", "expected"),
    [
        (patient_key("1", "A", "s"), patient_key("1", "A", "t"), Patient.SAME),
        (patient_key("1", "A", "s"), patient_key("2", "A", "s"), Patient.OTHER),
        (patient_key("1", "A", "s"), patient_key("1", "B", "s"), Patient.OTHER),
        (patient_key("1", "A", "s"), patient_key("1", "", "s"), Patient.UNKNOWN),
        (patient_key("", "", "s"), patient_key("", "", "s"), Patient.SAME),
        (patient_key("", "", "s"), patient_key("", "", "t"), Patient.UNKNOWN),
        (patient_key("1", "", "s"), patient_key("", "", "t"), Patient.UNKNOWN),
    ],
)
def test_only_patient_ids_tell_patients_apart(own: str, other: str, expected: Patient) -> None:
    one, two = (Entity(Level.IMAGE, 0, {Level.PATIENT: key}, {}) for key in (own, other))

    assert patient(one, two) == patient(two, one) == expected


def test_what_cannot_be_an_example_is_explained(reading: Reading, client: TestClient) -> None:
    reading.database.append([item(0, 0)])
    spool = reading.retriever.spool
    spool.put([b"waits"], "1.1")
    for uid, reason in (("1.2", NO_PIXELS), ("1.3", "not-readable")):
        spool.set_aside(spool.put([b"x"]), reason, "", {"SOPInstanceUID": uid}, keep=False)

    answers = {path: client.get(f"/api/similar/{path}") for path in ("9", "1.1", "1.2", "1.3", "2.25.20?frame=7")}

    assert {path: (answer.status_code, answer.json()["dimse_status"]) for path, answer in answers.items()} == {
        "9": (404, "C101"),
        "1.1": (409, "C105"),
        "1.2": (422, "C102"),
        "1.3": (422, "C103"),
        "2.25.20?frame=7": (422, "C103"),
    }
    assert {answer.headers["content-type"] for answer in answers.values()} == {"application/problem+json"}
    assert all(answer.json()["detail"] for answer in answers.values())
    assert int(answers["1.1"].headers["retry-after"]) > 0
