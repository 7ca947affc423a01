"""The order of codes about a query: by Hamming distance, then by the weights of the bits that differ."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes
from storage.jit import U, count_ones, kernel, lowest

WEIGHT_BITS: Final = 16
"""Bits of a key below the distance: 256 weights of at most 127 fit."""
MAX_WEIGHT: Final = (1 << WEIGHT_BITS) - 1


@kernel
def order_keys(codes: Codes, query: NDArray[np.uint64], weights: NDArray[np.uint8], keys: NDArray[np.uint32]) -> None:
    """Lower the key of each code to that of its pair with a query, if that is less.

    Parameters
    ----------
    codes : (words, n)
    query : (words,)
    weights : (64 * words,)
        Weight of each bit, at most 127.
    keys : (n,)
        Distance of the pair shifted by WEIGHT_BITS, plus the sum of the weights of the bits that differ.
    """
    for row in range(U(codes.shape[1])):
        distance, weight = U(0), U(0)
        for w in range(U(codes.shape[0])):
            bits = codes[w, row] ^ query[w]
            distance += count_ones(bits)
            while bits:
                weight += U(weights[(w << U(6)) + lowest(bits)])
                bits &= bits - U(1)
        keys[row] = min(keys[row], np.uint32(distance << U(WEIGHT_BITS) | weight))
