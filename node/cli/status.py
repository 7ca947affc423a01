"""What `lookalike status` shows: counts of a home folder, no patient data."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Final

from rich.filesize import decimal
from rich.table import Table

from node.cli.terminal import plain
from node.errors import NO_PIXELS
from node.home import asked, open_for_reading, open_objects, open_spool
from node.ingest.pressure import Fullness, Pressure
from node.ingest.refusals import Refused, read_refusals
from node.processes import Role, processes, role_faults, running_pid, title
from node.remote_index import unfed
from node.settings import Settings
from storage.corrections.announcing import Settlement, settlement
from storage.corrections.expiring import expired
from storage.database.database import Database
from storage.database.snapshot import Snapshot
from storage.objects.size_table import ObjectUsage
from storage.record import LEVELS
from storage.record import Level as RecordLevel
from storage.segments.builder import faults
from storage.spool.outbox import OutboxState
from storage.spool.queue import Spool, waiting_s

DAY_NS: Final = 86_400 * 10**9


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """State of a node.

    Attributes
    ----------
    entities
        How many are indexed, by level.
    rows
        Codes, one a frame.
    segment_rows
        How many of them a search finds by the index; the others are scanned.
    segment_faults
        Why parts of the index are not used.
    unfed
        Indexed instances that Milvus does not know yet; None where it is not used.
    waiting
        Instances received and not yet indexed.
    set_aside
        How many could not be indexed, by reason, since the home folder was made.
    waiting_s
        Age of the oldest of them, seconds.
    set_aside_lately
        How many of the last 24 hours could not be indexed, but for those without an image.
    set_aside_deleted
        How many of their files retention has deleted.
    expired
        What was deleted for its age or for the room that it took, by kind.
    rejected, restorable
        Instances that rejection notes keep out of every answer, and those of them that `lookalike restore` brings back.
    announced
        Studies that the PACS announced by Instance Availability Notifications.
    questions
        Questions that were sent and wait for an answer.
    answers
        Answered questions, and the objects of their answers: waiting for their destination, sent, given up, and
        committed by it.
    refused
        What callers were refused since the home folder was made, the latest first.
    pressure
        How close the fullest limit of the spool is: above the settings `busy_share` and `closed_share` senders wait,
        and are rejected.
    kept_bytes
        Disk space by what the database keeps: records, codes, previews and outputs.
    objects
        Original objects that are kept.
    roles
        Process numbers by role, and from the second process of a role on its number; None where it is not running.
    role_faults
        Why processes of roles do not serve: not running, not ready, or without a sign of life.
    """

    entities: Mapping[RecordLevel, int]
    rows: int
    segment_rows: int
    segment_faults: Sequence[str]
    unfed: int | None
    waiting: int
    waiting_s: float
    set_aside: Mapping[str, int]
    set_aside_lately: int
    set_aside_deleted: int
    expired: Mapping[str, int]
    rejected: int
    restorable: int
    announced: Settlement
    questions: int
    answers: OutboxState
    refused: Sequence[Refused]
    pressure: Fullness
    kept_bytes: Mapping[str, int]
    objects: ObjectUsage
    roles: Mapping[str, int | None]
    role_faults: Sequence[str]
    model: str
    code_length: int


def read_status(settings: Settings) -> NodeStatus:
    """The state of the node of a home folder, running or not.

    Raises
    ------
    storage.errors.StorageError
        There is no database yet, or it cannot be read.
    """
    reading, spool, (questions, answers) = open_for_reading(settings), open_spool(settings), asked(settings)
    with reading.database, reading.database.snapshot() as snapshot:
        (rejected, restorable), segments = snapshot.rejections.count(), _segments(reading.database, snapshot)
        return NodeStatus(
            entities={level: snapshot.count(level) for level in LEVELS},
            rows=snapshot.rows,
            segment_rows=segments[0],
            segment_faults=segments[1],
            unfed=unfed(settings, snapshot),
            **_spool_state(spool),
            expired=expired(reading.database),
            rejected=rejected,
            restorable=restorable,
            announced=settlement(snapshot, lambda uid: spool.is_set_aside(uid) is not None),
            questions=questions,
            answers=answers,
            refused=read_refusals(settings.run_path),
            pressure=Pressure(spool, settings).spool_level(),
            kept_bytes=_kept_bytes(reading.database),
            objects=open_objects(settings).usage(),
            roles=_roles(settings),
            role_faults=role_faults(settings),
            model=snapshot.model,
            code_length=snapshot.code_length,
        )


def _spool_state(spool: Spool) -> dict[str, Any]:
    """The attributes of `NodeStatus` about the spool: what waits, and what was set aside."""
    lately = spool.reasons_since(time.time_ns() - DAY_NS)
    return {
        "waiting": spool.depth(),
        "waiting_s": waiting_s(spool),
        "set_aside": dict(spool.reasons()),
        "set_aside_lately": lately.total() - lately[NO_PIXELS],
        "set_aside_deleted": spool.set_aside_deleted(),
    }


def _segments(database: Database, snapshot: Snapshot) -> tuple[int, tuple[str, ...]]:
    """Rows that segments hold up to the first that cannot be used, and what is wrong with those."""
    entries = snapshot.segment_entries
    wrong = faults(database, entries)
    return sum(entry.rows for entry in takewhile(lambda entry: entry.name not in wrong, entries)), tuple(wrong.values())


def _kept_bytes(database: Database) -> dict[str, int]:
    of_codes = {"rows": "codes", "previews": "previews", "outputs": "outputs", "encodings": "outputs"}
    sizes = dict.fromkeys(("records", *of_codes.values()), 0)
    for table, size_bytes in database.size_bytes().items():
        sizes[of_codes.get(table, "records")] += size_bytes
    return sizes


def _roles(settings: Settings) -> dict[str, int | None]:
    return {
        title(role, number): running_pid(settings, role, number)
        for role in Role
        for number in processes(settings, role)
    }


def status_table(status: NodeStatus) -> Table:
    """The state as a table of two columns."""
    table = Table(show_header=False, title="Lookalike")
    table.add_column(style="bold")
    table.add_column(justify="right")
    for level, count in status.entities.items():
        table.add_row({RecordLevel.IMAGE: "instances"}.get(level, level.lower()) + " indexed", f"{count:,}")
    table.add_row("codes", f"{status.rows:,} of {status.code_length} bits")
    _add_index(table, status)
    table.add_row("model", plain(status.model))
    oldest = f", the oldest for {status.waiting_s:,.0f} s" if status.waiting else ""
    table.add_row("waiting to be indexed", f"{status.waiting:,}{oldest}")
    _add_kept_out(table, status)
    _add_questions(table, status.questions, status.answers)
    for kind, size_bytes in status.kept_bytes.items():
        table.add_row(f"disk: {kind}", decimal(size_bytes))
    table.add_row("disk: objects", f"{status.objects.objects:,}, {decimal(status.objects.size_bytes)}")
    table.add_row("fullest limit", f"{status.pressure.resource}, {status.pressure.share:.0%}")
    for refused in status.refused:
        last = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(refused.last_s))
        name = f"refused: {refused.reason} (from {refused.calling_ae_title or 'no AE title'}, last {last})"
        table.add_row(plain(name), f"{refused.count:,}")
    for role, pid in status.roles.items():
        table.add_row(f"role {role}", "not running" if pid is None else f"running, process {pid}")
    for fault in status.role_faults:
        table.add_row("fault", fault)
    return table


def _add_index(table: Table, status: NodeStatus) -> None:
    """Add what searches the codes."""
    table.add_row("codes in segments of the index", f"{status.segment_rows:,}")
    for fault in status.segment_faults:
        table.add_row("scanned instead", plain(fault))
    if status.unfed is not None:
        table.add_row("instances not in Milvus yet", f"{status.unfed:,}")


def _add_questions(table: Table, questions: int, answers: OutboxState) -> None:
    """Add what was asked by sending, and what became of the answers."""
    table.add_row("questions that wait for an answer", f"{questions:,}")
    undelivered = f", of which {answers.undelivered:,} failed to arrive" if answers.undelivered else ""
    table.add_row("questions answered", f"{answers.questions:,}{undelivered}")
    sent = f"{answers.sent:,} sent, of which {answers.committed:,} committed"
    table.add_row("objects of answers", f"{answers.waiting:,} waiting, {sent}")
    if answers.given_up:
        table.add_row("objects of answers given up", f"{answers.given_up:,}")


def _add_kept_out(table: Table, status: NodeStatus) -> None:
    """Add what was received and is in no answer."""
    for reason, count in sorted(status.set_aside.items()):
        table.add_row(plain(f"set aside: {reason}"), f"{count:,}")
    if not status.set_aside:
        table.add_row("set aside", "0")
    if status.set_aside_deleted:
        table.add_row("set aside: objects deleted by retention", f"{status.set_aside_deleted:,}")
    gone = ", ".join(f"{count:,} {kind}" for kind, count in status.expired.items())
    table.add_row("deleted for age or size", gone)
    table.add_row("rejected by a note", f"{status.rejected:,}, of which {status.restorable:,} can be restored")
    found = status.announced
    sentence = f"{found.settled:,} of {found.announced:,}, {len(found.missing):,} instances missing"
    table.add_row("announced studies that are settled", sentence)
