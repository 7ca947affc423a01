"""Requests for storage commitment that were acknowledged and are not reported yet: durable files."""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Final

from node.commitment.request import CommitmentRequest
from storage.durable import folder_names, make_private_folder, remove_stale, write_durably

SERIALS: Final = count()


@dataclass(frozen=True, slots=True)
class WaitingRequest:
    """An acknowledged request.

    Attributes
    ----------
    name
        Of its file.
    received_s
        Time of arrival, seconds since the epoch.
    """

    name: str
    caller: str
    received_s: float
    request: CommitmentRequest


class RequestBook:
    """The folder of these requests; any number of processes use it.

    Parameters
    ----------
    path
        Folder; the first request makes it.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._waiting, self._temporary = path, path / "waiting", path / "tmp"

    def __len__(self) -> int:
        return len(folder_names(self._waiting)) if self._waiting.is_dir() else 0

    def put(self, caller: str, request: CommitmentRequest) -> WaitingRequest:
        """Store a request, durable when this returns.

        Raises
        ------
        OSError
            It cannot be stored, and is not.
        """
        for folder in (self._path, self._waiting, self._temporary):
            make_private_folder(folder)
        name = f"{time.time_ns():020d}-{os.getpid()}-{next(SERIALS)}.json"
        waiting = WaitingRequest(name, caller, time.time(), request)
        text = json.dumps([caller, waiting.received_s, asdict(request)]).encode("ascii")
        write_durably([text], self._temporary / name, self._waiting / name)
        return waiting

    def waiting(self) -> Iterator[WaitingRequest]:
        """Yield the requests that are not reported yet, oldest first."""
        for name in sorted(folder_names(self._waiting)) if self._waiting.is_dir() else ():
            try:
                caller, received_s, request = json.loads((self._waiting / name).read_bytes())
            except FileNotFoundError:  # reported meanwhile
                continue
            yield WaitingRequest(name, caller, received_s, CommitmentRequest(**request))

    def remove(self, waiting: WaitingRequest) -> None:
        """Remove a request that was reported, or is given up."""
        (self._waiting / waiting.name).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove what killed processes left half written."""
        if self._temporary.is_dir():
            remove_stale(self._temporary)
