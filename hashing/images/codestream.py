"""What a compressed frame says about itself: its size, its samples and its colours.

A decoder goes by the codestream, and so the codestream is believed where the data set contradicts it (PS3.5 8.2).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Literal

from pydicom.encaps import generate_fragments, get_frame, parse_basic_offsets, parse_fragments

Colour = Literal["RGB", "YBR_FULL", ""]

SOI = b"\xff\xd8"
SOF_MARKERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC} | {0xF7}  # all but DHT, JPG, DAC; F7 is SOF55 of JPEG-LS
DCT_MARKERS = (0xC0, 0xC1, 0xC2)
TEM, RST0, END, SOS, APP0, APP14 = 0x01, 0xD0, 0xD9, 0xDA, 0xE0, 0xEE
SOC_SIZ, COD, SOT, SOD, EOC = b"\xff\x4f\xff\x51", b"\xff\x52", b"\xff\x90", b"\xff\x93", b"\xff\xd9"
JP2_SIGNATURE, JP2_CODESTREAM = b"\0\0\0\x0cjP", b"jp2c"


@dataclass(frozen=True, slots=True)
class CodestreamHeader:
    """The frame header of a JPEG, JPEG-LS or JPEG 2000 codestream.

    Attributes
    ----------
    components
        Samples per pixel.
    precision
        Bits of a sample.
    signed
        True if the decoded samples are two's complement (JPEG 2000 only).
    colour
        Photometric interpretation of the decoded samples; "" where the codestream does not say.
    usual_colour
        Photometric interpretation of the decoded samples if neither codestream nor data set names one.
    """

    rows: int
    columns: int
    components: int
    precision: int
    signed: bool
    colour: Colour
    usual_colour: Colour


def frame_codestream(data: bytes, frame: int, n_frames: int, extended_offsets: tuple[bytes, bytes] | None) -> bytes:
    """Cut the codestream of one frame out of encapsulated pixel data (PS3.5 A.4).

    A fragment belongs to one frame. So if there are as many fragments as frames, each is a frame, whatever an offset
    table says: some tables are damaged, or hold zeros.

    Raises
    ------
    Exception
        Whatever pydicom raises for data that is no encapsulation, or too short.
    """
    buffer = BytesIO(data)
    parse_basic_offsets(buffer)
    try:
        n_fragments, offsets = parse_fragments(buffer)
    except ValueError:  # damaged somewhere: perhaps behind this frame
        n_fragments, offsets = 0, []
    if n_fragments != n_frames:
        return get_frame(data, frame, number_of_frames=n_frames, extended_offsets=extended_offsets)
    buffer.seek(offsets[frame])
    return next(generate_fragments(buffer))


def codestream_header(codestream: bytes) -> CodestreamHeader | None:
    """Read the header of a frame; None if it has no header that could be read.

    References
    ----------
    JPEG: ISO/IEC 10918-1 B.2.2. JPEG-LS: ISO/IEC 14495-1 C.2.2. JPEG 2000: ISO/IEC 15444-1 A.5.1 and A.6.1.
    """
    start = _jpeg_2000_start(codestream)
    if start is not None:
        return _jpeg_2000_header(codestream, start)
    return _jpeg_header(codestream) if codestream.startswith(SOI) else None


def with_end(codestream: bytes) -> bytes:
    """Give a JPEG 2000 codestream that lacks only its last marker that marker; any other codestream as it is.

    Its decoder refuses a frame without the marker, though all samples are there; those of JPEG and JPEG-LS do not.
    """
    start = _jpeg_2000_start(codestream)
    end = None if start is None else _end_of_tiles(codestream, start)
    if end is None or codestream.startswith(EOC, end):
        return codestream
    return codestream[:end] + EOC


def _jpeg_header(codestream: bytes) -> CodestreamHeader | None:
    said: Colour = ""
    frame_headers = []
    for marker, content in _jpeg_segments(codestream):
        if marker == APP0 and content.startswith(b"JFIF"):
            said = said or "YBR_FULL"
        if marker == APP14 and content.startswith(b"Adobe") and len(content) > 11:
            said = "YBR_FULL" if content[11] else "RGB"
        if marker in SOF_MARKERS and len(content) > 5:
            frame_headers.append((marker, content))
        if marker == SOS and len(frame_headers) == 1:
            return _jpeg_frame_header(*frame_headers[0], said)
    return None  # without a scan there are no samples, and some decoders make a black picture of that


def _jpeg_frame_header(marker: int, content: bytes, said: Colour) -> CodestreamHeader:
    rows, columns = int.from_bytes(content[1:3], "big"), int.from_bytes(content[3:5], "big")
    if content[6::3].upper() == b"RGB":  # names of the components
        said = "RGB"
    usual: Colour = "YBR_FULL" if marker in DCT_MARKERS else "RGB"
    return CodestreamHeader(rows, columns, content[5], content[0], False, said, usual)


def _jpeg_segments(codestream: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and content of each segment up to the header of the first scan (ISO/IEC 10918-1 B.1.1)."""
    at = 2
    while codestream[at : at + 1] == b"\xff":
        while codestream[at : at + 1] == b"\xff":  # fill bytes may stand before any marker
            at += 1
        marker = int.from_bytes(codestream[at : at + 1], "big")
        at += 1
        if marker == TEM or RST0 <= marker < END:  # without a segment
            continue
        length = int.from_bytes(codestream[at : at + 2], "big")
        if marker in (0, END) or length < 2:
            return
        yield marker, codestream[at + 2 : at + length]
        at += length


