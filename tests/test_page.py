"""The web page: what it answers, and what it never shows."""

import io
import json
import re
import tempfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hashing.codes import Codes, pack
from hashing.phantoms.dicom_header import header
from hashing.phantoms.person import person
from hashing.phantoms.schedule import schedule
from node.errors import HTTP_STATUS, NO_PIXELS, Refusal, Status
from node.home import Reading
from node.query.retriever import Retriever
from node.settings import Settings, load_settings
from node.web.app import PHANTOM_HOSPITAL, WEB, build
from node.web.cases import Patient, patient, series_by_modality
from storage.database.database import Database, Item
from storage.record import Entity, Level, patient_key
from storage.search.local import LocalIndex
from storage.spool.queue import Spool
from tests.invented import record

MAP_SIZE = 2**26
MODEL = "model"
SCRIPT = "<script>alert('x')</script>"
SECRETS = ("Kowalska", "Wanda", "ID-77", "HOSPITAL-7", "19710203", "Przybylski", "ACC-99", "2021-03-04", "20210304")


def code(ones: int) -> Codes:
    """Code of 64 bits whose first `ones` are set: its distance from `code(0)`."""
    return pack(np.arange(64)[None, :] < ones)


def picture(number: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    y, x = np.mgrid[0:224, 0:224]
    return np.asarray((x + number * y) % 256, np.uint8)


def item(number: int, ones: int, **changes: Any) -> Item:
    """Instance `number`, as far from code 0 as `ones` says, one bit more with each further frame."""
    made = record(number, **changes)
    codes = np.concatenate([code(ones + place) for place in range(len(made.frames))])
    previews = np.stack([picture(number + frame) for frame in made.frames])
    return Item(made, codes, previews, pixel_digest=number)


def private(number: int, ones: int, **changes: Any) -> Item:
    """Instance with everything that must not be shown."""
    attributes: dict[str, Any] = {
        "patient_key": patient_key("ID-77", "HOSPITAL-7", "1"),
        "patient": {
            "PatientName": "Kowalska^Wanda",
            "PatientID": "ID-77",
            "IssuerOfPatientID": "HOSPITAL-7",
            "PatientBirthDate": "19710203",
            "PatientSex": "F",
        },
        "study": {
            "StudyDate": "20210304",
            "AccessionNumber": "ACC-99",
            "ReferringPhysicianName": "Przybylski^Jan",
            "StudyDescription": "Chest",
        },
        "series": {"Modality": "DX", "BodyPartExamined": "CHEST", "SeriesDescription": SCRIPT},
    }
    return item(number, ones, **(attributes | changes))


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path, spool_free_bytes=0)


@pytest.fixture
def reading(home: Settings) -> Iterator[Reading]:
    with Database.create_or_open(home.database_path, 64, MODEL, MAP_SIZE) as database:
        yield Reading(database, Retriever(Spool(home.spool_path, 10, 0), LocalIndex(database).view, MODEL))


@pytest.fixture
def client(home: Settings, reading: Reading) -> TestClient:
    return connect(home, reading)


def connect(home: Settings, reading: Reading) -> TestClient:
    return TestClient(build(home, reading), base_url=f"http://{home.host}")


def uids(response: Any, name: str) -> list[str]:
    return [each["uid"] for each in response.json()[name]]


