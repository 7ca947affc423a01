"""One attempt to bring in a study: listed at IMAGE level, what is missing fetched, and counted against the list."""

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from node.errors import PeerError
from node.options.pull import PullJob
from node.pull.holdings import Holdings
from node.pull.search.archive import Archive
from node.pull.search.listing import ListedInstance, StudyListing, choose, list_study
from node.pull.transports.transport import Delivery, Transport, batches_of
from node.settings import Settings
from storage.progress.entry import StudyEntry, StudyState

logger = logging.getLogger(__name__)

MAX_PAUSE_S: Final = 86_400.0
MAX_REASON: Final = 300
"""Longest reason, characters."""
MAX_SINGLE: Final = 500
"""Instances that are asked for one by one when a list of them brought nothing."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What an attempt came to.

    Attributes
    ----------
    entry
        The study afterwards.
    fetched, fetched_bytes
        Instances that came, and their bytes.
    """

    entry: StudyEntry
    fetched: int = 0
    fetched_bytes: int = 0


class StudyFetcher:
    """Brings in studies of one job.

    Parameters
    ----------
    jitter
        Random number in [0, 1).
    """

    def __init__(
        self,
        settings: Settings,
        definition: PullJob,
        archive: Archive,
        transport: Transport,
        holdings: Holdings,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._settings, self._definition, self._archive = settings, definition, archive
        self._transport, self._holdings, self._jitter = transport, holdings, jitter

    def fetch(self, entry: StudyEntry) -> Attempt:
        """Bring in what is missing of a study, nothing else.

        Raises
        ------
        PeerError
            The archive cannot be asked at all: no fault of the study.
        PullStoppedError
            The job may not go on now; what came stays.
        """
        uid = entry.study_instance_uid
        with self._archive.queries() as queries:
            listing = list_study(queries, uid)
        entry = replace(entry, modalities=listing.modalities or entry.modalities)
        if not listing.instances:
            return Attempt(self._failed(entry, "the archive lists no instance of it"))
        chosen = choose(listing.instances, self._definition)
        delivery, lacking = Delivery(), self._holdings.lacking(one.sop_instance_uid for one in chosen)
        if lacking:
            lacking = self._fetch(listing, [one for one in chosen if one.sop_instance_uid in lacking], delivery)
        entry = replace(entry, listed=len(listing.instances), chosen=len(chosen), received=len(chosen) - len(lacking))
        return Attempt(self._judged(entry, listing, delivery), len(delivery.uids), delivery.size_bytes)

    def _fetch(self, listing: StudyListing, missing: list[ListedInstance], delivery: Delivery) -> set[str]:
        """Fetch instances, and those that did not come one by one; return the UIDs of those still missing."""
        lacking = {one.sop_instance_uid for one in missing}
        for size in ({}, {"size": 1}):
            missing = [one for one in missing if one.sop_instance_uid in lacking]
            if size and len(missing) > MAX_SINGLE:
                break
            try:
                batches = list(batches_of(missing, listing.instances, **size))
                self._transport.fetch(listing.study_instance_uid, batches, delivery)
            except PeerError as error:
                delivery.note(str(error))
                return self._holdings.lacking(lacking) - delivery.uids
            lacking = self._holdings.lacking(lacking) - delivery.uids
            if not lacking:
                break
        return lacking

    def _judged(self, entry: StudyEntry, listing: StudyListing, delivery: Delivery) -> StudyEntry:
        """Return the study as done if everything is here, else as failed."""
        if not listing.is_whole:
            listed = f"the archive lists {len(listing.instances)} of {listing.announced} instances at IMAGE level"
            return self._failed(entry, listed)
        if entry.received < entry.chosen:
            told = "; ".join(delivery.problems) or "the archive reports success"
            return self._failed(entry, f"{entry.chosen - entry.received} of {entry.chosen} did not come: {told}")
        announced = max(entry.announced, len(listing.instances))
        logger.info("study %s is done: %d instances", entry.study_instance_uid, entry.received)
        return replace(entry, state=StudyState.DONE, announced=announced, attempts=0, not_before_ns=0, reason="")

    def _failed(self, entry: StudyEntry, reason: str) -> StudyEntry:
        """Return the study as it waits for the next attempt, or parked after the last one."""
        attempts = entry.attempts + 1
        failed = replace(entry, attempts=attempts, reason=reason[:MAX_REASON])
        if attempts >= self._settings.pull_attempts:
            logger.warning("study %s is parked: %s", entry.study_instance_uid, reason)
            return replace(failed, state=StudyState.PARKED, not_before_ns=0)
        pause_s = min(MAX_PAUSE_S, self._settings.pull_retry_s * 2.0 ** (attempts - 1)) * (0.5 + self._jitter() / 2)
        logger.warning("study %s is tried again in %.0f s: %s", entry.study_instance_uid, pause_s, reason)
        return replace(failed, state=StudyState.WAITING, not_before_ns=time.time_ns() + int(pause_s * 1e9))
