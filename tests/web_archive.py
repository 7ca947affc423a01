"""A small archive behind DICOMweb, in this process: a client, and the finder that answers C-FIND over the same."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from node.home import Reading
from node.query.find import Finder
from node.query.retriever import Retriever
from node.settings import Settings
from node.web.app import build
from node.web.example_encoder import ExampleEncoder
from storage.database.database import Database, Item
from storage.search.local import LocalIndex
from storage.spool.queue import Spool
from tests.answering import AMPLE_BYTES, ITEMS

HERE = ("127.0.0.1", 50000)
"""Address of a client on this machine."""
BASE = "/dicom-web"


@dataclass
class WebArchive:
    """The node's web application over a database; `app` can be asked as another client, too."""

    settings: Settings
    finder: Finder
    app: Any
    client: TestClient

    def get(self, path: str, **options: Any) -> Any:
        """Answer to a GET below /dicom-web."""
        return self.client.get(BASE + path, **options)


@contextmanager
def web_archive(home: Path, items: Sequence[Item] = ITEMS, **chosen: Any) -> Iterator[WebArchive]:
    """The archive, with chosen settings."""
    usual = {"spool_free_bytes": 0, "longest_delay_s": 0, "receiver_memory_bytes": AMPLE_BYTES}
    settings = Settings(home=home, **{**usual, **chosen})
    with Database.create_or_open(settings.database_path, 64, "model", 1 << 26) as database:
        database.append(items)
        retriever = Retriever(Spool(settings.spool_path, 9, 0), LocalIndex(database).view, "model")
        examples = ExampleEncoder(settings)
        app = build(settings, Reading(database, retriever), examples)
        client = TestClient(app, base_url="http://127.0.0.1", client=HERE)
        try:
            yield WebArchive(settings, Finder(settings, database, retriever), app, client)
        finally:
            examples.stop()
