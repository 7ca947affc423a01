"""Padding: pixels that are no part of the image (PS3.3 C.7.5.1.1.2 and C.7.6.24)."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashing.images.attributes import Attributes, numbers
from hashing.images.frames import StoredFrame

PaddingTest = Callable[[NDArray[Any]], NDArray[np.bool_]]

SHORT_BITS = 16


def padding_test(stored: StoredFrame, attributes: Attributes) -> PaddingTest:
    """Function that tells of stored values, of any shape, which are padding.

    Padding reaches from Pixel Padding Value to Pixel Padding Range Limit, both included, in either order. Float pixels
    have attributes of their own, and what is no finite number is padding too.
    """
    if stored.pixels.dtype.kind == "f":
        ends = _float_ends(attributes, stored.pixels.dtype)
        if not ends:
            return lambda values: ~np.isfinite(values)
        return lambda values: ~np.isfinite(values) | ((values >= min(ends)) & (values <= max(ends)))
    ends = _ends(attributes, "PixelPaddingValue", "PixelPaddingRangeLimit")
    storable = [_as_stored(int(value), stored.pixels.dtype) for value in ends if np.isfinite(value)]
    if not storable:
        return lambda values: np.zeros(values.shape, np.bool_)
    return lambda values: np.asarray((values >= min(storable)) & (values <= max(storable)))


def _float_ends(attributes: Attributes, dtype: np.dtype[Any]) -> list[Any]:
    for kind in ("Float", "DoubleFloat"):
        if ends := _ends(attributes, f"{kind}PixelPaddingValue", f"{kind}PixelPaddingRangeLimit"):
            return [dtype.type(value) for value in ends]  # so that 0.1 is the 0.1 that pixels can hold
    return []


def _ends(attributes: Attributes, value_keyword: str, limit_keyword: str) -> list[float]:
    value, limit = (next(iter(numbers(attributes, keyword)), None) for keyword in (value_keyword, limit_keyword))
    return [] if value is None else [value] if limit is None else [value, limit]


def _as_stored(value: int, dtype: np.dtype[Any]) -> int:
    """Stored value that has the bit pattern of a padding value.

    US and SS hold 16 bits, and either is written beside signed and unsigned pixels. A value that has no such pattern,
    or none of the size of a pixel, stays as it is.
    """
    size = 8 * dtype.itemsize
    bits = SHORT_BITS if size > SHORT_BITS and -(1 << SHORT_BITS - 1) <= value < 1 << SHORT_BITS else size
    if dtype.kind == "i":
        return value - (1 << bits) if 1 << bits - 1 <= value < 1 << bits else value
    return value + (1 << bits) if bits >= SHORT_BITS and -(1 << bits - 1) <= value < 0 else value
