"""One instance on its way into the spool: it grows as a temporary file, and is durable and queued at once, or gone."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from storage.durable import FolderSync, create_locked

EARLY_BYTES: Final = 1 << 21
"""Bytes after which the disk is told to begin: what is on its way need not be waited for at the end."""


class Arrival:
    """A file that is written piece by piece and then kept whole, or abandoned.

    Parameters
    ----------
    temporary, path
        Where it grows and where it ends, on the same file system, in folders that exist.
    sync
        Of the folder of `path`.
    on_kept
        Called once the file is durable.
    """

    __slots__ = ("_begun", "_file", "_is_renamed", "_on_kept", "_path", "_sync", "size_bytes", "temporary")

    def __init__(self, temporary: Path, path: Path, sync: FolderSync, on_kept: Callable[[], None]) -> None:
        self.temporary, self._path, self._sync, self._on_kept = temporary, path, sync, on_kept
        self._is_renamed = False
        self._file: int | None = create_locked(temporary)
        self.size_bytes = self._begun = 0

    def write(self, piece: bytes | memoryview) -> None:
        """Append bytes.

        Raises
        ------
        OSError
            Such as a full disk.
        """
        left = memoryview(piece)
        while left:
            written = os.write(self._open, left)
            self.size_bytes += written
            left = left[written:]
        if self.size_bytes - self._begun >= EARLY_BYTES:
            # The kernel starts to write dirty pages back, and goes on; those still dirty stay in the cache.
            os.posix_fadvise(self._open, self._begun, self.size_bytes - self._begun, os.POSIX_FADV_DONTNEED)
            self._begun = self.size_bytes

    def keep(self) -> Path:
        """Make the file durable under its final name: once this returns, it outlives a kill and a loss of power.

        Raises
        ------
        OSError
            It is not durable, and neither file is there.
        """
        try:
            os.fdatasync(self._open)  # success is a promise: the sender may delete its copy
            self.temporary.rename(self._path)
            self._is_renamed = True
            self._sync.wait()
        except BaseException:
            if self._is_renamed:
                self._path.unlink(missing_ok=True)
            raise
        finally:
            self.abandon()
        self._on_kept()
        return self._path

    def abandon(self) -> None:
        """Remove the file if it was not kept; a file that was kept stays."""
        if self._file is not None:
            if not self._is_renamed:
                self.temporary.unlink(missing_ok=True)
            os.close(self._file)
            self._file = None

    @property
    def _open(self) -> int:
        if self._file is None:
            raise ValueError(f"{self.temporary} was kept or abandoned already")
        return self._file
