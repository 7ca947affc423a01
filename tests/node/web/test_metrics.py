"""Measures of the node: what `/metrics` tells, and that documentation, alerts and dashboard name nothing else."""

import errno
import json
import os
import re
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families as families

from node import metrics as module
from node.pull.measures import measures
from tests.support.dicom.answering import ITEMS, answering_node
from tests.support.dicom.archive import identifier, uid
from tests.support.documents import DOCS, rows
from tests.support.running import run_peer
from tests.support.web.web_archive import WebArchive, web_archive

DEPLOY = DOCS.parent / "deploy"
NAME = re.compile(r"lookalike_[a-z_]+")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebArchive]:
    with web_archive(tmp_path_factory.mktemp("metrics") / "home", ITEMS) as archive:
        archive.finder.retriever.spool.put([b"x"])
        archive.resources.receiver.refusals.add("A700 busy, retry", "CT1")
        archive.resources.receiver.refusals.write()
        yield archive


def read(archive: WebArchive) -> dict[str, Any]:
    answer = archive.client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return {one.name: one for one in families(answer.text) if one.name.startswith("lookalike_")}


def test_the_state_of_the_node_is_told(archive: WebArchive) -> None:
    found = read(archive)

    values = {name: one.samples[0].value for name, one in found.items() if len(one.samples) == 1}
    assert values["lookalike_spool_depth"] == 1
    assert 0 <= values["lookalike_spool_oldest_seconds"] < 600
    assert values["lookalike_codes"] == 6
    assert {sample.labels["level"]: sample.value for sample in found["lookalike_indexed"].samples}["study"] == 3
    [refused] = [sample for sample in found["lookalike_refused"].samples if sample.name.endswith("_total")]
    assert (refused.labels, refused.value) == ({"cause": "A700 busy, retry", "caller": "CT1"}, 1)
    assert {sample.value for sample in found["lookalike_role_up"].samples} == {0}


def test_queries_are_timed_by_level_and_kind(archive: WebArchive, tmp_path: Path) -> None:
    with answering_node(tmp_path / "home", ITEMS) as node:
        node.found(identifier("STUDY", StudyInstanceUID=""))

    counts = {
        (sample.labels["level"], sample.labels["kind"]): sample.value
        for sample in read(archive)["lookalike_query_seconds"].samples
        if sample.name.endswith("_count")
    }
    assert counts["STUDY", "ordinary"] >= 1


def test_processes_count_together(tmp_path: Path) -> None:
    count = (
        "import sys; from pathlib import Path; from node.metrics import share_metrics, metrics; "
        "share_metrics(Path(sys.argv[1])); metrics().hashed.inc(2)"
    )
    tell = (
        "import sys; from pathlib import Path; from node.metrics import share_metrics; "
        "share_metrics(Path(sys.argv[1])); "
        "from prometheus_client import CollectorRegistry, generate_latest; "
        "from prometheus_client.multiprocess import MultiProcessCollector; registry = CollectorRegistry(); "
        "MultiProcessCollector(registry); print(generate_latest(registry).decode())"
    )
    for _ in range(2):
        run_peer(sys.executable, "-c", count, tmp_path)

    assert "lookalike_hashed_instances_total 4.0" in run_peer(sys.executable, "-c", tell, tmp_path).stdout


def test_no_patient_is_in_a_measure(archive: WebArchive) -> None:
    text = archive.client.get("/metrics").text

    assert not any(planted in text for planted in ("Doe", "Jane", "20200101", uid("1")))


def test_documentation_alerts_and_dashboard_name_what_is_told(archive: WebArchive) -> None:
    told = set(read(archive)) | {"lookalike_peer_seconds"} | {measure.name for measure in measures([])}
    documented = {name.strip("`") for name, _ in rows("operations.md", "metric", "meaning")}
    alerts = set(NAME.findall((DEPLOY / "prometheus" / "alerts.yml").read_text()))
    dashboard = json.loads((DEPLOY / "grafana" / "lookalike.json").read_text())
    shown = {name for panel in dashboard["panels"] for name in NAME.findall(panel["targets"][0]["expr"])}

    assert {re.sub("_created$", "", name) for name in told} == documented
    for name in alerts | shown:
        assert re.sub("_(total|bucket)$", "", name) in documented, name


def test_many_associations_that_are_the_first_at_once_share_the_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []

    def make() -> object:
        time.sleep(0.05)
        made.append(object())
        return made[-1]

    monkeypatch.setattr(module, "_metrics", [])
    monkeypatch.setattr(module, "Metrics", make)
    with ThreadPoolExecutor(4) as pool:
        found = {id(each.result()) for each in [pool.submit(module.metrics) for _ in range(4)]}

    assert len(made) == len(found) == 1


def test_a_process_without_room_for_its_measures_works_on_without_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / f"counter_{os.getpid()}.db").write_bytes(b"")
    monkeypatch.setenv(module.SHARED, "")
    monkeypatch.setattr(module, "_metrics", [module.metrics()])
    monkeypatch.setattr(os, "posix_fallocate", full)

    module.share_metrics(tmp_path)

    module.metrics().received.labels("0000").inc()
    assert "this process is not measured" in caplog.text
