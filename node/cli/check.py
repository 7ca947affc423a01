"""The checks of `lookalike check`; each outcome is a finding and, for a fault, its remedy."""

import shlex
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from hashing.model.model_file import ModelError
from node.dicom.client import Peer
from node.dicom.sop_classes import GET_CLASSES, MOVE_CLASSES, VERIFICATION, Service, offered_services, service_of
from node.errors import PeerError
from node.home import exposed_paths, model_of, open_database
from node.processes import Role, processes, role_fault, role_state, running_node, title
from node.settings import FILE_NAME, Settings
from node.version import program
from storage.errors import StorageError

RETRIEVAL: Final = frozenset({Service.MOVE, Service.GET})


@dataclass(frozen=True, slots=True)
class Outcome:
    """One check."""

    subject: str
    good: bool
    finding: str


def run_checks(settings: Settings) -> Iterator[Outcome]:
    """Outcomes of all checks, in the order in which one would repair faults."""
    yield _settings(settings)
    yield _privacy(settings)
    yield _disk(settings)
    yield _model(settings)
    yield _database(settings)
    yield from _roles(settings)
    yield _dicom_port(settings)
    yield _http_port(settings)
    yield _retrieve_ae_title(settings)
    yield from (_peer(settings, ae_title) for ae_title in settings.peers)


def _settings(settings: Settings) -> Outcome:
    file = settings.home / FILE_NAME
    return Outcome("settings", good=True, finding=f"read from {file}" if file.exists() else f"defaults; no {file}")


def _privacy(settings: Settings) -> Outcome:
    exposed = list(exposed_paths(settings))
    if not exposed:
        return Outcome("privacy", good=True, finding="only the owner can read the home folder")
    finding = f"others can read {exposed[0]} and {len(exposed) - 1} more below {settings.home}"
    return Outcome("privacy", good=False, finding=f"{finding}: chmod -R go= {shlex.quote(str(settings.home))}")


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
        database = open_database(settings)
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
            state, fault = role_state(settings, role, number), role_fault(settings, role, number)
            start = "" if state.running else f": start it with `{program()} serve`"
            finding = f"{fault}{start}" if fault else f"ready, process {state.pid or 'unknown'}"
            yield Outcome(f"role {title(role, number)}", fault is None, finding)


def _dicom_port(settings: Settings) -> Outcome:
    subject = f"DICOM {settings.plain_dicom_host}:{settings.port}"
    problem = _connection_problem(settings.plain_dicom_host, settings.port, "host or port")
    if problem:
        return Outcome(subject, good=False, finding=problem)
    try:
        Peer(settings.ae_title, settings.plain_dicom_host, settings.port, settings.ae_title).echo()
    except PeerError as error:
        advice = (
            "see the log of the node" if running_node(settings) else "another program holds the port: choose another"
        )
        return Outcome(subject, good=False, finding=f"{error} {advice[0].upper()}{advice[1:]}")
    return Outcome(subject, good=True, finding=f"ready: {settings.ae_title} answers C-ECHO")


def _http_port(settings: Settings) -> Outcome:
    problem = _connection_problem(settings.host, settings.http_port, "host or http_port")
    subject = f"web {settings.host}:{settings.http_port}"
    return Outcome(subject, problem is None, problem or f"page at {settings.url}")


def _retrieve_ae_title(settings: Settings) -> Outcome:
    """Retrieve AE Title of the responses: workstations retrieve from the application entity that it names."""
    subject, titles = "Retrieve AE Title", settings.retrieve_ae_titles
    if settings.ae_title in titles and not RETRIEVAL & offered_services(settings):
        advice = "which offers no retrieval: set source_peer, or name the archive in retrieve_ae_title"
        return Outcome(subject, good=False, finding=f"responses name this node, {settings.ae_title}, {advice}")
    unset = "none is sent: set retrieve_ae_title, or source_peer to retrieve through this node"
    return Outcome(subject, good=True, finding=f"{' and '.join(titles)} in each response" if titles else unset)


def _peer(settings: Settings, ae_title: str) -> Outcome:
    """C-ECHO a peer, and name what it accepts; storage classes are counted."""
    source = ae_title == settings.source_peer
    subject = f"peer {ae_title}{', the source' if source else ''}"
    try:
        accepted = Peer.of(settings, ae_title).accepted_sop_classes()
    except PeerError as error:
        return Outcome(subject, good=False, finding=f"{error} Correct its entry in the settings, and ours there")
    services = [sop_class for sop_class in accepted if service_of(sop_class) is not Service.STORAGE]
    echoes = "answers C-ECHO" if VERIFICATION in services else "takes no C-ECHO"
    named = [sop_class.name for sop_class in services if sop_class != VERIFICATION]
    finding = f"{echoes}; storage classes accepted: {len(accepted) - len(services)}"
    finding += "".join(f", {name}" for name in named)
    if source and not any(sop_class in services for sop_class in (*MOVE_CLASSES, *GET_CLASSES)):
        return Outcome(subject, good=False, finding=f"{finding}: nothing can be retrieved from it")
    return Outcome(subject, good=True, finding=finding)


def _connection_problem(host: str, port: int, names: str) -> str | None:
    """Why no connection can be made, and what to do; None where one can."""
    try:
        with socket.create_connection((host, port), timeout=2):
            return None
    except ConnectionRefusedError:
        return f"nobody listens: start the node, or correct {names}"
    except TimeoutError:
        return f"no answer: correct {names}, or what filters packets between"
    except OSError as error:  # no such name, no route
        return f"{error.strerror}: correct host"
