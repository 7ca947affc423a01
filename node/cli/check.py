"""What `lookalike check` tries: each outcome says what was found and, if it is a fault, what to do."""

import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from hashing.model.model_file import ModelError
from node.dicom.client import Peer
from node.errors import PeerError
from node.home import model_of
from node.processes import Role, processes, running_pid, title
from node.settings import FILE_NAME, Settings
from storage.database.database import Database
from storage.errors import StorageError


@dataclass(frozen=True, slots=True)
class Outcome:
    """One check."""

    subject: str
    good: bool
    finding: str


def run_checks(settings: Settings) -> Iterator[Outcome]:
    """Outcomes of all checks, in the order in which one would repair faults."""
    yield _settings(settings)
    yield _disk(settings)
    yield _model(settings)
    yield _database(settings)
    yield from _roles(settings)
    yield _dicom_port(settings)
    yield _http_port(settings)


def _settings(settings: Settings) -> Outcome:
    file = settings.home / FILE_NAME
    return Outcome("settings", good=True, finding=f"read from {file}" if file.exists() else f"defaults; no {file}")


def _disk(settings: Settings) -> Outcome:
    existing = next(
        folder for folder in (settings.home.absolute(), *settings.home.absolute().parents) if folder.exists()
    )
    free = shutil.disk_usage(existing).free
    good = free > settings.spool_free_bytes
    advice = "" if good else f"; senders are refused below {settings.spool_free_bytes / 1e9:.1f} GB: free some"
    return Outcome("disk", good, f"{free / 1e9:.1f} GB free{advice}")


def _model(settings: Settings) -> Outcome:
    try:
        return Outcome("model", good=True, finding=model_of(settings).identifier)
    except ModelError as error:
        return Outcome("model", good=False, finding=str(error))


def _database(settings: Settings) -> Outcome:
    if not settings.database_path.exists():
        return Outcome("database", good=True, finding="none yet; the first start makes it")
    try:
        database = Database.open(settings.database_path)
        expected = model_of(settings).identifier
        with database, database.snapshot() as snapshot:
            if (snapshot.model, snapshot.code_length) != (expected, settings.code_length):
                advice = (
                    f"it holds codes of {snapshot.model} at {snapshot.code_length} bits: set these, or use a new home"
                )
                return Outcome("database", good=False, finding=advice)
            return Outcome("database", good=True, finding=f"{snapshot.rows:,} codes of {snapshot.code_length} bits")
    except (StorageError, ModelError) as error:
        return Outcome("database", good=False, finding=str(error))


def _roles(settings: Settings) -> Iterator[Outcome]:
    for role in Role:
        for number in processes(settings, role):
            pid = running_pid(settings, role, number)
            finding = f"ready, process {pid}" if pid else "not running: start it with `lookalike serve`"
            yield Outcome(f"role {title(role, number)}", pid is not None, finding)


def _dicom_port(settings: Settings) -> Outcome:
    peer = Peer(settings.ae_title, settings.host, settings.port)
    subject = f"DICOM {settings.host}:{settings.port}"
    if not _answers(settings.host, settings.port):
        return Outcome(subject, good=False, finding="nobody listens: start the node, or correct host and port")
    try:
        peer.echo()
    except PeerError as error:
        return Outcome(subject, good=False, finding=f"{error} Another program may hold the port: choose another")
    return Outcome(subject, good=True, finding=f"ready: {settings.ae_title} answers C-ECHO")


def _http_port(settings: Settings) -> Outcome:
    good = _answers(settings.host, settings.http_port)
    finding = f"page at {settings.url}" if good else "nobody listens: start the node, or correct host and http_port"
    return Outcome(f"web {settings.host}:{settings.http_port}", good, finding)


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=2):
            return True
    except OSError:
        return False
