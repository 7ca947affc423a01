"""What could not be indexed: `/aside` for people, `/api/aside` for programs, as `lookalike aside list` has it.

For callers with the right `admin`; names, IDs and objects are not in it.
"""

from collections.abc import Callable
from dataclasses import asdict, replace
from itertools import islice
from typing import Annotated

from fastapi import Query, Request, Response
from fastapi.responses import JSONResponse

from node.corrections.aside_entry import AsideEntry, aside_entry
from node.options.access import Disclosure
from node.settings import Settings
from node.web.caller_gate import caller_of
from node.web.desk.document import document, table
from storage.spool.queue import Spool

MAX_SHOWN = 200
"""The latest are shown; their files are opened to see who sent them."""
HINT = "<p>The latest {shown:,} of {all:,}. <code>lookalike aside</code> tries again, exports and deletes by name.</p>"
NONE = "<p>Nothing is set aside.</p>"
Reason = Annotated[str, Query(max_length=64)]


class SetAsideDesk:
    """Answers what was set aside, why, since when and from whom.

    Attributes
    ----------
    routes
        Endpoint of each path.
    """

    def __init__(self, settings: Settings, spool: Spool) -> None:
        self._settings, self._spool = settings, spool
        self.routes: dict[str, Callable[..., Response]] = {"/aside": self.page, "/api/aside": self.json}

    def json(self, request: Request, reason: Reason = "") -> Response:
        """The latest that were set aside, newest first, and the limits of what stays."""
        entries, count = self._entries(request, reason)
        return JSONResponse({"count": count, "limits": self._limits(), "entries": [asdict(one) for one in entries]})

    def page(self, request: Request, reason: Reason = "") -> Response:
        """The same for people."""
        entries, count = self._entries(request, reason)
        rows = [
            (one.name, one.received, one.sender or "unknown", one.reason, one.detail, _size(one)) for one in entries
        ]
        limits = [
            (name, f"{value:,}".removesuffix(".0") if value else "no limit") for name, value in self._limits().items()
        ]
        hint = HINT.format(shown=len(rows), all=count)
        found = hint + table("Objects", ("name", "since", "from", "reason", "why", "bytes"), rows) if rows else NONE
        body = found + table("How much stays, and how long", ("setting", "value"), limits)
        return document("Set aside", f"<section>{body}</section>")

    def _entries(self, request: Request, reason: str) -> tuple[list[AsideEntry], int]:
        notes = [one for one in self._spool.set_aside_records() if reason in ("", one.reason)]
        entries = [aside_entry(note, self._spool.vault) for note in islice(reversed(notes), MAX_SHOWN)]
        if caller_of(request.scope).disclosure is Disclosure.BLIND:
            entries = [_blind(one) for one in entries]
        return entries, len(notes)

    def _limits(self) -> dict[str, float]:
        names = ("set_aside_notes", "set_aside_bytes", "set_aside_days")
        return {name: getattr(self._settings, name) for name in names}


def _size(entry: AsideEntry) -> str:
    return "not kept" if entry.size_bytes is None else f"{entry.size_bytes:,}"


def _blind(entry: AsideEntry) -> AsideEntry:
    """The entry without UIDs, of which one is part of its name."""
    return replace(entry, name=entry.name.partition("-")[0], study_instance_uid="", sop_instance_uid="")
