"""Files that survive a kill and a loss of power, whole or not at all."""

import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO


def write_durably(chunks: Iterable[bytes | memoryview], temporary: Path, path: Path) -> None:
    """Write a file that is there, whole, once this returns; if it fails, neither file is there.

    Parameters
    ----------
    temporary, path
        Where it grows and where it ends, on the same file system, in folders that exist.

    Raises
    ------
    OSError
        Such as a full disk; and whatever `chunks` raises.
    """
    try:
        with _create_locked(temporary) as file:
            file.writelines(chunks)
            file.flush()
            os.fdatasync(file.fileno())  # success is a promise: the sender may delete its copy
            temporary.rename(path)
        sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def folder_names(folder: Path) -> list[str]:
    """List the names in a folder; as paths, a hundred thousand would take several times as long."""
    return os.listdir(folder)  # noqa: PTH208


def remove_stale(folder: Path) -> int:
    """Remove temporary files whose writers are dead, and return how many.

    A living writer holds a lock. Process numbers would not do: containers that share a folder do not share those.
    """
    removed = 0
    for path in folder.iterdir():
        try:
            file = path.open("rb")
        except FileNotFoundError:  # its writer has just finished
            continue
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            path.unlink(missing_ok=True)
            removed += 1
    return removed


def _create_locked(path: Path) -> BinaryIO:
    while True:
        file = path.open("xb")
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # removed as stale before it was locked
