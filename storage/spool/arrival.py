"""One instance on its way into the spool: it grows as a temporary file, and is durable and queued at once, or gone."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from storage.durable import FolderSync, create_locked
from storage.vault import CLEAR, Vault

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
    vault
        Seals the file.
    """

    __slots__ = ("_begun", "_file", "_is_renamed", "_on_kept", "_path", "_sealed", "_sync", "temporary")

    def __init__(
        self, temporary: Path, path: Path, sync: FolderSync, on_kept: Callable[[], None], vault: Vault = CLEAR
    ) -> None:
        self.temporary, self._path, self._sync, self._on_kept = temporary, path, sync, on_kept
        self._is_renamed = False
        self._file: int | None = create_locked(temporary)
        self._sealed = vault.writer(self._file)
        self._begun = 0

    def write(self, piece: bytes | memoryview) -> None:
        """Append bytes.

        Raises
        ------
        OSError
            Such as a full disk.
        """
        file = self._open
        self._sealed.write(piece)
        written_bytes = self._sealed.written_bytes
        if written_bytes - self._begun >= EARLY_BYTES:
            # The kernel starts to write dirty pages back, and goes on; those still dirty stay in the cache.
            os.posix_fadvise(file, self._begun, written_bytes - self._begun, os.POSIX_FADV_DONTNEED)
            self._begun = written_bytes

    def complete(self) -> Path:
        """Write the last bytes, so that the temporary file can be read as a whole; return its path."""
        _ = self._open
        self._sealed.finish()
        return self.temporary

    def keep(self) -> Path:
        """Make the file durable under its final name: once this returns, it outlives a kill and a loss of power.

        Raises
        ------
        OSError
            It is not durable, and neither file is there.
        """
        try:
            self.complete()
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
