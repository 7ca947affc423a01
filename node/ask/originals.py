"""Original objects of images that a question names: kept ones, else fetched from the source PACS and used once."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from node.access.data_key import vault_of
from node.errors import Refusal
from node.ingest.pressure import Pressure
from node.ingest.receiver import Receiver
from node.ingest.refusals import Refusals
from node.retrieve.fetch import ExampleFetcher
from node.retrieve.source import SourceArchive
from node.settings import Settings
from storage.objects.object_store import ObjectStore
from storage.spool.queue import Spool

logger = logging.getLogger(__name__)

Check = Callable[[], None]


class Originals:
    """Gives the files of single images: kept ones, or by C-GET into a folder of their own if a source PACS is set.

    Parameters
    ----------
    folder
        Where temporary folders may lie; what an earlier process left there is removed.
    """

    def __init__(self, settings: Settings, folder: Path, refusals: Refusals) -> None:
        self._settings, self._folder, self._refusals = settings, folder, refusals
        self._objects = ObjectStore(settings.objects_path)
        rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)

    @contextmanager
    def file_of(self, sop_instance_uid: str, check: Check) -> Iterator[Path | None]:
        """Path of the image's file, None if it cannot be had within `fetch_limit_s`; a fetched one is removed then."""
        if self._objects.kept([sop_instance_uid]):
            yield self._objects.file(sop_instance_uid)
            return
        folder = Path(mkdtemp(dir=self._folder))
        try:
            yield self._fetched(folder, sop_instance_uid, check) if self._settings.source_peer else None
        finally:
            rmtree(folder, ignore_errors=True)

    def _fetched(self, folder: Path, sop_instance_uid: str, check: Check) -> Path | None:
        settings = self._settings
        spool = Spool(folder, 2, settings.spool_free_bytes, vault=vault_of(settings))
        store = Receiver(spool, Pressure(spool, settings), self._refusals)
        fetcher = ExampleFetcher(settings, SourceArchive(settings, store), spool, moves=False)
        try:
            fetcher.deliver([sop_instance_uid], check)
        except Refusal as refusal:
            logger.warning("image %s cannot be fetched: %s", sop_instance_uid, refusal)
        return next((entry.path for entry in spool if entry.sop_instance_uid == sop_instance_uid), None)
