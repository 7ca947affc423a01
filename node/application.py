"""Where objects are built: each role of the node, ready to run."""

import logging
import signal
import threading
from collections.abc import Callable

from hashing.model import DEFAULT_MODEL
from node.entity import Entity
from node.find import Finder
from node.home import open_for_reading, open_for_writing, open_spool
from node.lifeline import die_with_parent
from node.receiver import Receiver
from node.roles import Role, announced
from node.settings import Settings
from storage.warm import warm_up

logger = logging.getLogger(__name__)


def run_role(role: Role, settings: Settings) -> None:
    """Run one role in this process until it is told to stop (SIGTERM, SIGINT)."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    RUNNERS[role](settings, stop)
    logger.info("%s ended", role)


def _run_index(settings: Settings, stop: threading.Event) -> None:
    from hashing.encoder import Encoder  # torch is loaded by the one role that encodes
    from node.indexer import Indexer

    model_path = settings.model_path or DEFAULT_MODEL
    encoder = Encoder.load(model_path, settings.code_length, settings.device, settings.encoder_backend)
    indexer = Indexer(settings, open_spool(settings), open_for_writing(settings), encoder)
    with announced(settings, Role.INDEX):
        indexer.run(stop)


def _run_dicom(settings: Settings, stop: threading.Event) -> None:
    reading = open_for_reading(settings)
    finder = Finder(settings, reading.database, reading.retriever)
    entity = Entity(settings, Receiver(reading.retriever.spool), finder)
    warm_up(reading.database.header.code_length)
    entity.start()
    with announced(settings, Role.DICOM):
        logger.info("listening as %s on %s:%d", settings.ae_title, settings.host, settings.port)
        stop.wait()
    entity.stop()


def _run_web(settings: Settings, stop: threading.Event) -> None:
    from node.page import serve  # the web server is loaded by its own role only

    reading = open_for_reading(settings)
    warm_up(reading.database.header.code_length)
    with announced(settings, Role.WEB):
        serve(settings, reading, stop)


RUNNERS: dict[Role, Callable[[Settings, threading.Event], None]] = {
    Role.INDEX: _run_index,
    Role.DICOM: _run_dicom,
    Role.WEB: _run_web,
}


def become_role(role: Role, settings: Settings) -> None:
    """Run a role as a child of the supervisor: it ends when the supervisor does, however that comes about."""
    die_with_parent()
    run_role(role, settings)
