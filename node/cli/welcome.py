"""The first minute: sample cases into an empty database, then where the node is and what to ask it."""

import logging
import tempfile
from itertools import islice
from pathlib import Path
from threading import Event

from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from hashing.phantoms.hospital import count, write_samples
from node.dicom.client import Peer
from node.errors import Status
from node.home import Reading, open_for_reading
from node.settings import Settings
from node.version import program
from storage.record import Level

logger = logging.getLogger(__name__)

POLL_S = 0.2
SENT_TOGETHER = 25


def welcome(settings: Settings, sample_patients: int, stop: Event, console: Console) -> None:
    """Say "ready"; load phantoms if asked to and nothing is indexed; print how to reach the node."""
    logger.info("ready: %s on %s:%d, %s", settings.ae_title, settings.host, settings.port, settings.url)
    reading = open_for_reading(settings)
    if sample_patients and _indexed(reading) == 0:
        _load(settings, reading, sample_patients, stop, console)
    if not stop.is_set():
        _introduce(settings, _example(reading), console)
    reading.database.close()


def _load(settings: Settings, reading: Reading, patients: int, stop: Event, console: Console) -> None:
    total = count(patients)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with tempfile.TemporaryDirectory() as folder, Progress(*columns, console=console) as bar:
        sending = bar.add_task("computing and sending phantom cases", total=total)
        indexing = bar.add_task("indexing them", total=total)
        peer = Peer(settings.ae_title, settings.host, settings.port)
        paths = write_samples(Path(folder), patients)
        while (some := list(islice(paths, SENT_TOGETHER))) and not stop.is_set():
            for stored in peer.store(some):
                if stored.status != Status.SUCCESS:
                    logger.error("sample %s: status %s %s", stored.path.name, stored.status, stored.comment)
                bar.advance(sending)
            bar.update(indexing, completed=_indexed(reading))
        _wait(reading, bar, indexing, stop)


def _wait(reading: Reading, bar: Progress, indexing: TaskID, stop: Event) -> None:
    """Until the spool is empty: whatever was sent is then indexed or set aside."""
    while reading.retriever.spool.depth() and not stop.wait(POLL_S):
        bar.update(indexing, completed=_indexed(reading))
    bar.update(indexing, completed=_indexed(reading))


def _indexed(reading: Reading) -> int:
    with reading.database.snapshot() as snapshot:
        return snapshot.count(Level.IMAGE)


def _introduce(settings: Settings, example: str | None, console: Console) -> None:
    """Where the node is, and commands to paste, each on one line however narrow the window."""
    server = f"{settings.ae_title}@{settings.host}:{settings.port}"
    address = f"{settings.host}:{settings.port}"
    facts = f"AE title [bold]{settings.ae_title}[/]\nDICOM    [bold]{address}[/]\npage     {settings.url}"
    console.print(Panel(facts, title="Lookalike is ready", expand=False))
    if example:
        command = f"{program()} similar {example} --server {server}"
        console.print(f"Ask what looks like this image:\n  [bold]{command}[/]", soft_wrap=True, highlight=False)
    console.print(f"Send images:\n  {program()} send FOLDER --server {server}", soft_wrap=True, highlight=False)
    console.print("Stop with Ctrl-C.")


def _example(reading: Reading) -> str | None:
    """A radiograph to ask with, if there is one, or else any instance."""
    any_image = None
    with reading.database.snapshot() as snapshot:
        for entity in snapshot.entities(Level.IMAGE):
            any_image = any_image or entity.uid
            if entity.attributes.get("Modality") in {"DX", "CR"}:
                return entity.uid
    return any_image
