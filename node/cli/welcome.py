"""The first minute: sample cases into an empty database, then where the node is and what to ask it."""

import logging
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from shlex import quote
from threading import Event
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from hashing.phantoms.hospital import count, write_samples
from node.dicom.client import Peer, StoreOutcome
from node.errors import PeerError, Status
from node.home import Reading, open_for_reading
from node.settings import Settings
from node.version import program
from storage.record import Level

logger = logging.getLogger(__name__)

POLL_S: Final = 0.2
BATCH: Final = 25
PATIENCE_S: Final = 300.0
"""How long sample cases are sent again without success: a role that was killed is back within a minute."""

MAX_EXAMPLES: Final = 200
"""How many images are looked at for one to ask with; a database may hold many millions."""


def welcome(
    settings: Settings, sample_patients: int, stop: Event, console: Console, bars: Console | None = None
) -> None:
    """Say "ready", load sample cases into an empty database if `sample_patients` > 0, and print how to reach the node.

    Parameters
    ----------
    sample_patients
        Number of phantom patients to load.
    stop
        Event that ends it early.
    console
        Console on which the address of the node is printed.
    bars
        Terminal that shows the progress of loading; None: it is not shown.
    """
    logger.info("ready: %s on %s:%d, %s", settings.ae_title, settings.host, settings.port, settings.url)
    reading = open_for_reading(settings)
    with reading.database:
        if sample_patients and _indexed(reading) == 0:
            _load(settings, reading, sample_patients, stop, bars)
        if not stop.is_set():
            _introduce(settings, _example(reading), console)


def _load(settings: Settings, reading: Reading, patients: int, stop: Event, bars: Console | None) -> None:
    total = count(patients)
    logger.info("loading %d phantom cases of %d patients", total, patients)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        tempfile.TemporaryDirectory() as folder,
        Progress(*columns, console=bars, disable=bars is None) as bar,
    ):
        sending = bar.add_task("computing and sending phantom cases", total=total)
        indexing = bar.add_task("indexing them", total=total)
        peer = Peer(settings.ae_title, settings.plain_dicom_host, settings.port)
        paths = write_samples(Path(folder), patients)
        while (some := list(islice(paths, BATCH))) and not stop.is_set():
            for stored in _store(peer, some, stop):
                if stored.status != Status.SUCCESS:
                    logger.error("sample %s: status %s %s", stored.path.name, stored.status, stored.comment)
                bar.advance(sending)
            bar.update(indexing, completed=_indexed(reading))
        _wait(reading, bar, indexing, stop)


def _store(peer: Peer, paths: list[Path], stop: Event) -> Iterator[StoreOutcome]:
    """Send files until each has an answer other than "later": a receiver may be killed, and a spool full, meanwhile.

    Raises
    ------
    PeerError
        Nothing was stored for long.
    """
    waiting, deadline = dict.fromkeys(paths), time.monotonic() + PATIENCE_S
    while waiting and not stop.is_set():
        try:
            for stored in peer.store(list(waiting)):
                if stored.status in (None, Status.OUT_OF_RESOURCES) and time.monotonic() < deadline:
                    continue
                del waiting[stored.path]
                deadline = time.monotonic() + PATIENCE_S
                yield stored
        except PeerError:
            if time.monotonic() > deadline:
                raise
        if waiting:
            stop.wait(POLL_S)


def _wait(reading: Reading, bar: Progress, indexing: TaskID, stop: Event) -> None:
    """Until the spool is empty: whatever was sent is then indexed or set aside."""
    while reading.retriever.spool.depth() and not stop.wait(POLL_S):
        bar.update(indexing, completed=_indexed(reading))
    bar.update(indexing, completed=_indexed(reading))


def _indexed(reading: Reading) -> int:
    with reading.database.snapshot() as snapshot:
        return snapshot.count(Level.IMAGE)


def _introduce(settings: Settings, example: str | None, console: Console) -> None:
    """Print the node's addresses, and commands to paste, each on one line however narrow the window."""
    address = f"{settings.plain_dicom_host}:{settings.port}"
    server, command = quote(f"{settings.ae_title}@{address}"), program()
    facts = f"AE title [bold]{escape(settings.ae_title)}[/]\nDICOM    [bold]{address}[/]\npage     {settings.url}"
    console.print(Panel(facts, title="Lookalike is ready", expand=False))
    if example:
        _print_command("Ask what looks like this image", f"{command} similar {example} --server {server}", console)
    _print_command("Send images", f"{command} send FOLDER --server {server}", console)
    console.print("Stop with Ctrl-C.")


def _print_command(what: str, command: str, console: Console) -> None:
    console.print(f"{what}:\n  [bold]{escape(command)}[/]", soft_wrap=True, highlight=False)


def _example(reading: Reading) -> str | None:
    """A radiograph to ask with, if there is one among the first images, or else any instance."""
    any_image = None
    with reading.database.snapshot() as snapshot:
        for entity in islice(snapshot.entities(Level.IMAGE), MAX_EXAMPLES):
            any_image = any_image or entity.uid
            if entity.attributes.get("Modality") in {"DX", "CR"}:
                return entity.uid
    return any_image
