"""What `lookalike status` shows: counts of a home folder, no patient data."""

from collections.abc import Mapping
from dataclasses import dataclass

from rich.table import Table

from node.home import open_for_reading
from node.roles import Role, running_pid
from node.settings import Settings
from storage.record import LEVELS, Level


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """State of a node.

    Attributes
    ----------
    entities
        How many are indexed, by level.
    rows
        Codes, one a frame.
    waiting
        Instances received and not yet indexed.
    set_aside
        How many could not be indexed, by reason.
    roles
        Process number of each role, None where it is not running.
    """

    entities: Mapping[Level, int]
    rows: int
    waiting: int
    set_aside: Mapping[str, int]
    roles: Mapping[Role, int | None]
    model: str
    code_length: int


def read_status(settings: Settings) -> NodeStatus:
    """The state of the node of a home folder, running or not.

    Raises
    ------
    storage.errors.StorageError
        There is no database yet, or it cannot be read.
    """
    reading = open_for_reading(settings)
    with reading.database, reading.database.snapshot() as snapshot:
        return NodeStatus(
            entities={level: snapshot.count(level) for level in LEVELS},
            rows=snapshot.rows,
            waiting=reading.retriever.spool.depth(),
            set_aside=dict(reading.retriever.spool.reasons()),
            roles={role: running_pid(settings, role) for role in Role},
            model=snapshot.model,
            code_length=snapshot.code_length,
        )


def status_table(status: NodeStatus) -> Table:
    """The state as a table of two columns."""
    table = Table(show_header=False, title="Lookalike")
    table.add_column(style="bold")
    table.add_column(justify="right")
    for level, count in status.entities.items():
        table.add_row({Level.IMAGE: "instances"}.get(level, level.lower()) + " indexed", f"{count:,}")
    table.add_row("codes", f"{status.rows:,} of {status.code_length} bits")
    table.add_row("model", status.model)
    table.add_row("waiting to be indexed", f"{status.waiting:,}")
    for reason, count in sorted(status.set_aside.items()):
        table.add_row(f"set aside: {reason}", f"{count:,}")
    if not status.set_aside:
        table.add_row("set aside", "0")
    for role, pid in status.roles.items():
        table.add_row(f"role {role}", "not running" if pid is None else f"running, process {pid}")
    return table