def _jpeg_2000_start(codestream: bytes) -> int | None:
    """Offset of a JPEG 2000 codestream, by itself or in the boxes of a JP2 file; None if there is none."""
    at = 0
    if codestream.startswith(JP2_SIGNATURE):
        while codestream[at + 4 : at + 8] != JP2_CODESTREAM:
            length = int.from_bytes(codestream[at : at + 4], "big")
            if length < 8:
                return None
            at += length
        at += 16 if codestream[at : at + 4] == b"\0\0\0\1" else 8  # a length of 1: the true one follows
    return at if codestream.startswith(SOC_SIZ, at) else None


def _jpeg_2000_header(codestream: bytes, start: int) -> CodestreamHeader:
    siz = codestream[start + 4 : start + 43].ljust(39, b"\0")
    x_size, y_size, x_offset, y_offset = (int.from_bytes(siz[at : at + 4], "big") for at in (4, 8, 12, 16))
    transformed = any(marker == COD and content[4:5] == b"\1" for marker, content in _main_header(codestream, start))
    colour: Colour = "RGB" if transformed else ""  # decoders undo the transformation of components
    components, precision = int.from_bytes(siz[36:38], "big"), (siz[38] & 0x7F) + 1
    signed = bool(siz[38] & 0x80)
    return CodestreamHeader(y_size - y_offset, x_size - x_offset, components, precision, signed, colour, "RGB")


def _main_header(codestream: bytes, start: int) -> Iterator[tuple[bytes, bytes]]:
    """Marker and content of each segment before the first tile-part."""
    at = start + 2
    while codestream[at : at + 1] == b"\xff":
        marker, length = codestream[at : at + 2], int.from_bytes(codestream[at + 2 : at + 4], "big")
        if marker in (SOT, SOD, EOC) or length < 2:
            return
        yield marker, codestream[at + 4 : at + 2 + length]
        at += 2 + length


def _end_of_tiles(codestream: bytes, start: int) -> int | None:
    """Offset behind the last tile-part; None if that lies beyond the codestream or is not said."""
    at = start + 2 + sum(4 + len(content) for _, content in _main_header(codestream, start))
    if codestream[at : at + 2] != SOT:
        return None
    while codestream[at : at + 2] == SOT:
        length = int.from_bytes(codestream[at + 6 : at + 10], "big")
        if length == 0:  # the last tile-part, up to the end
            whole = codestream.rstrip(b"\0")
            return len(whole) - 2 if whole.endswith(EOC) else len(whole.removesuffix(b"\xff"))
        at += length
    return at if at <= len(codestream) else None
