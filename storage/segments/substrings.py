"""The substrings of a multi-index: which bits of a code belong to which."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, log2

import numpy as np
from numpy.typing import NDArray

from hashing.codes import WORD_BITS, Codes, unpack, words
from storage.jit import U, kernel

MIN_WIDTH, MAX_WIDTH = 4, 24


@dataclass(frozen=True, slots=True)
class Partition:
    """Disjoint substrings that together hold every bit of a code.

    Attributes
    ----------
    code_length
        In bits.
    substrings
        Bits of each substring, its lowest first.
    """

    code_length: int
    substrings: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        """Refuse substrings that do not hold each bit once, or that are too wide."""
        if sorted(bit for bits in self.substrings for bit in bits) != list(range(self.code_length)):
            raise ValueError(f"{self.substrings} does not hold each of {self.code_length} bits once")
        if max(map(len, self.substrings)) > MAX_WIDTH:
            raise ValueError(f"a substring of {self.substrings} has more than {MAX_WIDTH} bits")

    @property
    def widths(self) -> NDArray[np.int64]:
        """(substrings,) number of bits of each substring."""
        return np.array([len(bits) for bits in self.substrings])

    @property
    def order(self) -> tuple[int, ...]:
        """Every bit, substring by substring."""
        return tuple(bit for bits in self.substrings for bit in bits)

    @property
    def reordered(self) -> "Partition":
        """The partition of codes whose bits were put in `order`."""
        ends = np.cumsum(self.widths).tolist()
        return Partition(self.code_length, tuple(tuple(range(*bounds)) for bounds in pairwise([0, *ends])))

    @property
    def masks(self) -> Codes:
        """(substrings, words) codes with the bits of one substring set."""
        masks = np.zeros((len(self.substrings), words(self.code_length)), np.uint64)
        for mask, bits in zip(masks, self.substrings, strict=True):
            for bit in bits:
                mask[bit // WORD_BITS] |= np.uint64(1 << bit % WORD_BITS)
        return masks


def balanced(sample: Codes, code_length: int, rows: int) -> Partition:
    """Substrings for an index of `rows` rows: alike in entropy, with dependent bits in different substrings.

    A substring has about log2(rows) bits, so that a bucket holds about one row (Norouzi et al., Fast exact search in
    Hamming space with multi-index hashing, TPAMI 2014, section 3.2). Equal bits in one substring would crowd its
    buckets (Qin et al., GPH, ICDE 2018): bits are dealt out by falling variance, one to each substring in turn, each
    where it is least correlated with those already there.

    Parameters
    ----------
    sample : (n, words)
        Codes drawn from those to be indexed.
    """
    width = min(max(log2(max(rows, 2)), MIN_WIDTH), MAX_WIDTH)
    count = ceil(code_length / width)
    bits = unpack(sample, code_length).astype(np.float32)
    spread = bits - bits.mean(axis=0)
    dependence = np.abs(spread.T @ spread)
    np.fill_diagonal(dependence, 0)
    substrings: list[list[int]] = [[] for _ in range(count)]
    for bit in np.argsort(-bits.var(axis=0), kind="stable").tolist():
        substrings[_least_dependent(substrings, dependence[bit])].append(bit)
    return Partition(code_length, tuple(tuple(sorted(bits)) for bits in substrings))


def lookup(bits: Sequence[int], code_words: int) -> NDArray[np.uint64]:
    """Table by which eight look-ups a word gather some bits of a code into one number.

    Returns
    -------
    (8 * code_words, 256) uint64
        For each byte of a code and each value of it, the bits that it contributes; the bits of all bytes are or-ed.
    """
    table = np.zeros((8 * code_words, 256), np.uint64)
    values = np.arange(256)
    for index, bit in enumerate(bits):
        table[bit // 8] |= (values >> bit % 8 & 1).astype(np.uint64) << np.uint64(index)
    return table


@kernel
def gather(tables: NDArray[np.uint64], code: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """(tables,) numbers that some tables of `lookup` gather from a code of (words,)."""
    gathered = np.zeros(tables.shape[0], np.uint64)
    for table in range(tables.shape[0]):
        for byte in range(tables.shape[1]):
            gathered[table] |= tables[table, byte, (code[byte >> 3] >> U((byte & 7) << 3)) & U(255)]
    return gathered


def _least_dependent(substrings: list[list[int]], dependence: NDArray[np.float32]) -> int:
    """Number of the shortest substring on which a bit depends least; the first of equals."""
    return min(range(len(substrings)), key=lambda j: (len(substrings[j]), float(dependence[substrings[j]].sum())))
