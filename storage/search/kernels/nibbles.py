"""Distances looked up, a nibble of many codes at a time: quicker than counting where no instruction counts in vectors.

A byte shuffle looks up 32 nibbles at once in a table of 16, which holds how many bits differ from the query's (Andre,
Kermarrec, Le Scouarnec: Cache locality is not enough, VLDB 2015, with exact tables). For this the codes of a tile are
split into planes of nibbles first, which pays for many queries only.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from llvmlite import binding, ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic
from numpy.typing import NDArray

from hashing.codes import Codes

Octets = NDArray[np.uint8]
GROUP: Final = 64
"""Rows that are split, and looked up, at once."""
TOGETHER: Final = 4
"""Queries that look at a group at once: more do not fit the registers."""
PLANES: Final = 16
"""Nibbles of a word."""
ENTRIES: Final = 16
"""Values of a nibble."""
MOST: Final = 255
"""Greatest limit there is: a byte holds a distance, and 256 comes out as 0, which is near by any limit."""
HALF: Final = 32
"""Bytes of a vector."""
LINE_BYTES: Final = 64
BYTE, WORD = ir.IntType(8), ir.IntType(64)
SHORT, VECTOR = ir.VectorType(BYTE, HALF // 2), ir.VectorType(BYTE, HALF)


def is_quicker() -> bool:
    """Whether the processor that kernels are compiled for shuffles bytes in vectors and cannot count in them."""
    if config.CPU_FEATURES is not None:  # type: ignore[attr-defined]
        has: Any = set(config.CPU_FEATURES.split(","))  # type: ignore[attr-defined]
        return "+avx2" in has and "+avx512vpopcntdq" not in has
    host: dict[str, bool] = binding.get_host_cpu_features()
    return host.get("avx2", False) and not host.get("avx512vpopcntdq", False)


def tables(queries: Codes) -> Octets:
    """Tables of each query, one a nibble; of queries that never find anything, up to a multiple of TOGETHER.

    Parameters
    ----------
    queries : (queries, words)
    """
    n, width = queries.shape
    shifts = np.arange(PLANES, dtype=np.uint64) * np.uint64(4)
    nibbles = ((queries[:, :, None] >> shifts) & np.uint64(ENTRIES - 1)).astype(np.uint8).reshape(n, -1, 1)
    found = aligned((n + -n % TOGETHER) * width * PLANES * ENTRIES)
    found[:] = 1
    found[: nibbles.size * ENTRIES] = np.bitwise_count(nibbles ^ np.arange(ENTRIES, dtype=np.uint8)).ravel()
    return found


def aligned(size: int) -> Octets:
    """Memory that begins with a line of the cache."""
    memory = np.empty(size + LINE_BYTES, np.uint8)
    start = -memory.ctypes.data % LINE_BYTES
    return memory[start : start + size]


def _split(_typing_context: Any, codes: Any, row: Any, nibbles: Any, place: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source = builder.bitcast(_pointer(context, builder, signature, arguments, 0), BYTE.as_pointer())
        target = _pointer(context, builder, signature, arguments, 2)
        low, four = _every(VECTOR, ENTRIES - 1), _every(VECTOR, 4)
        for half in range(0, GROUP, HALF):
            vectors = [
                _joined(builder, _load(builder, source, 8 * row, SHORT), _load(builder, source, 8 * row + 128, SHORT))
                for row in range(half, half + HALF // 2, 2)
            ]
            for _ in range(4):  # like a pack of cards: rows of bytes, riffled four times, are columns of bytes
                pairs = zip(vectors[:4], vectors[4:], strict=True)
                vectors = [_interleaved(builder, *pair, upper=upper) for pair in pairs for upper in (False, True)]
            for octet, vector in enumerate(vectors):
                for nibble, values in enumerate((builder.and_(vector, low), builder.lshr(vector, four))):
                    _store(builder, values, target, (2 * octet + nibble) * GROUP + half)
        return context.get_dummy_value()

    return types.void(codes, row, nibbles, place), generate


def _look_up(
    _typing_context: Any,
    table: Any,
    query: Any,
    nibbles: Any,
    place: Any,
    planes: Any,
    limits: Any,
    first: Any,
    near: Any,
) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        entries, columns, limit, found = (
            _pointer(context, builder, signature, arguments, number) for number in (0, 2, 5, 7)
        )
        shape = ir.FunctionType(VECTOR, [VECTOR, VECTOR])
        get: Any = cgutils.get_or_insert_function
        shuffle = get(builder.module, shape, "llvm.x86.avx2.pshuf.b")
        new: Any = cgutils.alloca_once_value
        sums = [[new(builder, _every(VECTOR, 0)) for _ in range(2)] for _ in range(TOGETHER)]
        planes = arguments[4]
        with cgutils.for_range(builder, planes) as loop:
            column = builder.mul(loop.index, ir.Constant(WORD, GROUP))
            values = [_load(builder, builder.gep(columns, [column]), half, VECTOR) for half in (0, HALF)]
            for number in range(TOGETHER):
                plane = builder.add(builder.mul(planes, ir.Constant(WORD, number)), loop.index)
                row = builder.gep(entries, [builder.mul(plane, ir.Constant(WORD, ENTRIES))])
                half = _load(builder, row, 0, SHORT)
                for total, value in zip(sums[number], values, strict=True):
                    differing = builder.call(shuffle, [_joined(builder, half, half), value])
                    builder.store(builder.add(builder.load(total), differing), total)
        joined = ir.Constant(WORD, 0)
        for number in range(TOGETHER):
            one = builder.gep(limit, [ir.Constant(WORD, number)])
            lower, upper = (_within(builder, builder.load(total), builder.load(one)) for total in sums[number])
            word = builder.or_(lower, builder.shl(upper, ir.Constant(WORD, HALF)))
            builder.store(word, builder.gep(found, [ir.Constant(WORD, number)]))
            joined = builder.or_(joined, word)
        return joined

    return types.uint64(table, query, nibbles, place, planes, limits, first, near), generate


def _pointer(context: Any, builder: Any, signature: Any, arguments: Any, number: int) -> Any:
    """Where an array begins, or the element that the argument behind it names."""
    array = context.make_array(signature.args[number])(context, builder, arguments[number]).data
    behind = number + 1 < len(arguments) and isinstance(signature.args[number + 1], types.Integer)
    return builder.gep(array, [arguments[number + 1]]) if behind else array


def _load(builder: Any, pointer: Any, offset: int, vector: Any) -> Any:
    place = builder.gep(pointer, [ir.Constant(WORD, offset)])
    return builder.load(builder.bitcast(place, vector.as_pointer()), align=1)


def _store(builder: Any, vector: Any, pointer: Any, offset: int) -> None:
    place = builder.gep(pointer, [ir.Constant(WORD, offset)])
    builder.store(vector, builder.bitcast(place, VECTOR.as_pointer()), align=1)


def _every(vector: Any, value: int) -> Any:
    return ir.Constant(vector, [value] * vector.count)


def _shuffled(builder: Any, one: Any, other: Any, order: Sequence[int]) -> Any:
    return builder.shuffle_vector(one, other, ir.Constant(ir.VectorType(ir.IntType(32), len(order)), list(order)))


def _joined(builder: Any, one: Any, other: Any) -> Any:
    return _shuffled(builder, one, other, range(HALF))


def _interleaved(builder: Any, one: Any, other: Any, *, upper: bool) -> Any:
    """Bytes of two vectors in turn, from the lower or upper half of each 128 bits: one instruction."""
    starts = [lane + 8 * upper for lane in (0, HALF // 2)]
    order = [byte for start in starts for n in range(start, start + 8) for byte in (n, HALF + n)]
    return _shuffled(builder, one, other, order)


def _within(builder: Any, vector: Any, limit: Any) -> Any:
    one = builder.insert_element(ir.Constant(VECTOR, ir.Undefined), limit, ir.Constant(ir.IntType(32), 0))
    near = builder.icmp_unsigned("<=", vector, _shuffled(builder, one, one, [0] * HALF))
    return builder.zext(builder.bitcast(near, ir.IntType(HALF)), WORD)


split: Any = intrinsic(_split)
"""Write the nibbles of a word of 64 codes, from a row on, to a place: plane by plane, 64 bytes each."""
look_up: Any = intrinsic(_look_up)
"""Which of 64 rows are within the limits of 4 queries: a word for each, and all of them joined."""
