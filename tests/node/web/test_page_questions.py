"""Questions of the page: filters, refinements, one answer a patient, chance, and lists by study."""

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError

from node.home import Reading
from node.settings import Settings
from storage.record import patient_key
from storage.search.chance import FILE, compute
from tests.support.web.invented_page import item, uids


def filled(reading: Reading) -> None:
    """Five studies of four images, of three patients; instance n lies n bits from instance 0."""
    reading.database.append([item(number, number) for number in range(20)])


def matches(client: TestClient, **asked: Any) -> list[str]:
    answer = client.get("/api/similar/2.25.20", params={"k": 50, "exclude": "SELF", "distinct": "NONE", **asked})
    assert answer.status_code == 200, answer.text
    return [uid.removeprefix("2.25.2") for uid in uids(answer, "matches")]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"sex": "F"}, range(8, 16)),
        ({"sex": ["M", "O"]}, [*range(1, 8), *range(16, 20)]),
        ({"modality": "MR", "date": "20200301-20200331"}, [10, 11]),
        ({"date": "-20200131"}, [1, 2, 3]),
        ({"date": "20200501-"}, range(16, 20)),
        ({"body_part": "CHEST"}, range(1, 20)),
        ({"body_part": "HEAD"}, []),
        ({"manufacturer": "ACME"}, []),
        ({"age": "0-200"}, []),
    ],
)
def test_each_filter_is_applied_before_the_nearest_are_taken(
    reading: Reading, client: TestClient, asked: dict[str, Any], expected: list[int]
) -> None:
    filled(reading)

    assert matches(client, **asked) == [str(number) for number in expected]


def test_ages_are_filtered_in_whole_years(reading: Reading, client: TestClient) -> None:
    ages = {4: "059Y", 8: "060Y", 12: "061Y", 16: ""}
    aged = [item(number, number, study={"PatientAge": age}) for number, age in ages.items()]
    reading.database.append([item(0, 0), *aged])

    found = {asked: matches(client, age=asked) for asked in ("60-", "-60", "60-60", "-")}

    assert found == {"60-": ["8", "12"], "-60": ["4", "8"], "60-60": ["8"], "-": ["4", "8", "12", "16"]}


def test_a_case_that_is_left_out_takes_all_of_its_patient_with_it(reading: Reading, client: TestClient) -> None:
    filled(reading)

    assert matches(client, without="2.25.29") == [str(n) for n in (*range(1, 8), *range(16, 20))]
    assert matches(client, without=["2.25.29", "2.25.219"]) == [str(n) for n in range(1, 8)]
    assert matches(client, without="9.9") == [str(n) for n in range(1, 20)]


def test_a_case_without_patient_id_is_left_out_with_its_study(reading: Reading, client: TestClient) -> None:
    unnamed = [item(number, number, patient_key=patient_key("", "", f"2.25.4{number // 4}")) for number in range(12)]
    reading.database.append(unnamed)

    assert matches(client, without="2.25.25") == [str(n) for n in (1, 2, 3, 8, 9, 10, 11)]


def test_further_examples_attract_their_own_look_alikes(reading: Reading, client: TestClient) -> None:
    filled(reading)

    assert matches(client, k=3) == ["1", "2", "3"]
    assert matches(client, k=4, also="2.25.218") == ["1", "17", "19", "16"]


def test_one_of_each_patient_folds_near_duplicates_into_it(reading: Reading, client: TestClient) -> None:
    filled(reading)
    copy = replace(item(30, 8, patient_key=patient_key("P-30", "", "s")), pixel_digest=8)  # of instance 8
    reading.database.append([copy])

    answer = client.get("/api/similar/2.25.20", params={"distinct": "PATIENT"}).json()

    assert [match["uid"] for match in answer["matches"]] == ["2.25.230", "2.25.216"]
    assert [match["duplicates"] for match in answer["matches"]] == [1, 0]


