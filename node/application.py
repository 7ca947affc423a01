"""Where objects are built: each role of the node, ready to run."""

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from hashing.encoder import DEFAULT_MODEL, Encoder, Model, read_model
from node.entity import Entity
from node.find import Finder
from node.indexer import Indexer
from node.lifeline import die_with_parent
from node.receiver import Receiver
from node.retriever import Retriever
from node.settings import Settings
from storage.database import Database
from storage.spool import Spool

logger = logging.getLogger(__name__)


class Role(StrEnum):
    """A process of the node. Roles share nothing but the spool and the database."""

    INDEX = "index"
    DICOM = "dicom"
    WEB = "web"


@dataclass(frozen=True, slots=True)
class Reading:
    """What every reader of the database needs."""

    database: Database
    retriever: Retriever


def model_of(settings: Settings) -> Model:
    """Name and fingerprint of the model in use."""
    return read_model(settings.model_path or DEFAULT_MODEL)


def open_spool(settings: Settings) -> Spool:
    """The queue between receiving and indexing."""
    return Spool(settings.spool_path, settings.spool_capacity, settings.spool_free_bytes)


def open_for_writing(settings: Settings) -> Database:
    """The database, made if there is none; refused if its codes are of another model or length."""
    return Database.create_or_open(
        settings.database_path, settings.code_length, model_of(settings).identifier, settings.map_size_bytes
    )


def open_for_reading(settings: Settings) -> Reading:
    """The database as it is, with what answers questions from it."""
    database = Database.open(settings.database_path)
    return Reading(database, Retriever(open_spool(settings), model_of(settings).identifier))


def run_role(role: Role, settings: Settings) -> None:
    """Run one role in this process until it is told to stop (SIGTERM, SIGINT)."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    RUNNERS[role](settings, stop)
    logger.info("%s ended", role)


def _run_index(settings: Settings, stop: threading.Event) -> None:
    encoder = Encoder.load(settings.model_path or DEFAULT_MODEL, settings.code_length, settings.device)
    indexer = Indexer(settings, open_spool(settings), open_for_writing(settings), encoder)
    with announced(settings, Role.INDEX):
        indexer.run(stop)


def _run_dicom(settings: Settings, stop: threading.Event) -> None:
    reading = open_for_reading(settings)
    finder = Finder(settings, reading.database, reading.retriever)
    entity = Entity(settings, Receiver(reading.retriever.spool), finder)
    entity.start()
    with announced(settings, Role.DICOM):
        logger.info("listening as %s on %s:%d", settings.ae_title, settings.host, settings.port)
        stop.wait()
    entity.stop()


def _run_web(settings: Settings, stop: threading.Event) -> None:
    from node.page import serve  # the web server is loaded by its own role only

    with announced(settings, Role.WEB):
        serve(settings, open_for_reading(settings), stop)


RUNNERS: dict[Role, Callable[[Settings, threading.Event], None]] = {
    Role.INDEX: _run_index,
    Role.DICOM: _run_dicom,
    Role.WEB: _run_web,
}


@contextmanager
def announced(settings: Settings, role: Role) -> Iterator[None]:
    """Leave this process's number in the run folder while it is ready."""
    path = pid_path(settings, role)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(str(os.getpid()))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def pid_path(settings: Settings, role: Role) -> Path:
    """File that holds the process number of a running role."""
    return settings.run_path / f"{role}.pid"


def running_pid(settings: Settings, role: Role) -> int | None:
    """Process number of a role that is ready, or None."""
    try:
        pid = int(pid_path(settings, role).read_text())
        os.kill(pid, 0)
    except (FileNotFoundError, ValueError, ProcessLookupError):
        return None
    except PermissionError:
        return pid
    return pid


def become_role(role: Role, settings: Settings) -> None:
    """Run a role as a child of the supervisor: it ends when the supervisor does, however that comes about."""
    die_with_parent()
    run_role(role, settings)
