"""Lookup tables: descriptors, entries, and the grayscale transformations that they make."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from hashing.images.attributes import Attributes, is_big_endian, read, shorts

Values = NDArray[np.float64]
Transformation = Callable[[Values], Values]

SHORT_VALUES = 1 << 16


@dataclass(frozen=True, slots=True)
class Descriptor:
    """The three values of a lookup table descriptor.

    Attributes
    ----------
    count
        Number of entries.
    first
        The input value that the first entry is for.
    bits
        Bits of an entry.
    """

    count: int
    first: int
    bits: int


@dataclass(frozen=True, slots=True)
class LookupTable:
    """A transformation by table; input before the first entry takes the first entry, beyond the last the last."""

    first: int
    entries: Values

    def __call__(self, values: Values) -> Values:
        """Entries of input values, of any shape; values between two whole numbers take the nearest's."""
        index = np.clip(np.rint(np.nan_to_num(values)) - self.first, 0, self.entries.size - 1).astype(np.int64)
        transformed: Values = self.entries[index]
        return transformed


def descriptor(item: Dataset, keyword: str, *, signed: bool) -> Descriptor | None:
    """Read a lookup table descriptor; None if there are no three values.

    Parameters
    ----------
    signed
        True if input values can be negative. This, and not the value representation that happens to be written, says
        what the second value means (PS3.3 C.7.6.3.1.5, C.11.1.1.1 and C.11.2.1.1).
    """
    values = shorts(item, keyword)
    if len(values) < 3:
        return None
    count, first, bits = values[:3]
    return Descriptor(count or SHORT_VALUES, first - SHORT_VALUES * (signed and first >= SHORT_VALUES // 2), bits)


def table_data(item: Dataset, keyword: str) -> bytes:
    """Entries of a table as words of 16 bits, lowest byte first, whatever the byte order and representation were."""
    value = read(item, keyword)
    if not isinstance(value, bytes):
        return np.array(shorts(item, keyword), "<u2").tobytes()
    if is_big_endian(item) and item[keyword].VR == "OW":
        return np.frombuffer(value[: len(value) // 2 * 2], "<u2").byteswap().tobytes()
    return value


def table_entries(data: bytes, described: Descriptor) -> NDArray[np.uint16]:
    """Entries of a table, at most as many as its descriptor says, fewer if there are fewer.

    Entries of up to 8 bits lie in a byte each or in a word each, and words pad an odd number of bytes: the length tells
    (PS3.3 C.11.1.1.1, PS3.5 7.1.1).
    """
    count = described.count
    in_bytes = len(data) < 2 * count and (described.bits <= 8 or count <= len(data) <= count + count % 2)
    entries = np.frombuffer(data if in_bytes else data[: len(data) // 2 * 2], "u1" if in_bytes else "<u2")
    return entries[:count].astype(np.uint16)


def lookup_table(attributes: Attributes, keyword: str, *, signed: bool) -> LookupTable | None:
    """First usable item of a sequence of Modality or VOI LUTs (PS3.3 C.11.1 and C.11.2); None if there is none.

    Parameters
    ----------
    signed
        True if the values that go into the table can be negative.
    """
    for item in attributes.get(keyword) or ():
        described = descriptor(item, "LUTDescriptor", signed=signed)
        if described is not None:
            entries = table_entries(table_data(item, "LUTData"), described)
            if entries.size:
                return LookupTable(described.first, entries.astype(np.float64))
    return None
