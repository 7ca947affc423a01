"""The role `index`: encodes what the spool holds and writes the database; the only process that does."""

import threading
from contextlib import AbstractContextManager, nullcontext
from functools import partial

from hashing.model.encoder import Encoder
from hashing.model.model_file import DEFAULT_MODEL
from node.access.audit_trail import AuditTrail
from node.corrections.corrector import Corrector
from node.corrections.expiry import Expirer
from node.corrections.order_book import OrderBook
from node.examples.region_keeper import region_keeper
from node.examples.service import EncodingService
from node.home import open_for_writing, open_mail, open_objects, open_regions, open_reports, open_spool
from node.ingest.indexer import Indexer
from node.processes import Heartbeat
from node.remote_index import open_milvus
from node.roles.threads import vital_thread
from node.settings import Settings
from storage.database.database import Database
from storage.objects.object_store import ObjectStore
from storage.search.chance import keep_computed
from storage.segments.builder import keep_built
from storage.spool.queue import Spool


def run(settings: Settings, stop: threading.Event, _number: int, heartbeat: Heartbeat) -> None:
    """Index what arrives until `stop` is set; each decoded instance and each batch renews the heartbeat."""
    database = open_for_writing(settings)  # first, since it refuses sooner than the network is loaded
    model_path = settings.model_path or DEFAULT_MODEL
    encoder = Encoder.load(model_path, settings.code_length, settings.device, settings.encoder_backend)
    spool, objects = open_spool(settings), open_objects(settings)
    if not objects.is_counted:
        objects.repair()
    trail = AuditTrail(settings, "index")
    indexer = Indexer(settings, spool, database, encoder, objects, trail.transferred)
    corrector = _corrector(settings, database, spool, objects, indexer)
    expirer = Expirer(settings, database, objects, spool, indexer.writing, trail.expired)
    heartbeat.renew()
    service = EncodingService(settings, encoder)
    service.warm_up()
    heartbeat.renew()
    with (
        vital_thread("segments", stop, partial(keep_built, database, stop)),
        vital_thread("chance", stop, partial(keep_computed, database, stop)),
        vital_thread("corrections", stop, partial(corrector.run, stop)),
        vital_thread("expiry", stop, partial(expirer.run, stop)),
        vital_thread("examples", stop, partial(service.run, stop)),
        _feeding(settings, database, stop),
        _keeping_regions(settings, database, indexer, stop),
    ):
        indexer.run(stop, progress=heartbeat.renew)
    trail.close()


def _corrector(
    settings: Settings, database: Database, spool: Spool, objects: ObjectStore, indexer: Indexer
) -> Corrector:
    """The corrector, over all places where something of an image is kept."""
    orders, reports, mail = OrderBook(settings.corrections_path), open_reports(settings), open_mail(settings)
    return Corrector(database, orders, spool, objects, indexer.writing, reports, mail, open_regions(settings))


def _keeping_regions(
    settings: Settings, database: Database, indexer: Indexer, stop: threading.Event
) -> AbstractContextManager[None]:
    """Keep codes of parts of images, where that is set."""
    if not settings.region_codes:
        return nullcontext()
    keeper = region_keeper(settings, database, open_regions(settings), indexer.writing)
    return nullcontext() if keeper is None else vital_thread("regions", stop, partial(keeper.run, stop))


def _feeding(settings: Settings, database: Database, stop: threading.Event) -> AbstractContextManager[None]:
    """Feed the index in Milvus, where that is set."""
    if settings.index == "local":
        return nullcontext()
    index = open_milvus(settings, database)
    from storage.search.milvus.feed import Feeder

    return vital_thread("feeding", stop, partial(Feeder(database, index).run, stop))
