"""What the archive announces of a study: instances that can be retrieved, and instances that cannot (PS3.4 annex R)."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from storage.corrections.rejecting import lift, reject_references
from storage.database.database import Database
from storage.database.rejections import Title
from storage.database.snapshot import Snapshot
from storage.record import Level

BY_AVAILABILITY: Final = "availability"
"""Stands for the UID of a note where the archive announced that an instance cannot be retrieved."""


@dataclass(frozen=True, slots=True)
class Announced:
    """Result of an announcement.

    Attributes
    ----------
    hidden, restored
        Instances that left the answers, and that came back.
    missing
        Announced instances that are not stored.
    """

    hidden: int
    restored: int
    missing: int


@dataclass(frozen=True, slots=True)
class Settlement:
    """Studies that the archive announced.

    Attributes
    ----------
    announced, settled
        Number of studies, and of those whose announced instances are all here, rejected, or set aside.
    missing
        SOP Instance UIDs that were announced and never came.
    """

    announced: int
    settled: int
    missing: tuple[str, ...]


def announce(
    database: Database, study: str, available: Collection[str], unavailable: Collection[str], received_ns: int
) -> Announced:
    """Hide the instances that cannot be retrieved, bring the others back, and remember that these were announced.

    The last announcement of an instance counts. An instance that arrives after it was called unavailable is stored.
    """
    with database.writing() as tables:
        restored = lift(tables, dict.fromkeys((*available, *unavailable), BY_AVAILABILITY)).instances
        references = dict.fromkeys(unavailable, study)
        hidden = reject_references(
            tables, references, BY_AVAILABILITY, Title.UNAVAILABLE, received_ns, database.header.code_length
        )
        expected = set(tables.rejections.expected(study)).union(available).difference(unavailable)
        tables.rejections.expect(study, sorted(expected))
        tables.rejections.arrived(study, lambda uid: tables.ordinal(Level.IMAGE, uid) is not None)
        missing = sum(tables.ordinal(Level.IMAGE, uid) is None for uid in expected)
    return Announced(hidden, restored, missing)


def is_settled(snapshot: Snapshot, is_set_aside: Callable[[str], bool]) -> bool:
    """True if everything that the archive announced is here, rejected or set aside; it reads only what is awaited."""
    return all(
        snapshot.ordinal(Level.IMAGE, uid) is not None or snapshot.is_hidden(uid) or is_set_aside(uid)
        for uid in snapshot.rejections.all_awaited()
    )


def settlement(snapshot: Snapshot, is_set_aside: Callable[[str], bool]) -> Settlement:
    """Compare what was announced with what is stored; what was set aside has come, too."""
    settled, announced, missing = 0, 0, []
    for _, expected in snapshot.rejections.all_expected():
        unstored = (uid for uid in expected if snapshot.ordinal(Level.IMAGE, uid) is None)
        lacking = [uid for uid in unstored if not (snapshot.is_hidden(uid) or is_set_aside(uid))]
        announced, settled = announced + 1, settled + (not lacking)
        missing += lacking
    return Settlement(announced, settled, tuple(missing))
