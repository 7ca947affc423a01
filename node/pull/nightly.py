"""The nightly comparison of the index with the archive: when it runs, and how far it got before a restart."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from node.options.pull import PullJob
from node.pull.politeness.gate import Gate
from node.pull.reconciliation import ArchiveComparison, Reconciler
from node.settings import Settings
from storage.durable import write_durably
from storage.progress.job import Job
from storage.progress.progress import Progress

NOW: Final = "compare_now"
"""Note of a job by which a command asks for a comparison."""
POSITION, SO_FAR, DAY, SENTENCE = "compared_to", "comparison", "compared_on", "reconciled"


class NightlyComparison:
    """Compares a job's studies with the archive once a day, and when a command asks for it."""

    def __init__(
        self,
        settings: Settings,
        progress: Progress,
        job: Job,
        definition: PullJob,
        reconciler: Reconciler,
        gate: Gate,
    ) -> None:
        self._settings, self._progress, self._job = settings, progress, job
        self._definition, self._reconciler, self._gate = definition, reconciler, gate

    def step(self) -> bool:
        """Compare some studies, if it is time to; False if it is not.

        Raises
        ------
        PeerError, Refusal
            The archive cannot be asked, or the writer of the database is busy: this step is repeated.
        """
        notes, now = self._progress.job_at(self._job.number).notes, self._gate.now()
        if notes.get(POSITION) is None and not self._is_due(notes, now):
            return False
        found = ArchiveComparison(**notes.get(SO_FAR, {}))
        position = self._reconciler.step(notes.get(POSITION) or "", found)
        if position is None:
            self._end(found, now)
        else:
            self._progress.change_job(self._job.number, notes={POSITION: position, SO_FAR: asdict(found)})
        return True

    def _is_due(self, notes: Any, now: datetime) -> bool:
        if notes.get(NOW):
            return True
        calendar = self._gate.calendar
        today = calendar.day(now)
        made = datetime.fromtimestamp(self._job.created_ns / 1e9, UTC)
        last = notes.get(DAY) or calendar.day(made).isoformat()
        is_time = now >= calendar.at(today, self._settings.pull_reconcile_at)
        return self._definition.reconcile and is_time and last < today.isoformat()

    def _end(self, found: ArchiveComparison, now: datetime) -> None:
        """Store the result, for people with the job and for programs as a file."""
        here = now.astimezone(self._gate.calendar.zone)
        report = {"job": self._job.name, "ended": here.isoformat(), **asdict(found)}
        path = self._settings.pull_path / f"comparison-{self._job.number}.json"
        write_durably([json.dumps(report, indent=2).encode()], path.with_suffix(".tmp"), path)
        ended: dict[str, Any] = {POSITION: None, SO_FAR: {}, NOW: False, DAY: here.date().isoformat()}
        sentence = f"{here:%Y-%m-%d %H:%M}: {found.sentence}"
        self._progress.change_job(self._job.number, notes={**ended, SENTENCE: sentence})
