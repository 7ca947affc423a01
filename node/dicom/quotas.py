"""Places for associations: so many for all callers, and so many for each, whichever process receives them."""

import fcntl
import hashlib
import os
import struct
from pathlib import Path
from typing import Final

LOCK: Final = struct.Struct("hhqqi4x")  # struct flock of Linux on 64 bits: type, whence, start, length, pid
TITLES: Final = 1 << 40  # where the bytes that stand for callers begin
MOST: Final = 1 << 16  # bytes of each


class Place:
    """A place that is taken until it is released, or the process ends, however that comes about."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def lock_one_of(self, start: int, count: int) -> bool:
        """Lock one byte of a range that nobody else holds; False where all are held."""
        return any(self._lock(start + number) for number in range(count))

    def release(self) -> None:
        """Give it back."""
        os.close(self._file)

    def _lock(self, byte: int) -> bool:
        wanted = LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
        try:
            fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, wanted)  # bound to this descriptor, not to the process
        except (BlockingIOError, PermissionError):
            return False
        return True


class Places:
    """The places of a node.

    Parameters
    ----------
    path
        File whose bytes stand for places; it stays empty.
    total, each
        For all callers together, and for each calling AE title.
    """

    def __init__(self, path: Path, total: int, each: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._total, self._each = path, total, min(each, MOST)

    def take(self, calling_ae_title: str) -> Place | None:
        """Return a place, None when there is none left for this caller."""
        digest = hashlib.blake2b(calling_ae_title.encode(errors="replace"), digest_size=4).digest()
        own = TITLES + int.from_bytes(digest) * MOST
        place = Place(self._path)
        if place.lock_one_of(own, self._each) and place.lock_one_of(0, self._total):
            return place
        place.release()
        return None
