"""Palettes: from stored values to colours (PS3.3 C.7.6.3.1.5 and C.7.9)."""

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from hashing.images.lookup_table import Descriptor, descriptor, table_data, table_entries
from hashing.images.pixel_error import PixelError

CHANNELS = ("Red", "Green", "Blue")
DISCRETE, LINEAR, INDIRECT = 0, 1, 2


def palette_colours(dataset: Dataset, stored: NDArray[np.integer]) -> NDArray[np.uint16]:
    """Look stored values up in the palette of an instance.

    Parameters
    ----------
    stored : (..., )
        Signed or unsigned integers.

    Returns
    -------
    (..., 3)
        Red, green and blue, in the bits of the table.

    Raises
    ------
    PixelError
        ``unsupported`` for a table that is missing or does not fit its descriptor.
    """
    values = stored.astype(np.int64)
    channels = []
    for name in CHANNELS:
        described, entries = _channel(dataset, name, signed=stored.dtype.kind == "i")
        channels.append(entries[np.clip(values - described.first, 0, described.count - 1)])
    return np.stack(channels, axis=-1)


def _channel(dataset: Dataset, name: str, *, signed: bool) -> tuple[Descriptor, NDArray[np.uint16]]:
    described = descriptor(dataset, f"{name}PaletteColorLookupTableDescriptor", signed=signed)
    if described is None:
        raise _refusal(name, "has no descriptor of three values")
    if described.bits not in (8, 16):
        raise _refusal(name, f"announces entries of {described.bits} bits, 8 or 16 are possible")
    plain, segmented = f"{name}PaletteColorLookupTableData", f"Segmented{name}PaletteColorLookupTableData"
    if data := table_data(dataset, plain):
        entries = table_entries(data, described)
    elif data := table_data(dataset, segmented):
        entries = _expanded(data, name, described)
    else:
        raise _refusal(name, "has no data")
    if entries.size < described.count:
        announced = f"{described.count} entries of {described.bits} bits announced"
        raise _refusal(name, f"does not fit: {announced}, {entries.size} are there in {len(data)} bytes")
    return described, entries


def _refusal(name: str, why: str) -> PixelError:
    return PixelError("unsupported", f"the {name.lower()} table of the palette {why}")


def _expanded(data: bytes, name: str, described: Descriptor) -> NDArray[np.uint16]:
    """Entries of a segmented table (PS3.3 C.7.9.2)."""
    numbers = np.frombuffer(data if described.bits == 8 else data[: len(data) // 2 * 2], f"<u{described.bits // 8}")
    entries: list[int] = []
    try:
        _expand(numbers.tolist(), 0, None, entries, described)
    except (IndexError, ValueError) as error:
        raise _refusal(name, "has a segment that does not end, or refers to none") from error
    return np.array(entries[: described.count], np.uint16)


def _expand(numbers: list[int], at: int, segments: int | None, entries: list[int], described: Descriptor) -> None:
    """Add the entries of a number of segments, or of all; an indirect segment may not lead to another."""
    within = segments is not None
    while len(entries) < described.count and (segments is None or segments > 0) and (within or at + 1 < len(numbers)):
        kind, length = numbers[at : at + 2]
        if kind == DISCRETE:
            entries += _exactly(numbers[at + 2 : at + 2 + length], length)
            at += 2 + length
        elif kind == LINEAR:
            last, end = entries[-1], numbers[at + 2]
            entries += np.rint(np.linspace(last, end, length + 1)[1:]).astype(int).tolist()
            at += 3
        elif kind == INDIRECT and not within:
            parts = 16 // described.bits * 2  # the offset has 32 bits, the lowest first
            offset = sum(
                part << described.bits * k for k, part in enumerate(_exactly(numbers[at + 2 :][:parts], parts))
            )
            _expand(numbers, offset * 8 // described.bits, length, entries, described)
            at += 2 + parts
        else:
            raise ValueError(f"segment of kind {kind}")
        segments = None if segments is None else segments - 1


def _exactly(numbers: list[int], length: int) -> list[int]:
    if len(numbers) != length:
        raise ValueError(f"{len(numbers)} numbers instead of {length}")
    return numbers
