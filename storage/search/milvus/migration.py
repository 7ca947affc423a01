"""The index moved between the database and Milvus: copied, compared row by row, and resumed anywhere."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from storage.database.database import Database
from storage.database.snapshot import Snapshot
from storage.record import Level
from storage.search.milvus.feed import BATCH, Feeder, stored_values
from storage.search.milvus.index import MilvusIndex

Report = Callable[[int, int], object]
"""Progress: called with the instances done and the instances of the whole."""


@dataclass(frozen=True, slots=True)
class RowComparison:
    """Differences between the rows in Milvus and those of the database.

    Attributes
    ----------
    instances
        Number of instances that were compared.
    differing
        SOP Instance UIDs of those whose rows differ, or lack.
    surplus
        Number of rows in Milvus beyond those of the database.
    """

    instances: int
    differing: tuple[str, ...]
    surplus: int

    @property
    def is_equal(self) -> bool:
        """True if Milvus has exactly the rows of the database."""
        return not self.differing and not self.surplus


def copy(database: Database, index: MilvusIndex, report: Report) -> None:
    """Write to Milvus what it lacks, from where an earlier run ended; no other process may feed it.

    Raises
    ------
    storage.errors.IndexUnavailable, storage.errors.IndexMismatch
        What was written stays; the next call goes on behind it.
    """
    feeder = Feeder(database, index)
    while True:
        fed = feeder.step()
        with database.snapshot() as snapshot:
            state, bound = snapshot.changes.fed, snapshot.ordinal_bound(Level.IMAGE)
        done = bound if state is None or state.copied is None else state.copied
        report(done, bound)
        if not fed and (state is None or state.copied is None):
            return


def compare(database: Database, index: MilvusIndex, report: Report) -> RowComparison:
    """Compare every row in Milvus with that of the database; nothing may change meanwhile."""
    differing: list[str] = []
    instances = rows = 0
    with database.snapshot() as snapshot:
        for uids in _batches(snapshot):
            wanted = [row for uid in uids for row in stored_values(snapshot, uid, shared=index.shared)]
            differing += sorted(index.differing(uids, wanted))
            instances, rows = instances + len(uids), rows + len(wanted)
            report(instances, snapshot.count(Level.IMAGE))
    return RowComparison(instances, tuple(differing), max(0, index.count() - rows))


def write_again(database: Database, index: MilvusIndex, found: RowComparison, report: Report) -> None:
    """Bring Milvus to the rows of the database: what differs is written again, and all if there is a surplus."""
    if found.surplus:
        index.clear()
        leave(database)
    else:
        with database.writing() as tables:
            for uid in found.differing:
                tables.changes.note(Level.IMAGE, uid)
    copy(database, index, report)


def leave(database: Database) -> None:
    """End the feeding: the next one begins with the first instance."""
    with database.writing() as tables:
        tables.changes.set_fed(None)


def _batches(snapshot: Snapshot) -> Iterator[list[str]]:
    instances = snapshot.entities(Level.IMAGE)
    while some := [instance.uid for instance in islice(instances, BATCH)]:
        yield some
