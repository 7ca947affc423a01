"""The index of a home folder moved to Milvus, and back: the database keeps every code, whichever searches them."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from node.errors import NodeError
from node.home import open_for_writing
from node.locks import InUseError
from node.processes import Role, node_lock, role_lock, running_node
from node.remote_index import open_milvus
from node.settings import Settings

Bar = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]
"""Opens a progress bar."""


class MigrationError(NodeError):
    """The rows in Milvus are not those of the database."""


def move_to_milvus(settings: Settings, bar: Bar) -> int:
    """Copy every code to Milvus, from where an earlier run ended, and compare; return how many rows are there.

    Raises
    ------
    node.locks.InUseError
        The node is running; it copies by itself once `index` is milvus.
    MigrationError
        Rows differ though they were written again.
    storage.errors.StorageError
        Milvus does not answer, or its collection is of other codes.
    """
    from storage.search.milvus.migration import compare, copy, write_again

    _require_stopped(settings)
    with node_lock(settings), role_lock(settings, Role.INDEX), open_for_writing(settings) as database:
        index = open_milvus(settings, database)
        with bar("copying") as report:
            copy(database, index, report)
        with bar("comparing") as report:
            found = compare(database, index, report)
        if not found.is_equal:
            with bar("writing again") as report:
                write_again(database, index, found, report)
            with bar("comparing") as report:
                found = compare(database, index, report)
        if not found.is_equal:
            raise MigrationError(
                f"{len(found.differing)} instances differ, {found.surplus} rows are too many in Milvus"
            )
        return index.count()


def leave_milvus(settings: Settings, bar: Bar, *, clear: bool) -> int:
    """End the feeding of Milvus, after comparing that the database has all that this node has there; return its rows.

    Parameters
    ----------
    clear
        True to delete the rows of this node in Milvus.

    Raises
    ------
    node.locks.InUseError, MigrationError, storage.errors.StorageError
        As `move_to_milvus`.
    """
    from storage.search.milvus.migration import compare, copy, leave

    _require_stopped(settings)
    with node_lock(settings), role_lock(settings, Role.INDEX), open_for_writing(settings) as database:
        index = open_milvus(settings, database)
        with bar("bringing up to date") as report:
            copy(database, index, report)
        with bar("comparing") as report:
            found = compare(database, index, report)
        if not found.is_equal:
            raise MigrationError(
                f"{len(found.differing)} instances differ, {found.surplus} rows are too many in Milvus"
            )
        rows = index.count()
        leave(database)
        if clear:
            index.clear()
        return rows


def _require_stopped(settings: Settings) -> None:
    if (owner := running_node(settings)) is not None:
        raise InUseError(settings.run_path, f"home folder {settings.home}", owner)
