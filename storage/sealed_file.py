"""A sealed file: a header, then chunks of 64 KiB, each sealed by AES-256-GCM under a key of the file's own.

The header is the mark, and a random salt of which the file's key is derived. The nonce of a chunk is its number and
whether it is the last one, so that no chunk can be left out, moved or cut off unnoticed (Hoang et al., CRYPTO 2015).
"""

import io
import os
from hashlib import sha256
from hmac import digest
from typing import BinaryIO, Final

MARK: Final = b"LKSEAL\x01\n"
"""First bytes of a sealed file; a DICOM file begins with zeros or an element of a low group, a picture with others."""
SALT_BYTES: Final = 16
HEADER_BYTES: Final = len(MARK) + SALT_BYTES
CHUNK_BYTES: Final = 1 << 16
TAG_BYTES: Final = 16
NONCE_BYTES: Final = 12


class SealedFileError(OSError):
    """A sealed file does not open: another key made it, or it was changed or cut."""


class SealedWriter:
    """Writes a new file from its beginning; used by one thread, which calls `finish` at the end.

    Parameters
    ----------
    descriptor
        Of an empty file; it stays the caller's.
    key
        Key of sealed files; b"" to write the bytes as they are.

    Attributes
    ----------
    written_bytes
        Size of the file so far.
    """

    def __init__(self, descriptor: int, key: bytes) -> None:
        self._descriptor, self._key, self._number = descriptor, key, 0
        self._rest = bytearray()
        self._is_finished = not key
        self.written_bytes = 0
        if key:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM

            salt = os.urandom(SALT_BYTES)
            self._cipher = AESGCM(_file_key(key, salt))
            self._put(MARK + salt)

    def write(self, piece: bytes | memoryview) -> int:
        """Append bytes; return how many.

        Raises
        ------
        OSError
            Such as a full disk.
        """
        if not self._key:
            return self._put(piece)
        self._rest += piece
        if len(self._rest) > CHUNK_BYTES:  # never all: the last chunk is sealed as such
            whole = (len(self._rest) - 1) // CHUNK_BYTES * CHUNK_BYTES
            for start in range(0, whole, CHUNK_BYTES):
                self._seal(bytes(self._rest[start : start + CHUNK_BYTES]), is_last=False)
            del self._rest[:whole]
        return len(piece)

    def finish(self) -> None:
        """Write the last chunk; nothing may be written after it, and a second call does nothing."""
        if not self._is_finished:
            self._seal(bytes(self._rest), is_last=True)
            self._is_finished = True

    def _seal(self, chunk: bytes, *, is_last: bool) -> None:
        self._put(self._cipher.encrypt(_nonce(self._number, is_last=is_last), chunk, None))
        self._number += 1

    def _put(self, piece: bytes | memoryview) -> int:
        left = memoryview(piece)
        while left:
            written = os.write(self._descriptor, left)
            self.written_bytes += written
            left = left[written:]
        return len(piece)


def is_sealed(file: BinaryIO) -> bool:
    """True if a file that was just opened is sealed; it is at its beginning afterwards."""
    found = file.read(len(MARK)) == MARK
    file.seek(0)
    return found


def open_sealed(file: BinaryIO, key: bytes) -> BinaryIO:
    """Open a sealed file, which was just opened, as a file of what was written; closing it closes the other.

    Raises
    ------
    SealedFileError
        From reading, or at once: the key does not open it, or it was changed or cut.
    """
    return io.BufferedReader(_SealedReader(file, key), CHUNK_BYTES)


class _SealedReader(io.RawIOBase):
    """Reads at any offset; one chunk is held open."""

    def __init__(self, file: BinaryIO, key: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._file, self.name = file, file.name
        self._cipher = AESGCM(_file_key(key, file.read(HEADER_BYTES)[len(MARK) :]))
        sealed = file.seek(0, io.SEEK_END) - HEADER_BYTES
        self._chunks = max(1, -(-sealed // (CHUNK_BYTES + TAG_BYTES)))
        self._size = sealed - self._chunks * TAG_BYTES
        if self._size < (self._chunks - 1) * CHUNK_BYTES + (self._chunks > 1):
            raise SealedFileError(f"{self.name} was cut")
        self._offset, self._number, self._chunk = 0, -1, b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._offset, io.SEEK_END: self._size}[whence]
        self._offset = max(0, start + offset)
        return self._offset

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]
        if self._offset >= self._size:
            if not self._size:
                self._chunk_at(0)  # that there is nothing is sealed, too
            return 0
        number, skipped = divmod(self._offset, CHUNK_BYTES)
        piece = memoryview(self._chunk_at(number))[skipped : skipped + len(buffer)]
        buffer[: len(piece)] = piece
        self._offset += len(piece)
        return len(piece)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()

    def _chunk_at(self, number: int) -> bytes:
        from cryptography.exceptions import InvalidTag

        if number != self._number:
            self._file.seek(HEADER_BYTES + number * (CHUNK_BYTES + TAG_BYTES))
            sealed = self._file.read(CHUNK_BYTES + TAG_BYTES)
            nonce = _nonce(number, is_last=number == self._chunks - 1)
            try:
                self._chunk, self._number = self._cipher.decrypt(nonce, sealed, None), number
            except (InvalidTag, ValueError) as error:
                raise SealedFileError(f"{self.name} cannot be opened: another key, or it was changed or cut") from error
        return self._chunk


def _file_key(key: bytes, salt: bytes) -> bytes:
    return digest(key, b"file" + salt + b"\x01", sha256)


def _nonce(number: int, *, is_last: bool) -> bytes:
    return number.to_bytes(NONCE_BYTES - 1, "big") + bytes([is_last])
