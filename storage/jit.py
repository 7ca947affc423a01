"""How loops are compiled, and the machine instructions that they need beside Python's own.

Loops read blocks by their addresses, so that one call goes over many blocks where they lie.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import numpy as np
from llvmlite import binding, ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.core import cgutils, config
from numba.extending import intrinsic

Function = TypeVar("Function", bound=Callable[..., Any])
U: Final = np.uint64
NO_WORDS: Final = np.empty(0, np.uint64)
"""An array of the type that `at` gives to addresses of codes."""
LANES: Final = 64
"""Elements that `within` tests at once, whatever vectors the processor has."""
LINE: Final = 8
"""Words that memory brings together."""
READ, KEEP, DATA = 0, 3, 1
"""Arguments of `llvm.prefetch`: to read, into every cache, data."""


def stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Path, time of change and bytes of every module of a package."""
    modules = ((str(path.relative_to(folder)), path.stat()) for path in sorted(folder.rglob("*.py")))
    return tuple((name, status.st_mtime_ns, status.st_size) for name, status in modules)


STAMP: Final = stamp(Path(__file__).parent)


def kernel(function: Function) -> Function:
    """Compile without the interpreter lock, and keep the machine code where a cache can be written.

    Numba looks for changes in the module of a kernel only; but what a kernel calls lies in others, is compiled into it,
    and must agree with the memory that is made for it. So a change of any module makes all kernels compile again.
    """
    try:
        compiled: Any = njit(nogil=True, cache=True)(function)
    except RuntimeError:  # neither the package nor the user's cache folder can be written: compile in each process
        return cast("Function", njit(nogil=True)(function))
    files = compiled._cache._cache_file
    files._version = f"{files._version} {STAMP}"  # read before the rest, which may name modules that are gone
    return cast("Function", compiled)


def has_fast_prefetch() -> bool:
    """True if the processor that kernels are compiled for counts bits in vectors, and gains from `prefetch` in a scan.

    Intel's with `vpopcntq` read a stream of codes up to 1.4 times as fast with it; AMD's Zen 4 takes 1.5 times as long.
    """
    named, features = config.CPU_NAME, config.CPU_FEATURES  # type: ignore[attr-defined]
    host: dict[str, bool] = binding.get_host_cpu_features()
    counts = "+avx512vpopcntdq" in features.split(",") if features else host.get("avx512vpopcntdq", False)
    return counts and not (named or binding.get_host_cpu_name()).startswith("znver")


def is_kept(kernel: Any) -> bool:
    """True if the machine code of a kernel is cached for other processes."""
    return kernel.stats.cache_path is not None


def inlined(function: Function) -> Function:
    """Compile into every kernel that calls it."""
    return cast("Function", njit(nogil=True, inline="always")(function))


def _count_ones(_typing_context: Any, word: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return word(word), generate


def _lowest(_typing_context: Any, word: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return word(word), generate


def _at(_typing_context: Any, address: Any, like: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    pointer: Any = types.CPointer
    return pointer(like.dtype)(address, like), generate


def _prefetch(_typing_context: Any, array: Any, index: Any) -> Any:
    """Type and code of `prefetch`, for Numba."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        data = context.make_array(array)(context, builder, arguments[0]).data
        address = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        signature = ir.FunctionType(ir.VoidType(), [address.type, number, number, number])
        get: Any = cgutils.get_or_insert_function
        function = get(builder.module, signature, "llvm.prefetch.p0")
        builder.call(function, [address, *(ir.Constant(number, value) for value in (READ, KEEP, DATA))])
        return context.get_dummy_value()

    return types.void(array, index), generate


def _within(_typing_context: Any, array: Any, index: Any, low: Any, high: Any) -> Any:
    """Type and code of `within`, for Numba."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        lane = context.get_data_type(array.dtype)
        lanes, indices = ir.VectorType(lane, LANES), ir.VectorType(ir.IntType(32), LANES)
        data = context.make_array(array)(context, builder, arguments[0]).data
        first = builder.bitcast(builder.gep(data, [arguments[1]]), lanes.as_pointer())
        values = builder.load(first, align=lane.width // 8)

        def spread(value: Any) -> Any:
            """Return a vector with a value in every lane."""
            first = builder.insert_element(ir.Constant(lanes, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
            return builder.shuffle_vector(first, first, ir.Constant(indices, [0] * LANES))

        low, high = (context.cast(builder, arguments[n], _signature.args[n], array.dtype) for n in (2, 3))
        beyond, span = builder.sub(values, spread(low)), spread(builder.sub(high, low))
        return builder.bitcast(builder.icmp_unsigned("<=", beyond, span), ir.IntType(LANES))

    return types.uint64(array, index, low, high), generate


count_ones: Any = intrinsic(_count_ones)
"""Number of set bits, as one machine instruction where there is one (`popcnt`, or `vpopcntq` over a vector)."""
lowest: Any = intrinsic(_lowest)
"""Index of the lowest set bit of a word that is not 0."""
at: Any = intrinsic(_at)
"""Pointer to an address, of the type of the elements of an array: what `numba.carray` makes arrays of."""
within: Any = intrinsic(_within)
"""Word of the 64 elements of an array from an index on: which lie between two ends, of which the first is not more."""
prefetch: Any = intrinsic(_prefetch)
"""Bring the cache line of an element near; outside the array this does nothing."""
