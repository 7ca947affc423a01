"""The errors of storage, each with its data and what to do."""

from pathlib import Path
from typing import Literal


class StorageError(Exception):
    """Base of every error of this package."""


class SpoolFull(StorageError):  # noqa: N818 -- a state, not a fault
    """The spool is above a mark: nothing was kept of the instance, and the sender should try again later.

    Attributes
    ----------
    reason
        "objects" (too many are waiting) or "disk" (too little space is left).
    """

    def __init__(self, path: Path, reason: Literal["objects", "disk"]) -> None:
        self.path, self.reason = path, reason
        todo = "wait for the indexer" if reason == "objects" else "free space on this disk"
        super().__init__(f"spool {path} is full ({reason}): {todo}, then send again")


class NoDatabase(StorageError):  # noqa: N818
    """The folder holds no database at all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(f"no database at {path}: is this the home folder of a node, and was the node ever started?")


class FormatError(StorageError):
    """The folder holds no database of a format that this release reads."""

    def __init__(
        self,
        path: Path,
        found: str,
        expected: str,
        todo: str = "open it with the release that wrote it, or index again into an empty folder",
    ) -> None:
        self.path, self.found, self.expected = path, found, expected
        super().__init__(f"database {path}: found {found}, expected {expected}; {todo}")


class ModelMismatch(StorageError):  # noqa: N818
    """The database holds codes of another model, which cannot be compared."""

    def __init__(self, found: str, expected: str) -> None:
        self.found, self.expected = found, expected
        super().__init__(
            f"database holds codes of model {found}, not of {expected}; go back to it by `lookalike model use`, "
            "or run `lookalike model reencode`, which gives its images the codes of this model"
        )


class DatabaseFull(StorageError):  # noqa: N818
    """The database reached its map size; nothing of the batch was kept."""

    def __init__(self, path: Path, map_size: int) -> None:
        self.path, self.map_size = path, map_size
        super().__init__(f"database {path} reached its map size of {map_size} bytes; set a larger one and restart")


class SnapshotError(StorageError):
    """A snapshot was used outside its `with` block, or entered twice."""


class SegmentError(StorageError):
    """A segment of the index cannot be used; its rows are scanned instead, with the same answers."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"segment {path}: {reason}; run `lookalike index build` to make it again")


class RowsMoved(StorageError):  # noqa: N818
    """The database was compacted while its rows were being read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(f"{path} was compacted meanwhile: try again")


class SegmentsBusy(StorageError):  # noqa: N818
    """Another process is at work on the segments of a database."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(f"another process is building or compacting {path}: wait until it has ended")


class IndexUnavailable(StorageError):  # noqa: N818 -- a state, not a fault
    """An index on another machine does not answer; the database of this machine is whole.

    Attributes
    ----------
    uri
        Address of the server.
    reason
        What the client library said, without the texts that were asked for.
    """

    def __init__(self, uri: str, reason: str) -> None:
        self.uri, self.reason = uri, reason
        super().__init__(f"the index at {uri} does not answer ({reason}): is the server running?")


class IndexMismatch(StorageError):  # noqa: N818
    """A collection holds codes of another model or length, or has another form than this release makes."""

    def __init__(self, collection: str, found: str, expected: str) -> None:
        self.collection, self.found, self.expected = collection, found, expected
        super().__init__(
            f"collection {collection} holds {found}, not {expected}: name another collection, "
            "and run `lookalike index migrate`"
        )


class TooManyRows(StorageError):  # noqa: N818
    """A search would have to read more rows from an index on another machine than it may."""

    def __init__(self, rows: int, most: int) -> None:
        self.rows, self.most = rows, most
        super().__init__(f"{rows:,} rows would be read and {most:,} may be: narrow the query")