def test_chance_is_a_number_once_its_table_is_there(reading: Reading, client: TestClient) -> None:
    filled(reading)
    before = client.get("/api/similar/2.25.20").json()["matches"][0]["expectation"]
    table = asdict(compute(reading.database))
    (reading.database.path / FILE).write_text(json.dumps(table))

    found = [match["expectation"] for match in client.get("/api/similar/2.25.20").json()["matches"]]

    assert before is None
    assert found == sorted(found)
    assert 0 < found[0] < found[-1] <= 12


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("age=x", "age"), ("age=70-60", "age"), ("date=2020-", "date"), ("sex=Q", "sex"), ("distinct=ALL", "distinct"),
        ("without=x", "without"), ("also=ID-77", "also"), ("region=1,2,3", "region"),
        ("region=1,1,9,9&also=1.2", "region"), ("&".join(65 * ["without=1"]), "without"),
    ],
)  # fmt: skip
def test_a_refinement_that_makes_no_sense_is_refused(
    reading: Reading, client: TestClient, query: str, name: str
) -> None:
    filled(reading)

    answer = client.get(f"/api/similar/2.25.20?{query}")

    assert (answer.status_code, answer.json()["dimse_status"]) == (400, "A900")
    assert name in answer.json()["detail"]


def test_a_region_or_a_reason_needs_the_process_that_holds_the_model(reading: Reading, client: TestClient) -> None:
    filled(reading)
    reading.database.append([item(40, 0, instance={"Rows": "512", "Columns": "512"})])

    answers = [
        client.get("/api/similar/2.25.240?region=1,1,256,256"),
        client.get("/api/why?query=2.25.20&match=2.25.21"),
        client.get("/dicom-web/why?query=2.25.20&match=2.25.21"),
    ]

    assert [(answer.status_code, answer.json()["dimse_status"]) for answer in answers] == 3 * [(503, "A700")]
    assert all("retry-after" in answer.headers for answer in answers)
    for outside in ("1,1,513,513", "9,9,1,1", "0,1,9,9"):
        answer = client.get(f"/api/similar/2.25.240?region={outside}")
        assert (answer.status_code, answer.json()["dimse_status"]) == (422, "C106")
    assert client.get("/api/why?query=9&match=2.25.21").status_code == 404


def test_studies_are_listed_by_their_date_and_series_by_arrival(reading: Reading, client: TestClient) -> None:
    dates = {0: "20190101", 4: "20230101", 8: "20210101", 12: ""}
    reading.database.append([
        item(first + number, 0, study={"StudyDate": date}) for first, date in dates.items() for number in range(3)
    ])  # fmt: skip

    studies = client.get("/api/cases", params={"by": "study"}).json()
    of_mr = client.get("/api/cases", params={"by": "study", "modality": "MR"}).json()
    second = client.get("/api/cases", params={"by": "study", "offset": 1, "limit": 1}).json()

    assert [case["study_uid"] for case in studies["cases"]] == ["2.25.41", "2.25.42", "2.25.40", "2.25.43"]
    assert [(case["series"], case["images"]) for case in studies["cases"]] == 4 * [(2, 3)]
    assert {case["modality"] for case in studies["cases"]} == {"CT"}
    assert [(case["modality"], case["series"], case["images"]) for case in of_mr["cases"]] == 4 * [("MR", 1, 1)]
    assert (second["total"], [case["study_uid"] for case in second["cases"]]) == (4, ["2.25.42"])


@pytest.mark.parametrize(
    ("address", "is_valid"),
    [
        ("https://viewer.hospital/viewer?StudyInstanceUIDs={study}", True),
        ('weasis://%24dicom%3Ars+--url+%22http%3A%2F%2Fpacs%2Fdicom-web%22+-r+%22studyUID%3D{study}%22', True),
        ("https://viewer.hospital/{series}/{instance}", True),
        ("https://viewer.hospital/", False),
        ("javascript:alert('{study}')", False),
        ("https://viewer.hospital/?patient={patient}&study={study}", False),
    ],
)  # fmt: skip
def test_only_addresses_of_viewers_become_links(address: str, is_valid: bool) -> None:
    if is_valid:
        assert Settings(viewers={"Viewer": address}).viewers == {"Viewer": address}
    else:
        with pytest.raises(ValidationError, match="is none of a viewer"):
            Settings(viewers={"Viewer": address})
