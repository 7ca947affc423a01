"""Sending a folder to a node, with progress."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from node.dicom.client import Peer, StoreOutcome
from node.errors import Status

STORED = "stored"


def send_folder(folder: Path, peer: Peer, console: Console) -> dict[str, list[Path]]:
    """Send every file under a folder; the files of each outcome, of which "stored" is the good one."""
    paths = list(files(folder))
    outcomes: dict[str, list[Path]] = defaultdict(list)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        for stored in bar.track(peer.store(paths), total=len(paths), description=f"sending to {peer}"):
            outcomes[_outcome(stored)].append(stored.path)
    return outcomes


def _outcome(stored: StoreOutcome) -> str:
    if stored.status == Status.SUCCESS:
        return STORED
    if stored.status is None:
        return f"not sent: {stored.comment or 'the connection ended before an answer came'}"
    return f"refused with {stored.status:04X} {stored.comment}".rstrip()


def files(folder: Path) -> Iterator[Path]:
    """Files under a folder in a fixed order, or the file itself; tables and DICOMDIR are left out."""
    if folder.is_file():
        yield folder
        return
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix.lower() not in {".csv", ".txt", ".json"} and path.name != "DICOMDIR":
            yield path
