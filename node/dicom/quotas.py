"""Quotas of concurrent associations, in total and for each calling AE title, shared by all receiver processes."""

import fcntl
import hashlib
import os
import struct
from pathlib import Path
from typing import Final

LOCK: Final = struct.Struct("hhqqi4x")  # struct flock of Linux on 64 bits: type, whence, start, length, pid
FIRST_TITLE_BYTE: Final = 1 << 40
"""Offset of the first byte that stands for a slot of one calling AE title; lower bytes are shared slots."""
MAX_SLOTS_EACH: Final = 1 << 16


class Slot:
    """The right to one association, until it is released or the process ends, however that comes about.

    It is a lock on bytes of a file that stays empty. The lock belongs to the file descriptor, so the kernel frees it.

    Raises
    ------
    OSError
        The file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def lock_any(self, start: int, count: int) -> bool:
        """Lock one of `count` bytes from offset `start` on; False if others hold them all."""
        return any(self._lock(start + number) for number in range(count))

    def release(self) -> None:
        """Give the slot back. A second call does nothing."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def _lock(self, byte: int) -> bool:
        lock = LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
        try:
            fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, lock)  # bound to this descriptor, not to the process
        except (BlockingIOError, PermissionError):
            return False
        return True


class Quotas:
    """Quotas of concurrent associations, in total and for each calling AE title.

    Parameters
    ----------
    path
        File whose bytes stand for slots. It is made here, so that a full disk later rejects nobody.
    total, each
        Slots for all callers together, and for each calling AE title.

    Raises
    ------
    OSError
        The file cannot be made.
    """

    def __init__(self, path: Path, total: int, each: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._total, self._each = path, total, min(each, MAX_SLOTS_EACH)
        Slot(path).release()

    def take(self, calling_ae_title: str) -> Slot | None:
        """Take a slot; None if none is left for this caller.

        Raises
        ------
        OSError
            The slots cannot be counted: the caller must not be admitted.
        """
        digest = hashlib.blake2b(calling_ae_title.encode(errors="replace"), digest_size=4).digest()
        own = FIRST_TITLE_BYTE + int.from_bytes(digest) * MAX_SLOTS_EACH
        slot = Slot(self._path)
        taken = False
        try:
            taken = slot.lock_any(own, self._each) and slot.lock_any(0, self._total)
        finally:
            if not taken:
                slot.release()
        return slot if taken else None