class Markup(HTMLParser):
    """Tags, and what stands between script or style tags."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inline = ""
        self._raw = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._raw = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._raw = False

    def handle_data(self, data: str) -> None:
        self.inline += data.strip() if self._raw else ""


def test_the_page_and_all_that_it_loads_come_from_the_node(client: TestClient) -> None:
    page = client.get("/")
    markup = Markup()
    markup.feed(page.text)

    loaded = [str(each.get("src") or each.get("href")) for tag, each in markup.tags if tag in ("script", "link", "img")]

    assert page.headers["content-type"].startswith("text/html")
    assert len(loaded) >= 3
    for path in loaded:
        assert client.get(f"/{path}").status_code == 200, path
    assert markup.inline == ""
    assert not [
        name for _, attributes in markup.tags for name in attributes if name == "style" or name.startswith("on")
    ]
    for file in WEB.iterdir():
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", file.read_text()), file


def test_scripts_put_text_into_the_page_as_text_only() -> None:
    sources = "".join(path.read_text() for path in WEB.glob("*.js"))

    assert "replaceChildren" in sources
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|srcdoc", sources
    )


@pytest.mark.parametrize("path", ["/", "/healthz", "/api/status", "/api/similar/9", "/api/cases?limit=0", "/nowhere"])
def test_every_answer_forbids_what_is_not_the_pages_own(client: TestClient, path: str) -> None:
    headers = client.get(path).headers

    policy = dict(each.strip().split(" ", 1) for each in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["img-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


def test_status_tells_what_is_indexed_waits_and_was_set_aside(reading: Reading, client: TestClient) -> None:
    reading.database.append([item(number, 0) for number in range(10)])
    spool = reading.retriever.spool
    spool.put([b"waits"])
    for reason in ("not-readable", "no-pixel-data", "no-pixel-data"):
        spool.set_aside(spool.put([b"x"]), reason, "", {}, keep=False)

    status = client.get("/api/status").json()

    assert status["indexed"] == {"PATIENT": 2, "STUDY": 3, "SERIES": 5, "IMAGE": 10}
    assert (status["codes"], status["code_length"], status["model"]) == (10, 64, MODEL)
    assert (status["ae_title"], status["host"], status["port"]) == ("LOOKALIKE", "127.0.0.1", 11112)
    assert status["waiting"] == 1
    assert status["set_aside"] == {"not-readable": 1, "no-pixel-data": 2}
    assert status["modalities"] == {"CT": 3, "MR": 2}


def test_phantoms_are_called_so_only_while_there_is_nothing_else(reading: Reading, client: TestClient) -> None:
    def phantoms_only() -> bool:
        return bool(client.get("/api/status").json()["phantoms_only"])

    empty = phantoms_only()
    reading.database.append([item(0, 0, study={"InstitutionName": PHANTOM_HOSPITAL})])
    sampled = phantoms_only()
    reading.database.append([item(20, 0, study={"InstitutionName": "Elsewhere"})])

    assert (empty, sampled, phantoms_only()) == (False, True, False)
    assert header(person(0, 0), schedule(0)[0], 1).InstitutionName == PHANTOM_HOSPITAL


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


def test_look_alikes_come_nearest_first_without_the_own_patient(reading: Reading, client: TestClient) -> None:
    reading.database.append([item(number, number) for number in range(20)])

    answer = client.get("/api/similar/2.25.20", params={"k": 5}).json()

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
        answer = client.get("/api/similar/2.25.20", params=asked).json()
        return [(match["uid"], match["distance"]) for match in answer["matches"]]

    assert matches(level="STUDY") == [("2.25.28", 7), ("2.25.212", 11)]
    assert matches(level="SERIES", modality="MR") == [("2.25.210", 9), ("2.25.214", 13)]
    assert matches(k=1, frame=1) == [("2.25.28", 8)]
    assert matches(k=1, frame=31) == [("2.25.28", 7)]


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


@pytest.mark.parametrize(
    "query",
    ["k=0", "k=501", "k=many", "level=PATIENT", "exclude=NONE", "frame=0", "modality=" + 65 * "A"],
)
def test_a_question_that_makes_no_sense_is_refused(reading: Reading, client: TestClient, query: str) -> None:
    reading.database.append([item(0, 0)])

    answer = client.get(f"/api/similar/2.25.20?{query}")

    assert (answer.status_code, answer.json()["dimse_status"]) == (400, "A900")
    assert query.partition("=")[0] in answer.json()["detail"]


@pytest.mark.parametrize(
    ("error", "status"),
    [(Refusal(Status.OUT_OF_RESOURCES, "busy"), 503), (RuntimeError("ID-77"), 500), (KeyError("ID-77"), 500)],
)
def test_a_node_in_trouble_says_so_and_no_more(home: Settings, reading: Reading, error: Exception, status: int) -> None:
    class Troubled(Retriever):
        def similar(self, *_: Any, **__: Any) -> Any:
            raise error

    client = connect(home, Reading(reading.database, Troubled(reading.retriever.spool, reading.retriever.view, MODEL)))

    answer = client.get("/api/similar/2.25.20")

    assert answer.status_code == answer.json()["status"] == status
    assert "ID-77" not in answer.text
    assert ("retry-after" in answer.headers) == (status == 503)


def test_a_failure_has_one_http_status() -> None:
    failures = {status for status in Status if 0xA700 <= status < Status.CANCEL}

    assert set(HTTP_STATUS) == failures
    assert all(400 <= http < 600 for http in HTTP_STATUS.values())


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


def test_nothing_that_names_a_patient_leaves_through_the_page(reading: Reading, client: TestClient) -> None:
    other = {"patient_key": patient_key("ID-778", "HOSPITAL-7", "1"), "study_instance_uid": "2.25.77"}
    reading.database.append([private(0, 0), private(1, 1), private(8, 2, **other)])
    paths = [
        "/", "/healthz", "/readyz", "/api/status", "/api/cases", "/api/cases?modality=DX", "/api/series/2.25.30",
        "/api/similar/2.25.20", "/api/similar/2.25.20?exclude=SELF", "/api/similar/2.25.20?level=STUDY",
        "/api/similar/2.25.20?level=SERIES&exclude=", "/api/similar/ID-77", "/preview/2.25.20.png",
        "/preview/ID-77.png",
    ]  # fmt: skip

    bodies = {path: client.get(path) for path in paths}

    assert bodies["/api/similar/2.25.20"].json()["matches"][0]["uid"] == "2.25.28"
    for path, answer in bodies.items():
        everything = answer.text + json.dumps(dict(answer.headers))
        assert not [secret for secret in SECRETS if secret.lower() in everything.lower()], path
    shown = bodies["/api/similar/2.25.20"].json()["example"]
    assert (shown["sex"], shown["age"], shown["year"]) == ("F", 50, 2021)


def test_markup_in_an_attribute_stays_text(reading: Reading, client: TestClient) -> None:
    reading.database.append([private(0, 0)])

    answer = client.get("/api/cases")

    assert answer.json()["cases"][0]["series_description"] == SCRIPT
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert SCRIPT not in client.get("/").text
