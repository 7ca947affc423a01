"""An index in Milvus: the codes of one node or of several, on a server of their own."""

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Final

from hashing.codes import WORD_BITS, CodeLengthError, words
from storage.search.index import IndexRow
from storage.search.milvus.connection import Connection
from storage.search.milvus.expressions import LIVE_ROWS, among, joined
from storage.search.milvus.rows import LIVE, Row, key, values_of
from storage.search.milvus.view import MilvusView, State

SINCE: Final = ("owner", "added", "gone")
"""Fields that say when a row is there; all others say what it is."""


class MilvusIndex:
    """A `storage.search.index.CodeStore` over a collection of Milvus that several nodes may share.

    A view is one state of the rows of its owner although Milvus keeps no old states: each row says since which state
    it is there (`added`), and up to which (`gone`). Of a row that goes or changes, a copy with these numbers stays
    under a key of its own until `purge`. States are numbered by the time in nanoseconds, so that none comes twice.

    Parameters
    ----------
    owner
        Number of the node among those that share the collection.
    most_read
        Number of rows that a search by MEAN or LATE may read, since Milvus itself averages nothing.
    shared
        True to find the rows of other owners, too.
    """

    def __init__(
        self, connection: Connection, owner: int = 0, most_read: int = 1_000_000, *, shared: bool = True
    ) -> None:
        self.connection, self.owner, self.most_read, self.shared = connection, owner, most_read, shared
        self._writing = Lock()
        self._latest = time.time_ns()
        self._knows_all = False

    @property
    def name(self) -> str:
        """Text that tells this index from others."""
        return f"{self.connection.options.uri}/{self.connection.options.collection}"

    @contextmanager
    def view(self) -> Iterator[MilvusView]:
        """Open a view of the latest state, as `CodeIndex.view` says."""
        yield self.view_of(State(self._latest))

    def view_of(self, state: State) -> MilvusView:
        """View of a state of the owner's rows."""
        return MilvusView(self.connection, self.owner, state, self.most_read, shared=self.shared)

    def append(self, rows: Sequence[IndexRow]) -> None:
        """Add rows, as `CodeStore.append` says."""
        code_length = self.connection.origin.code_length
        for row in rows:
            if len(row.code) != words(code_length):
                raise CodeLengthError(len(row.code) * WORD_BITS, code_length)
        new = {key(row): values_of(row, code_length) for row in reversed(rows)}
        with self._next() as sequence:
            uids = {row.sop_instance_uid for row in rows}
            self.write(sequence, uids, (new | {row["key"]: row for row in self._stored(uids)}).values())

    def remove(self, sop_instance_uids: Sequence[str]) -> None:
        """Remove every row of some instances, as `CodeStore.remove` says."""
        with self._next() as sequence:
            self.write(sequence, sop_instance_uids, ())

    def write(self, sequence: int, uids: Collection[str], rows: Iterable[Row]) -> None:
        """Let some instances have exactly these rows from a state on; durable and visible when this returns.

        The same again changes nothing, so a call that failed is repeated with the same number. The rows of an instance
        that another owner wrote become those of this owner; without rows, they stay.

        Parameters
        ----------
        sequence
            Number of the state, greater than that of every state before.
        rows
            As `storage.search.milvus.rows.values_of` makes them.

        Raises
        ------
        storage.errors.IndexUnavailable
        """
        stored = {row["key"]: row for row in self._stored(uids)}
        wanted = {row["key"]: _without_since(row) | {"owner": self.owner} for row in _with_first(rows)}
        changed = {k: row for k, row in wanted.items() if k not in stored or _differs(row, stored[k])}
        gone = [k for k, row in stored.items() if k not in wanted and row["owner"] == self.owner]
        replaced = [stored[k] for k in (*changed, *gone) if k in stored and stored[k]["owner"] == self.owner]
        self._knows_all = False
        # copies first: meanwhile a view has a row twice, and never not at all; no view has seen a row of this state
        self.connection.upsert([_copy(row, sequence) for row in replaced if row["added"] < sequence])
        self.connection.upsert([row | {"added": sequence, "gone": LIVE} for row in changed.values()])
        if gone:
            self.connection.delete(among("key", gone))
        if changed or gone:
            self.connection.wait_visible()
        self._knows_all = True

    def differing(self, uids: Iterable[str], rows: Iterable[Row]) -> set[str]:
        """SOP Instance UIDs, of some instances, whose live rows of this owner are not exactly these rows."""
        stored = {row["key"]: row for row in self._stored(uids) if row["owner"] == self.owner}
        wanted = {row["key"]: _without_since(row) for row in _with_first(rows)}
        wrong = [row for k, row in wanted.items() if k not in stored or _differs(row, stored[k])]
        wrong += [row for k, row in stored.items() if k not in wanted]
        return {row["sop_instance_uid"] for row in wrong}

    def count(self) -> int:
        """Number of the owner's live rows."""
        return self.connection.count(f"owner == {self.owner} and {LIVE_ROWS}")

    def clear(self) -> None:
        """Delete every row of the owner."""
        self.connection.delete(f"owner == {self.owner}")
        self.connection.wait_visible()

    def purge(self, before: int) -> None:
        """Delete the copies of rows that went before a state: no view may be as old."""
        self.connection.delete(f"gone < {before}")

    @contextmanager
    def _next(self) -> Iterator[int]:
        """Number of the next state, which is the latest once the block has ended."""
        with self._writing:
            sequence = max(self._latest + 1, time.time_ns())
            yield sequence
            self._latest = sequence

    def _stored(self, uids: Iterable[str]) -> list[Row]:
        """Live rows of some instances, whoever owns them."""
        if not self._knows_all:
            self.connection.wait_visible()  # an earlier write may have failed halfway
        return self.connection.query(joined([LIVE_ROWS, among("sop_instance_uid", uids)]), ["*", "code"])


def _copy(row: Row, sequence: int) -> Row:
    """A row as views before a state see it."""
    return row | {"key": f"{row['key']}@{sequence}", "gone": sequence}


def _with_first(rows: Iterable[Row]) -> list[Row]:
    """Rows of which the first of each instance says so: counting these rows counts instances."""
    ordered = sorted(rows, key=lambda row: (row["sop_instance_uid"], row["frame"]))
    uids = [row["sop_instance_uid"] for row in ordered]
    return [row | {"first": index == 0 or uids[index - 1] != uids[index]} for index, row in enumerate(ordered)]


def _without_since(row: Row) -> Row:
    return {name: value for name, value in row.items() if name not in SINCE}


def _differs(row: Row, stored: Row) -> bool:
    return any(stored[name] != value for name, value in row.items())
