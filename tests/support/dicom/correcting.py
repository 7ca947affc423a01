"""A node in this process that follows corrections, with the writer of its database beside it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

from pydicom.dataset import Dataset, FileDataset
from pynetdicom import AE, build_context
from pynetdicom.sop_class import KeyObjectSelectionDocumentStorage  # type: ignore[attr-defined]

from node.corrections.corrector import Corrector
from node.corrections.follower import CorrectionFollower
from node.corrections.order_book import OrderBook
from node.home import open_objects
from tests.support.dicom.answering import Node, answering_node


@contextmanager
def correcting_node(home: Path, **chosen: Any) -> Iterator[Node]:
    """A node that listens and carries out corrections."""
    with answering_node(home, **chosen) as node:
        orders = OrderBook(node.settings.corrections_path)
        node.receiver.follow = CorrectionFollower(node.settings, orders).follow_key_objects
        with correcting(node):
            yield node


@contextmanager
def correcting(node: Node) -> Iterator[None]:
    """The writer of the database at work."""
    stop, orders = Event(), OrderBook(node.settings.corrections_path)
    spool, objects = node.finder.retriever.spool, open_objects(node.settings)
    thread = Thread(target=Corrector(node.finder.database, orders, spool, objects).run, args=[stop])
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def send(node: Node, document: FileDataset, calling_ae_title: str = "PACS") -> Dataset:
    """Status of a C-STORE of a key object document."""
    ae = AE(calling_ae_title)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 30
    association = ae.associate(
        node.settings.host,
        node.settings.port,
        [build_context(KeyObjectSelectionDocumentStorage)],
        node.settings.ae_title,
    )
    assert association.is_established
    try:
        status: Dataset = association.send_c_store(document)
        return status
    finally:
        association.release()
