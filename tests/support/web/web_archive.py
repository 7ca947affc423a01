"""A small archive behind DICOMweb, in this process: a client, and the finder that answers C-FIND over the same."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from threading import Event, Thread
from typing import Any

from fastapi.testclient import TestClient

from node.home import Reading
from node.query.find import Finder
from node.query.retriever import Retriever
from node.settings import Settings
from node.web.app import build, serve
from node.web.resources import WebResources
from storage.database.database import Database, Item
from storage.search.local import LocalIndex
from storage.spool.queue import Spool
from tests.support.dicom.answering import AMPLE_BYTES, ITEMS
from tests.support.running import free_port, wait_until

HERE = ("127.0.0.1", 50000)
"""Address of a client on this machine."""
BASE = "/dicom-web"


@dataclass
class WebArchive:
    """The node's web application over a database; `app` can be asked as another client, too."""

    resources: WebResources
    app: Any
    client: TestClient

    @property
    def finder(self) -> Finder:
        """What answers C-FIND over the same database."""
        return self.resources.finder

    @property
    def spool(self) -> Spool:
        """Where stored instances wait."""
        return self.resources.finder.retriever.spool

    def get(self, path: str, **options: Any) -> Any:
        """Answer to a GET below /dicom-web."""
        return self.client.get(BASE + path, **options)


@contextmanager
def web_archive(home: Path, items: Sequence[Item] = ITEMS, **chosen: Any) -> Iterator[WebArchive]:
    """The archive, with chosen settings."""
    usual = {
        "spool_free_bytes": 0,
        "longest_delay_s": 0,
        "receiver_memory_bytes": AMPLE_BYTES,
        "http_port": free_port(),
    }
    settings = Settings(home=home, **{**usual, **chosen})
    with Database.create_or_open(settings.database_path, 64, "model", 1 << 26) as database:
        database.append(items)
        retriever = Retriever(Spool(settings.spool_path, 9, 0), LocalIndex(database).view, "model")
        resources = WebResources.of(settings, Reading(database, retriever))
        app = build(resources)
        client = TestClient(app, base_url="http://127.0.0.1", client=HERE)
        try:
            yield WebArchive(resources, app, client)
        finally:
            resources.close()


@contextmanager
def served(archive: WebArchive) -> Iterator[HTTPConnection]:
    """A connection to the archive's own server, which takes bodies as they come."""
    stop, settings = Event(), archive.resources.settings
    serving = Thread(target=serve, args=[archive.resources, stop])
    serving.start()
    wait_until(lambda: _listens(settings.http_port), "the server to listen", 30)
    connection = HTTPConnection("127.0.0.1", settings.http_port, timeout=60)
    try:
        yield connection
    finally:
        connection.close()
        stop.set()
        serving.join()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
