"""How far histories are, as the page, programs and C-FIND say it: honestly, and without patient data."""

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from node.home import Reading
from node.options.pull import PullJob
from node.peers import RemoteEntity
from node.pull.jobs import make_job, open_progress
from node.pull.measures import measures
from node.pull.report import reports
from node.settings import Settings
from storage.progress.coverage import CoverageState, CoverageWatch
from storage.progress.entry import StudyEntry, StudyState
from storage.progress.job import JobState
from tests.support.web.invented_page import connect

DONE = StudyEntry("2.25.1", "20200101", ("CT",), StudyState.DONE, 4, 4, 4, 4)
WAITING = StudyEntry("2.25.2", "20200101", ("CT",), announced=4)
PARKED = StudyEntry("2.25.3", "20190101", ("MR",), StudyState.PARKED, 4, 4, 4, 3, 5, reason="1 of 4 <did> not come")


def planned(home: Settings, *entries: StudyEntry, state: JobState = JobState.RUNNING) -> CoverageWatch:
    """Leave a job with some studies in the home folder."""
    progress = open_progress(home)
    job = make_job(home, progress, "history", PullJob(source="PACS"))
    progress.record(job, entries)
    progress.change_job(job.number, state=state, notes={"waits_for": "the archive is slow", "response_s": 0.5})
    progress.close()
    return CoverageWatch(home.pull_path, home.map_size_bytes)


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, spool_free_bytes=0, peers={"PACS": RemoteEntity(host="127.0.0.1", port=1)})


class Cells(HTMLParser):
    """Texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.feed(text)

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


def client_of(home: Settings, reading: Reading, coverage: CoverageWatch) -> TestClient:
    reading.retriever.coverage = coverage
    return connect(home, reading)


def test_the_page_and_its_json_tell_coverage_by_year_and_modality_and_what_is_parked_and_why(
    home: Settings, reading: Reading
) -> None:
    client = client_of(home, reading, planned(home, DONE, WAITING, PARKED))

    texts = Cells(client.get("/histories").text).texts
    told = client.get("/api/histories").json()

    assert {"history: PACS by C-GET", "1 of 3 listed", "the archive is slow", "1 of 4 <did> not come"} <= set(texts)
    assert [texts[i : i + 5] for i, text in enumerate(texts) if text == "2020"] == [["2020", "CT", "1", "2", "50%"]]
    assert told["coverage"] == "BACKFILLING"
    [job] = told["jobs"]
    assert (job["counts"]["done"], job["parked"][0]["study_instance_uid"]) == (1, "2.25.3")


def test_without_a_job_the_page_says_how_to_begin(home: Settings, reading: Reading) -> None:
    client = client_of(home, reading, CoverageWatch(home.pull_path, home.map_size_bytes))

    assert "lookalike pull plan" in client.get("/histories").text
    assert client.get("/api/histories").json() == {"coverage": "COMPLETE", "jobs": []}


@pytest.mark.parametrize(
    ("entries", "state", "coverage"),
    [
        ((DONE, WAITING), JobState.RUNNING, CoverageState.BACKFILLING),
        ((DONE, WAITING), JobState.PAUSED, CoverageState.BACKFILLING),
        ((DONE, PARKED), JobState.COMPLETE, CoverageState.DEGRADED),
        ((DONE,), JobState.COMPLETE, CoverageState.COMPLETE),
        ((WAITING,), JobState.PLANNED, CoverageState.COMPLETE),
        ((WAITING, PARKED), JobState.CANCELLED, CoverageState.COMPLETE),
    ],
)
def test_coverage_is_complete_only_if_nothing_that_was_started_is_missing(
    home: Settings, entries: tuple[StudyEntry, ...], state: JobState, coverage: CoverageState
) -> None:
    assert planned(home, *entries, state=state).state() is coverage


def test_measures_for_prometheus_tell_states_rates_and_what_waits_without_any_uid(home: Settings) -> None:
    progress = planned(home, DONE, WAITING, replace(PARKED, reason="secret")).progress()
    assert progress is not None

    told = {measure.name: dict(measure.samples) for measure in measures(reports(progress))}
    progress.close()

    assert told["lookalike_pull_studies"] == {("history", state): 1.0 for state in ("waiting", "done", "parked")}
    assert told["lookalike_pull_waits"] == {("history",): 1.0}
    assert told["lookalike_pull_response_seconds"] == {("history",): 0.5}
    assert "2.25" not in str(told)


def test_the_metrics_of_the_node_have_those_of_jobs(home: Settings, reading: Reading) -> None:
    client = client_of(home, reading, planned(home, DONE, WAITING))

    told = client.get("/metrics").text

    assert 'lookalike_pull_studies{job="history",state="done"} 1.0' in told
    assert 'lookalike_pull_images_total{job="history"} 0.0' in told
    assert "2.25" not in told
