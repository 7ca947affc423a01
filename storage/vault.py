"""What is written to disk, sealed by AES-256-GCM where there is a key, and read again.

A vault without a key writes everything as it is. With one, each value and each chunk of a file is sealed by a key of
its own purpose, derived from the data key of the home folder, and bound to where it lies: a value that was changed or
moved does not open.
"""

import os
from functools import cached_property
from hashlib import sha256
from hmac import digest
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Self

from storage.errors import StorageError
from storage.sealed_file import SealedWriter, is_sealed, open_sealed

if TYPE_CHECKING:  # a process without a key does without the 9 MB of the library
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
"""Length of a random nonce; one key may seal 2^32 values with such (NIST SP 800-38D 8.3)."""
FILES: Final = "files"
"""Purpose of the key of files."""


class SealError(StorageError):
    """What lies on disk is sealed, and this key does not open it; or it was changed.

    Attributes
    ----------
    what
        The table or the file.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(f"{what} cannot be opened: it is sealed with another key, or was changed")


class Vault:
    """Seals values, keys of tables and files.

    Parameters
    ----------
    key
        32 random bytes, the data key; b"" to seal nothing.
    """

    def __init__(self, key: bytes = b"") -> None:
        if key and len(key) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes, not {len(key)}")
        self._key = key
        self._ciphers: dict[str, AESGCM] = {}

    def __reduce__(self) -> tuple[type[Self], tuple[bytes]]:
        """Go to another process by its key."""
        return type(self), (self._key,)

    def __bool__(self) -> bool:
        """True if it seals."""
        return bool(self._key)

    @property
    def name(self) -> str:
        """Text that tells the key from others and nothing of it; "" without a key."""
        return self._derived("name")[:8].hex() if self._key else ""

    def seal(self, purpose: str, place: bytes, value: bytes) -> bytes:
        """Seal a value that will lie at a place.

        Parameters
        ----------
        purpose
            Kind of the values; each has a key of its own.
        place
            Where it lies, such as its key in a table; the value opens nowhere else.
        """
        if not self._key:
            return value
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher(purpose).encrypt(nonce, value, place)

    def unseal(self, purpose: str, place: bytes, value: bytes | memoryview) -> bytes | memoryview:
        """Undo `seal`.

        Raises
        ------
        SealError
            It was sealed with another key, for another purpose or place, or was changed.
        """
        if not self._key:
            return value
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher(purpose).decrypt(value[:NONCE_BYTES], value[NONCE_BYTES:], place)
        except (InvalidTag, ValueError) as error:  # ValueError: shorter than a nonce
            raise SealError(f"a value of {purpose}") from error

    def conceal(self, text: bytes) -> bytes:
        """Encrypt a text so that equal texts stay equal, and 16 bytes longer (AES-SIV, RFC 5297): to look it up."""
        return self._siv.encrypt(text, None) if text else b""

    def reveal(self, concealed: bytes) -> bytes:
        """Undo `conceal`.

        Raises
        ------
        SealError
            It was made with another key, or changed.
        """
        from cryptography.exceptions import InvalidTag

        try:
            return self._siv.decrypt(concealed, None) if concealed else b""
        except (InvalidTag, ValueError) as error:
            raise SealError("a key of the index") from error

    def mark(self, text: bytes) -> bytes:
        """32 bytes that stand for a text, and tell nothing of it to who has not the key (HMAC-SHA256)."""
        return digest(self._mark_key, text, "sha256")

    def open(self, path: Path) -> BinaryIO:
        """Open a file for reading; one that is not sealed is read as it is.

        Raises
        ------
        SealError
            It is sealed, and there is no key.
        storage.sealed_file.SealedFileError
            From reading, or at once: it is sealed with another key, or was changed or cut.
        """
        file = path.open("rb")
        if not is_sealed(file):
            return file
        if not self._key:
            file.close()
            raise SealError(path.name)
        try:
            return open_sealed(file, self._derived(FILES))
        except BaseException:
            file.close()
            raise

    def writer(self, descriptor: int) -> SealedWriter:
        """What writes a new file, given as a descriptor that stays the caller's."""
        return SealedWriter(descriptor, self._derived(FILES) if self._key else b"")

    def _cipher(self, purpose: str) -> "AESGCM":
        if purpose not in self._ciphers:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM

            self._ciphers[purpose] = AESGCM(self._derived(purpose))
        return self._ciphers[purpose]

    @cached_property
    def _siv(self) -> "AESSIV":
        from cryptography.hazmat.primitives.ciphers.aead import AESSIV

        return AESSIV(self._derived("lookup") + self._derived("lookup, second half"))

    @cached_property
    def _mark_key(self) -> bytes:
        return self._derived("mark")

    def _derived(self, purpose: str) -> bytes:
        """Key of one purpose: the expansion of the data key (HKDF, RFC 5869 2.3, one block)."""
        return digest(self._key, purpose.encode() + b"\x01", sha256)


CLEAR: Final = Vault()
"""Writes everything as it is."""
