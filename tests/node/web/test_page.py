"""The web page: what it loads, what every answer has, and what it never shows."""

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from fastapi.testclient import TestClient

from hashing.phantoms.body.person import person
from hashing.phantoms.dicom_header import header
from hashing.phantoms.schedule import schedule
from node.errors import HTTP_STATUS, Refusal, Status
from node.home import Reading, open_outbox, open_questions
from node.query.retriever import Retriever
from node.settings import Settings
from node.web.app import WEB
from node.web.page.node_state import PHANTOM_HOSPITAL
from storage.record import patient_key
from storage.spool.outbox import ResultObject
from tests.support.web.invented_page import MODEL, SCRIPT, SECRETS, connect, item, private


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
    assert status["questions"] == {"asked": 0, "answered": 0, "waiting": 0, "failed": 0}


def test_status_tells_what_became_of_questions_that_were_sent(client: TestClient, home: Settings) -> None:
    arrival = open_questions(home).open("CT").begin()
    outbox = open_outbox(home)
    for question in ("sent", "refused"):
        outbox.add(question, "PACS", [ResultObject(f"1.{question}", (b"x",))])
    outbox.sent(outbox.due()[0])
    outbox.give_up(outbox.due()[0])

    questions = client.get("/api/status").json()["questions"]

    arrival.abandon()
    assert questions == {"asked": 3, "answered": 2, "waiting": 1, "failed": 1}


def test_phantoms_are_called_so_only_while_there_is_nothing_else(reading: Reading, client: TestClient) -> None:
    def phantoms_only() -> bool:
        return bool(client.get("/api/status").json()["phantoms_only"])

    empty = phantoms_only()
    reading.database.append([item(0, 0, study={"InstitutionName": PHANTOM_HOSPITAL})])
    sampled = phantoms_only()
    reading.database.append([item(20, 0, study={"InstitutionName": "Elsewhere"})])

    assert (empty, sampled, phantoms_only()) == (False, True, False)
    assert header(person(0, 0), schedule(0)[0], 1).InstitutionName == PHANTOM_HOSPITAL


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
    failures = {status for status in Status if 0xA700 <= status < Status.CANCEL} - {
        Status.WARNING,
        Status.RESPONSE_LIMIT_REACHED,
    }

    assert set(HTTP_STATUS) == failures | {Status.NOT_AUTHORIZED}
    assert all(400 <= http < 600 for http in HTTP_STATUS.values())


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
