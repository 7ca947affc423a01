"""Orders to the role `index`, the one writer of the database: durable files, each answered once it is carried out."""

import json
import os
import time
from collections.abc import Mapping
from enum import StrEnum
from itertools import count
from pathlib import Path
from typing import Any, Final

from storage.durable import folder_names, make_private_folder, remove_stale, sync_folder, write_durably

ANSWER_KEPT_S: Final = 3600.0
"""Age at which an answer that nobody took is removed, seconds."""
SERIALS: Final = count()

Answer = Mapping[str, Any]
"""What an order did, as JSON has it."""


class OrderKind(StrEnum):
    """What an order asks for."""

    REJECT = "reject"
    RESTORE = "restore"
    FORGET = "forget"
    ANNOUNCE = "announce"
    REFILE = "refile"
    PURGE = "purge"


class OrderBook:
    """The folder of orders. Any number of processes put orders there, and one carries them out, oldest first.

    An order is in force once it is gone: a kill before that has it carried out again, to the same effect.

    Parameters
    ----------
    path
        Folder, made if missing: `waiting/` holds orders, `answers/` what they did, `failed/` those that cannot be
        carried out.
    """

    def __init__(self, path: Path) -> None:
        self._waiting, self._answers, self._failed, self._temporary = (
            path / name for name in ("waiting", "answers", "failed", "tmp")
        )
        for folder in (path, self._waiting, self._answers, self._failed, self._temporary):
            make_private_folder(folder)
        sync_folder(path)

    def put(self, kind: OrderKind, **fields: object) -> str:
        """Store an order, durable when this returns; return its name.

        Raises
        ------
        OSError
            It cannot be stored, and is not.
        """
        name = f"{time.time_ns():020d}-{os.getpid()}-{next(SERIALS)}.json"
        text = json.dumps({"kind": kind, **fields}).encode("ascii")
        write_durably([text], self._temporary / name, self._waiting / name)
        return name

    def waiting(self) -> list[str]:
        """Names of the orders that are not carried out yet, oldest first."""
        return sorted(folder_names(self._waiting))

    def read(self, name: str) -> dict[str, Any]:
        """Return an order: its kind and its fields."""
        order: dict[str, Any] = json.loads((self._waiting / name).read_bytes())
        return order

    def close(self, name: str, answer: Answer, *, failed: bool = False) -> None:
        """Answer an order and remove it; one that cannot be carried out is kept apart, for whoever looks into it."""
        temporary = self._temporary / f"{name}.answer"
        temporary.write_text(json.dumps(answer))
        temporary.rename(self._answers / name)
        if failed:
            (self._waiting / name).rename(self._failed / name)
        else:
            (self._waiting / name).unlink(missing_ok=True)

    def take_answer(self, name: str) -> Answer | None:
        """Return the answer to an order, once; None while it waits."""
        path = self._answers / name
        if (self._waiting / name).exists() or not path.exists():
            return None
        answer: Answer = json.loads(path.read_bytes())
        path.unlink(missing_ok=True)
        return answer

    def sweep(self) -> None:
        """Remove what killed processes left: half-written orders, and answers that nobody took."""
        remove_stale(self._temporary)
        for name in folder_names(self._answers):
            path = self._answers / name
            if time.time() - path.stat().st_mtime > ANSWER_KEPT_S:
                path.unlink(missing_ok=True)
