"""Sending a folder to a node, with progress."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from node.dicom.client import Peer
from node.errors import Status

STORED = "stored"


def send_folder(folder: Path, peer: Peer, console: Console) -> Counter[str]:
    """Send every file under a folder and count the outcomes; "stored" is the good one."""
    paths = list(files(folder))
    outcomes: Counter[str] = Counter()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        for stored in bar.track(peer.store(paths), total=len(paths), description=f"sending to {peer}"):
            if stored.status == Status.SUCCESS:
                outcomes[STORED] += 1
            elif stored.status is None:
                outcomes["not sent: no DICOM file, or one that cannot be sent"] += 1
            else:
                outcomes[f"refused with {stored.status:04X} {stored.comment}".rstrip()] += 1
    return outcomes


def files(folder: Path) -> Iterator[Path]:
    """Files under a folder in a fixed order, or the file itself; tables and DICOMDIR are left out."""
    if folder.is_file():
        yield folder
        return
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix.lower() not in {".csv", ".txt", ".json"} and path.name != "DICOMDIR":
            yield path
