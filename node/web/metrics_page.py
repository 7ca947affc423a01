"""`/metrics`: the state of the node and what its processes measured, as Prometheus reads them."""

import os
from collections.abc import Iterable

from fastapi import Response
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from node.home import Reading
from node.ingest.pressure import Pressure
from node.ingest.refusals import read_refusals
from node.metrics import SHARED
from node.processes import Role, processes, role_fault, title
from node.pull.measures import measures
from node.pull.report import reports
from node.remote_index import unfed
from node.settings import Settings
from storage.corrections.expiring import expired
from storage.record import LEVELS
from storage.spool.queue import waiting_s

Family = GaugeMetricFamily | CounterMetricFamily


def metrics_response(settings: Settings, reading: Reading) -> Response:
    """Every measure of the node."""
    registry = CollectorRegistry()
    registry.register(_StateCollector(settings, reading))
    if SHARED in os.environ:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        measured = generate_latest(registry)
    else:  # a process by itself, such as a test
        measured = generate_latest(registry) + generate_latest(REGISTRY)
    return Response(measured, media_type=CONTENT_TYPE_LATEST)


class _StateCollector(Collector):
    """What the home folder tells, read anew for each answer."""

    def __init__(self, settings: Settings, reading: Reading) -> None:
        self._settings, self._reading = settings, reading

    def collect(self) -> Iterable[Family]:
        """Yield the state as families of metrics."""
        spool = self._reading.retriever.spool
        yield _gauge("spool_depth", "Instances that wait to be indexed.", len(spool))
        yield _gauge("spool_oldest_seconds", "Age of the oldest of them.", waiting_s(spool))
        fullness = Pressure(spool, self._settings).spool_level()
        yield _gauge("fullest_limit_ratio", "Used part of the fullest limit: objects, disk or memory.", fullness.share)
        yield _counter("set_aside", "Instances that were set aside.", "reason", spool.reasons())
        previews, objects = expired(self._reading.database)
        gone = {"previews": previews, "objects": objects}
        yield _counter("expired", "What was deleted for its age or for its room.", "kind", gone)
        yield self._refused()
        yield self._roles()
        yield from self._indexed()
        yield from self._histories()

    def _refused(self) -> Family:
        refused = CounterMetricFamily("lookalike_refused", "What callers were refused.", labels=["cause", "caller"])
        for one in read_refusals(self._settings.run_path):
            refused.add_metric([one.reason, one.calling_ae_title], one.count)
        return refused

    def _roles(self) -> Family:
        up = GaugeMetricFamily("lookalike_role_up", "1 for a role that gives signs of life.", labels=["role"])
        for role in Role:
            for number in processes(self._settings, role):
                up.add_metric([title(role, number)], float(role_fault(self._settings, role, number) is None))
        return up

    def _histories(self) -> Iterable[Family]:
        """Yield the measures of jobs of the role `pull`."""
        coverage = self._reading.retriever.coverage
        progress = coverage.progress() if coverage else None
        for measure in measures(reports(progress)) if progress else ():
            kind = CounterMetricFamily if measure.is_counter else GaugeMetricFamily
            family: Family = kind(measure.name, measure.meaning, labels=measure.labels)
            for labels, value in measure.samples:
                family.add_metric(labels, value)
            yield family

    def _indexed(self) -> Iterable[Family]:
        with self._reading.database.snapshot() as snapshot:
            counts = {str(level).lower(): snapshot.count(level) for level in LEVELS}
            rows, segment_rows = snapshot.rows, sum(entry.rows for entry in snapshot.segment_entries)
            not_fed = unfed(self._settings, snapshot)
        family = GaugeMetricFamily("lookalike_indexed", "What is indexed.", labels=["level"])
        for level, count in counts.items():
            family.add_metric([level], count)
        yield family
        yield _gauge("codes", "Codes in the database.", rows)
        yield _gauge("codes_in_segments", "Codes that segments of the index serve.", segment_rows)
        yield _gauge("index_unfed", "Indexed instances that Milvus does not know yet.", not_fed or 0)
        size = sum(path.stat().st_blocks * 512 for path in self._settings.database_path.rglob("*") if path.is_file())
        yield _gauge("database_bytes", "Disk space of database and segments.", size)


def _gauge(name: str, meaning: str, value: float) -> Family:
    return GaugeMetricFamily(f"lookalike_{name}", meaning, value=value)


def _counter(name: str, meaning: str, label: str, counts: dict[str, int]) -> Family:
    family = CounterMetricFamily(f"lookalike_{name}", meaning, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family
