"""Binary codes as rows of 64-bit words: the vocabulary that hashing and storage share."""

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint64]
"""(n, ceil(code_length / 64)); bit i of a code is bit i % 64 of word i // 64, and spare bits are zero."""

MIN_CODE_LENGTH, MAX_CODE_LENGTH = 16, 256
WORD_BITS = 64


class CodeLengthError(ValueError):
    """A code length is outside the supported range, or codes have another length than expected.

    Attributes
    ----------
    found, expected
        Code lengths in bits; `expected` is None where any supported length would do.
    """

    def __init__(self, found: int, expected: int | None = None) -> None:
        self.found, self.expected = found, expected
        wanted = f"{MIN_CODE_LENGTH} to {MAX_CODE_LENGTH}" if expected is None else str(expected)
        super().__init__(f"codes of {found} bits came where {wanted} bits are expected; encode with a matching model")


def words(code_length: int) -> int:
    """Return the number of 64-bit words that hold one code of `code_length` bits.

    Raises
    ------
    CodeLengthError
        Outside 16 to 256 bits.
    """
    if not MIN_CODE_LENGTH <= code_length <= MAX_CODE_LENGTH:
        raise CodeLengthError(code_length)
    return -(-code_length // WORD_BITS)


def pack(bits: NDArray[np.bool_]) -> Codes:
    """Pack one boolean per bit into words.

    Parameters
    ----------
    bits : (n, code_length)
        True where the network's output is positive.

    Returns
    -------
    (n, words(code_length)) uint64
    """
    n, code_length = bits.shape
    as_bytes = np.zeros((n, words(code_length) * 8), np.uint8)
    as_bytes[:, : -(-code_length // 8)] = np.packbits(bits, axis=1, bitorder="little")
    return as_bytes.view("<u8").astype(np.uint64, copy=False)


def coded(relaxed: NDArray[np.floating]) -> Codes:
    """Codes (n, words) of relaxed codes (n, code_length): a bit is set where the value is >= 0."""
    return pack(relaxed >= 0)


def unpack(codes: Codes, code_length: int) -> NDArray[np.bool_]:
    """Undo `pack`.

    Returns
    -------
    (n, code_length) bool
    """
    _check_words(codes, code_length)
    as_bytes = np.ascontiguousarray(codes, dtype="<u8").view(np.uint8)
    return np.unpackbits(as_bytes, axis=1, count=code_length, bitorder="little").astype(np.bool_)


def prefix(codes: Codes, code_length: int) -> Codes:
    """The first `code_length` bits of nested codes, which are codes themselves.

    Returns
    -------
    (n, words(code_length)) uint64
        A copy, spare bits zero.
    """
    n_words = words(code_length)
    if codes.shape[1] < n_words:
        raise CodeLengthError(found=codes.shape[1] * WORD_BITS, expected=code_length)
    shortened = codes[:, :n_words].copy()
    spare = n_words * WORD_BITS - code_length
    shortened[:, -1] &= np.uint64(2**64 - 1 >> spare)
    return shortened


def hamming_distance(query: Codes, codes: Codes) -> NDArray[np.uint16]:
    """Count the bits in which each code differs from the query.

    The plain twin of the search kernel.

    Parameters
    ----------
    query : (words,)
    codes : (n, words)

    Returns
    -------
    (n,) uint16
    """
    if query.shape != codes.shape[1:]:
        raise CodeLengthError(found=query.size * WORD_BITS, expected=codes.shape[1] * WORD_BITS)
    distances: NDArray[np.uint16] = np.bitwise_count(codes ^ query).sum(axis=1, dtype=np.uint16)
    return distances


def _check_words(codes: Codes, code_length: int) -> None:
    if codes.shape[1] != words(code_length):
        raise CodeLengthError(found=codes.shape[1] * WORD_BITS, expected=code_length)
