"""Where objects are built: each role of the node, ready to run."""

import logging
import signal
import threading
from collections.abc import Callable

from hashing.model import DEFAULT_MODEL
from node.entity import Entity
from node.find import Finder
from node.home import open_for_reading, open_for_writing, open_spool
from node.kernels import make_ready
from node.lifeline import die_with_parent
from node.pressure import Pressure
from node.receiver import Receiver
from node.refusals import Refusals
from node.roles import Role, announced
from node.settings import Settings
from storage.builder import keep_built

WRITE_EVERY_S = 1.0

logger = logging.getLogger(__name__)


def run_role(role: Role, settings: Settings, number: int = 1) -> None:
    """Run one role in this process until it is told to stop (SIGTERM, SIGINT)."""
    stop = threading.Event()
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda *_: stop.set())
    RUNNERS[role](settings, stop, number)
    logger.info("%s ended", role)


def _run_index(settings: Settings, stop: threading.Event, _number: int) -> None:
    from hashing.encoder import Encoder  # torch is loaded by the one role that encodes
    from node.indexer import Indexer

    model_path = settings.model_path or DEFAULT_MODEL
    encoder = Encoder.load(model_path, settings.code_length, settings.device, settings.encoder_backend)
    database = open_for_writing(settings)
    indexer = Indexer(settings, open_spool(settings), database, encoder)
    threading.Thread(target=keep_built, args=[database, stop], name="segments", daemon=True).start()
    with announced(settings, Role.INDEX):
        indexer.run(stop)


def _run_dicom(settings: Settings, stop: threading.Event, number: int) -> None:
    reading = open_for_reading(settings)
    finder = Finder(settings, reading.database, reading.retriever)
    spool = reading.retriever.spool
    refusals = Refusals(settings.run_path, number)
    entity = Entity(settings, Receiver(spool, Pressure(spool, settings), refusals), finder)
    entity.start()
    _make_kernels_ready(settings, reading.database.header.code_length)
    with announced(settings, Role.DICOM, number):
        logger.info("listening as %s on %s:%d", settings.ae_title, settings.host, settings.port)
        while not stop.wait(WRITE_EVERY_S):
            refusals.write()
    entity.stop()
    refusals.write()


def _run_web(settings: Settings, stop: threading.Event, _number: int) -> None:
    from node.page import serve  # the web server is loaded by its own role only

    reading = open_for_reading(settings)
    _make_kernels_ready(settings, reading.database.header.code_length)
    with announced(settings, Role.WEB):
        serve(settings, reading, stop)


def _make_kernels_ready(settings: Settings, code_length: int) -> None:
    """Load the search kernels while images can be received already; a query that comes before does so for itself."""
    threading.Thread(target=make_ready, args=[settings.run_path, code_length], name="kernels", daemon=True).start()


RUNNERS: dict[Role, Callable[[Settings, threading.Event, int], None]] = {
    Role.INDEX: _run_index,
    Role.DICOM: _run_dicom,
    Role.WEB: _run_web,
}


def become_role(role: Role, settings: Settings, number: int, supervisor: int) -> None:
    """Run a role as a child of the supervisor, by its process number: it ends when the supervisor does."""
    die_with_parent(supervisor)
    run_role(role, settings, number)
