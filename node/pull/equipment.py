"""What a job works with: the archive, a transport, budgets, a calendar, and what the node holds already."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Event

from node.dicom.message_reader import InstanceStore
from node.errors import SettingsError
from node.options.pull import PullJob
from node.pull.fetching import StudyFetcher
from node.pull.holdings import Holdings
from node.pull.nightly import NightlyComparison
from node.pull.politeness.budget import Budget
from node.pull.politeness.calendar import Calendar
from node.pull.politeness.gate import Gate
from node.pull.politeness.patience import Patience
from node.pull.reconciliation import CarryOut, Reconciler
from node.pull.search.archive import Archive
from node.pull.search.lister import RangeLister, WorkLister, lister_of
from node.pull.transports.get import GetTransport
from node.pull.transports.move import MoveTransport
from node.pull.transports.transport import Transport
from node.pull.transports.wado import WadoTransport
from node.settings import Settings
from storage.database.database import Database
from storage.progress.job import Job
from storage.progress.progress import Progress
from storage.spool.queue import Spool


@dataclass(frozen=True, slots=True)
class Equipment:
    """Everything that the threads of a job share.

    Attributes
    ----------
    studies
        Budget of studies an hour.
    """

    definition: PullJob
    gate: Gate
    archive: Archive
    lister: RangeLister | WorkLister
    fetcher: StudyFetcher
    holdings: Holdings
    studies: Budget
    nightly: NightlyComparison


def equip(
    settings: Settings,
    progress: Progress,
    job: Job,
    database: Database,
    spool: Spool,
    receiver: InstanceStore,
    carry_out: CarryOut,
    stop: Event,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Equipment:
    """Make the equipment of a job.

    Raises
    ------
    SettingsError, PeerError
        The settings lack what the job needs.
    """
    definition = PullJob(**job.definition)
    gate = Gate(progress, job, Calendar.of(definition), spool, settings.pull_max_waiting, stop, now)
    patience = Patience(settings.pull_slow_factor, settings.pull_max_pause_s)

    def rest(seconds: float) -> None:
        """Leave a slow archive alone."""
        gate.rest(seconds, "the archive is slow")
        gate.wait_rest()

    archive = Archive(settings, definition.source, receiver, patience, rest, gate.check)
    holdings = Holdings(database, spool)
    transport = _transport(settings, definition, archive, holdings, receiver)
    reconciler = Reconciler(progress, job, definition, database, archive, carry_out)
    return Equipment(
        definition,
        gate,
        archive,
        lister_of(progress, job, definition, settings.pull_path, settings.pull_window_results),
        StudyFetcher(settings, definition, archive, transport, holdings),
        holdings,
        Budget.of_studies(definition.studies_per_hour),
        NightlyComparison(settings, progress, job, definition, reconciler, gate),
    )


def _transport(
    settings: Settings, definition: PullJob, archive: Archive, holdings: Holdings, receiver: InstanceStore
) -> Transport:
    budget = Budget.of_bytes(definition.megabytes_per_s)
    if definition.transport == "C-GET":
        return GetTransport(archive, receiver, budget)
    if definition.transport == "C-MOVE":
        return MoveTransport(archive, settings.ae_title, holdings, budget)
    peer = settings.peers.get(definition.source)
    if peer is None:
        raise SettingsError(f"{definition.source!r} is not in the table of peers")
    return WadoTransport(archive, peer.dicomweb_url, definition, receiver, budget)
