"""Images of a question that were not sent with it: fetched from the source PACS, used once, and never indexed."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from node.errors import Refusal
from node.ingest.pressure import Pressure
from node.ingest.receiver import Receiver
from node.ingest.refusals import Refusals
from node.retrieve.fetch import ExampleFetcher
from node.retrieve.source import SourceArchive
from node.settings import Settings
from storage.spool.queue import Spool

logger = logging.getLogger(__name__)

Check = Callable[[], None]


class Originals:
    """Fetches single images by C-GET into a folder of their own, as far as a source PACS is set.

    Parameters
    ----------
    folder
        Where temporary folders may lie; what an earlier process left there is removed.
    """

    def __init__(self, settings: Settings, folder: Path, refusals: Refusals) -> None:
        self._settings, self._folder, self._refusals = settings, folder, refusals
        rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)

    @contextmanager
    def file_of(self, sop_instance_uid: str, check: Check) -> Iterator[Path | None]:
        """Path of the image's file, None if it cannot be had within `fetch_limit_s`; it is gone after the block."""
        folder = Path(mkdtemp(dir=self._folder))
        try:
            yield self._fetched(folder, sop_instance_uid, check) if self._settings.source_peer else None
        finally:
            rmtree(folder, ignore_errors=True)

    def _fetched(self, folder: Path, sop_instance_uid: str, check: Check) -> Path | None:
        settings = self._settings
        spool = Spool(folder, 2, settings.spool_free_bytes)
        store = Receiver(spool, Pressure(spool, settings), self._refusals)
        fetcher = ExampleFetcher(settings, SourceArchive(settings, store), spool, moves=False)
        try:
            fetcher.deliver([sop_instance_uid], check)
        except Refusal as refusal:
            logger.warning("image %s cannot be fetched: %s", sop_instance_uid, refusal)
        return next((entry.path for entry in spool if entry.sop_instance_uid == sop_instance_uid), None)
