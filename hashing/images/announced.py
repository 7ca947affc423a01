"""Every size that a compressed frame announces: a decoder may believe another header than the first one."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from struct import unpack
from typing import Final

FRAME_HEADER: Final = re.compile(rb"\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf\xde\xf7](?=(.{8}))", re.DOTALL)
"""SOFn, DHP (ISO/IEC 10918-1 B.2.2, B.3.2) or SOF55 (ISO/IEC 14495-1 C.2.2); fill bytes may stand before the marker."""

NUMBER_OF_LINES: Final = re.compile(rb"\xff\xdc\0\x04(?=(.{2}))", re.DOTALL)  # DNL, ISO/IEC 10918-1 B.2.5
OVERSIZE: Final = re.compile(rb"\xff\xf8(?=(..\x04.{1,9}))", re.DOTALL)  # LSE with ID 4, ISO/IEC 14495-1 C.2.4.1.4
SIZ: Final = re.compile(rb"\xff\x51(?=(.{38}))", re.DOTALL)  # ISO/IEC 15444-1 A.5.1
JPEG_2000_STARTS: Final = (b"\xff\x4f\xff", b"\0\0\0\x0cjP  ", b"\x0d\x0a\x87\x0a")
MAX_COMPONENTS: Final = 4


@dataclass(frozen=True, slots=True)
class FrameSize:
    """The size that one header announces.

    Attributes
    ----------
    rows, columns
        0 where another header tells: rows that a DNL marker segment gives later, columns in that segment.
    """

    rows: int
    columns: int
    components: int


def announced_sizes(codestream: bytes) -> list[FrameSize]:
    """Every size that a JPEG, JPEG-LS or JPEG 2000 frame announces.

    A decoder may skip what it does not know, resume behind a wrong length and take the second of two headers. So the
    whole codestream is searched for headers whose own length agrees with their number of components; neither entropy
    coding can produce the marker of one.
    """
    if codestream.startswith(JPEG_2000_STARTS):
        return list(_jpeg_2000_sizes(codestream))
    return list(_jpeg_sizes(codestream))


def exceeds(codestream: bytes, rows: int, columns: int) -> bool:
    """Whether any header of a frame announces more pixels than the data set does."""
    sizes = announced_sizes(codestream)
    return any(size.rows * (size.columns or columns) > rows * columns for size in sizes)


def _jpeg_sizes(codestream: bytes) -> Iterator[FrameSize]:
    components = 1
    for header in FRAME_HEADER.finditer(codestream):
        length, _, rows, columns, components = unpack(">HBHHB", header[1])
        if length == 8 + 3 * components:
            yield FrameSize(rows, columns, components)
    for header in NUMBER_OF_LINES.finditer(codestream):
        yield FrameSize(int.from_bytes(header[1], "big"), 0, components)
    for header in OVERSIZE.finditer(codestream):
        length, _, width = unpack(">HBB", header[1][:4])
        if width <= 4 and length == 4 + 2 * width and len(header[1]) >= length:
            rows, columns = header[1][4 : 4 + width], header[1][4 + width : 4 + 2 * width]
            yield FrameSize(int.from_bytes(rows, "big"), int.from_bytes(columns, "big"), components)


def _jpeg_2000_sizes(codestream: bytes) -> Iterator[FrameSize]:
    for header in SIZ.finditer(codestream):
        length, _, right, bottom, left, top, *_, components = unpack(">HH8LH", header[1])
        if length == 38 + 3 * components and components <= MAX_COMPONENTS:
            yield FrameSize(bottom - top, right - left, components)
