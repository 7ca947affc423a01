"""The peers of search: faiss, and loops in C, the limit of what this machine can do.

`pip install lookalike[bench]`, and a C compiler.
"""

import ctypes
import os
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes
from storage.database.blocks import CODES
from storage.search.local_snapshot import Chunk

Search = Callable[[Codes, int, int], NDArray[Any]]
"""(queries, k, threads) to (queries, k) distances."""

SOURCE = r"""
#include <stdint.h>
#include <stddef.h>
#define IN_PIECES(parts, sizes, n, streams, LOOP)                                              \
    for (size_t p = 0; p < n; p++) {                                                           \
        int64_t lane = streams == 1 ? sizes[p] : (sizes[p] / streams / 128 + 1) * 128;         \
        int64_t piece = streams == 1 ? lane : 128;                                             \
        for (int64_t offset = 0; offset < lane; offset += piece)                               \
            for (int64_t first = offset; first < sizes[p]; first += lane) {                    \
                int64_t end = first + piece < sizes[p] ? first + piece : sizes[p];             \
                LOOP;                                                                          \
            }                                                                                  \
    }
uint64_t read_all(const uint64_t *const *parts, const int64_t *words, size_t n, int64_t streams) {
    uint64_t sum = 0;
    IN_PIECES(parts, words, n, streams, for (int64_t i = first; i < end; i++) sum += parts[p][i])
    return sum;
}
static int64_t near_one(const uint64_t *code, int64_t stride, int width, const uint64_t *query, int64_t limit) {
    int64_t ones = 0;
    for (int w = 0; w < width; w++) ones += __builtin_popcountll(code[w * stride] ^ query[w]);
    return ones <= limit;
}
#if defined(__AVX2__) && !defined(__AVX512VPOPCNTDQ__)
#include <immintrin.h>
static inline __m256i ones_of_four(const uint64_t *codes, uint64_t query) {
    const __m256i low = _mm256_set1_epi8(15);
    const __m256i ones = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,
                                          0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    __m256i apart = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)codes), _mm256_set1_epi64x(query));
    __m256i first = _mm256_shuffle_epi8(ones, _mm256_and_si256(apart, low));
    __m256i second = _mm256_shuffle_epi8(ones, _mm256_and_si256(_mm256_srli_epi16(apart, 4), low));
    return _mm256_sad_epu8(_mm256_add_epi8(first, second), _mm256_setzero_si256());
}
static inline int64_t near(const uint64_t *codes, int64_t n, int64_t stride, int width, const uint64_t *query,
                           int64_t limit) {
    __m256i found = _mm256_setzero_si256(), beyond = _mm256_set1_epi64x(limit + 1);
    int64_t i = 0, sums[4], rest = 0;
    for (; i + 4 <= n; i += 4) {
        __m256i ones = ones_of_four(codes + i, query[0]);
        for (int w = 1; w < width; w++) ones = _mm256_add_epi64(ones, ones_of_four(codes + w * stride + i, query[w]));
        found = _mm256_sub_epi64(found, _mm256_cmpgt_epi64(beyond, ones));
    }
    _mm256_storeu_si256((__m256i *)sums, found);
    for (; i < n; i++) rest += near_one(codes + i, stride, width, query, limit);
    return sums[0] + sums[1] + sums[2] + sums[3] + rest;
}
#else
static inline int64_t near(const uint64_t *codes, int64_t n, int64_t stride, int width, const uint64_t *query,
                           int64_t limit) {
    int64_t found = 0;
    for (int64_t i = 0; i < n; i++) found += near_one(codes + i, stride, width, query, limit);
    return found;
}
#endif
#define NEAR(width) found += near(parts[p] + first, end - first, strides[p], width, query, limit)
int64_t count_near(const uint64_t *const *parts, const int64_t *rows, const int64_t *strides, size_t n, int width,
                   const uint64_t *query, int64_t limit) {
    int64_t found = 0, streams = width < 4 ? 4 / width : 1;
    if (width == 1) IN_PIECES(parts, rows, n, streams, NEAR(1))
    if (width == 2) IN_PIECES(parts, rows, n, streams, NEAR(2))
    if (width == 4) IN_PIECES(parts, rows, n, streams, NEAR(4))
    return found;
}
"""


class Machine:
    """Loops in C, compiled for this machine."""

    def __init__(self, folder: Path) -> None:
        (folder / "limit.c").write_text(SOURCE)
        library = folder / "limit.so"
        command = ["cc", "-O3", "-march=native", "-shared", "-fPIC", "-o", str(library), str(folder / "limit.c")]
        subprocess.run(command, check=True)
        self._library = ctypes.CDLL(str(library))  # calls of it leave the interpreter lock
        self._library.read_all.restype = ctypes.c_uint64
        self._library.count_near.restype = ctypes.c_int64
        self._pool = ThreadPoolExecutor()

    def read(self, chunks: Sequence[Chunk], width: int, threads: int, streams: int = 1) -> None:
        """Read every code where it lies, of each block so many places in turn; in four no search can be faster."""

        def run(some: Sequence[Chunk]) -> None:
            for chunk in some:
                n = chunk.counts * width
                size, places = ctypes.c_size_t(len(n)), ctypes.c_int64(streams)
                self._library.read_all(_pointer(chunk.addresses[CODES]), _pointer(n), size, places)

        shares = [chunks[number::threads] for number in range(threads)]
        if threads == 1:
            run(chunks)  # in this thread, whose time is measured
        else:
            list(self._pool.map(run, shares))

    def count(self, chunks: Sequence[Chunk], query: NDArray[np.uint64], limit: int) -> int:
        """How many codes are within a distance, read in four places: all that a search does but find out the distance.

        Parameters
        ----------
        query : (words,)
            1, 2 or 4 words.
        """
        found = 0
        for chunk in chunks:
            parts = _pointer(chunk.addresses[CODES]), _pointer(chunk.counts), _pointer(chunk.strides)
            size, asked = ctypes.c_size_t(len(chunk.counts)), _pointer(query)
            found += self._library.count_near(*parts, size, len(query), asked, ctypes.c_int64(limit))
        return found


def faiss_flat(codes: Codes) -> Search:
    """Exact search: (queries, k) distances of so many nearest, on so many threads."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # its threads shall not spin
    library: Any = import_module("faiss")
    index = library.IndexBinaryFlat(codes.shape[1] * 64)
    index.add(codes.view(np.uint8))

    def search(queries: Codes, k: int, threads: int) -> NDArray[np.int32]:
        library.omp_set_num_threads(threads)
        distances: NDArray[np.int32] = index.search(queries.view(np.uint8), k)[0]
        return distances

    return search


def _pointer(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
