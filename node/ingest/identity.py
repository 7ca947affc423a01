"""The identity of an instance: its UIDs are checked in the first bytes of the data set as these come (PS3.5 section 7).

Nothing behind the first 64 KiB is looked at. What shows there is never acknowledged: other UIDs than the command's,
bytes that are no data set, and a data set that ends within one of the elements that begin there.
"""

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Final

from pydicom.filereader import read_dataset
from pydicom.tag import Tag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from node.dicom.command_set import Request
from node.errors import Refusal, Status

SOP_CLASS_UID, SOP_INSTANCE_UID = 0x0008_0016, 0x0008_0018
HEAD_BYTES: Final = 1 << 16
"""Far more than the elements up to the SOP Instance UID take."""
UNDEFINED: Final = 0xFFFF_FFFF
ITEM_GROUP: Final = ((b"\xfe\xff", b""), (b"\xff\xfe", b""))
"""How an item or a delimiter begins in Little Endian and in Big Endian (PS3.5 section 7.5); "" where the bytes end."""
LONG_VRS: Final = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
SHORT_VRS: Final = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
"""Value representations with a length of 32 and of 16 bits (PS3.5 section 7.1.2)."""


@dataclass(slots=True)
class Elements:
    """What a walk over the first bytes of a data set found.

    Attributes
    ----------
    uids
        SOP Class UID and SOP Instance UID, as far as they are there.
    end
        Offset at which the last element ends whose length is known; beyond the bytes if it is cut.
    fault
        Why the bytes are no data set, None if they are one as far as the walk went.
    """

    uids: dict[int, str] = field(default_factory=dict)
    end: int = 0
    fault: str | None = None


class IdentityCheck:
    """Compares the UIDs of an arriving data set with those of the command, and looks whether it is a data set at all.

    Parameters
    ----------
    request
        The C-STORE request that announced the data set.
    """

    def __init__(self, request: Request, transfer_syntax: UID) -> None:
        self._commanded = {SOP_CLASS_UID: request.sop_class_uid, SOP_INSTANCE_UID: request.sop_instance_uid}
        self._transfer_syntax = transfer_syntax
        self._head, self._next_look_bytes = b"", 1
        self._is_identified = False
        self._elements = Elements()
        self._size_bytes = 0

    def take(self, piece: memoryview) -> None:
        """Look at the next piece of the data set.

        Raises
        ------
        Refusal
            A900: the UIDs are not those of the command.
        """
        self._size_bytes += len(piece)
        if self._is_identified or len(self._head) >= HEAD_BYTES:
            return
        self._head += bytes(piece[: HEAD_BYTES - len(self._head)])
        if len(self._head) >= self._next_look_bytes:
            self._next_look_bytes = min(HEAD_BYTES, 2 * len(self._head))  # tiny fragments must not cost a walk each
            self._look()

    def finish(self) -> None:
        """Check what can be checked only when the data set is complete.

        Raises
        ------
        Refusal
            A900: UIDs are missing or not those of the command. C000: the bytes are no data set, or it is cut.
        """
        if not self._is_identified:
            self._look()
        if not self._is_identified:
            self._compare_by_pydicom()
        if self._is_identified and self._elements.end > self._size_bytes:
            raise Refusal(Status.CANNOT_UNDERSTAND, "the data set ends within an element")

    def _look(self) -> None:
        self._elements = self._walk()
        if len(self._elements.uids) == len(self._commanded):
            self._compare(self._elements.uids)

    def _walk(self) -> Elements:
        syntax = self._transfer_syntax
        if syntax != DeflatedExplicitVRLittleEndian:
            return walk(self._head, is_implicit=syntax == ImplicitVRLittleEndian, is_big=syntax == ExplicitVRBigEndian)
        try:
            inflated = _inflated(self._head)
        except zlib.error:
            return Elements(fault="its deflated stream is damaged")
        elements = walk(inflated, is_implicit=False)
        if self._head and len(inflated) < max(1, min(elements.end, HEAD_BYTES)):
            elements.fault = "its deflated stream ends too early"
        elements.end = 0  # where it ends in the inflated data set tells nothing about the deflated one
        return elements

    def _compare(self, uids: Mapping[int, str]) -> None:
        for tag, uid in self._commanded.items():
            if uids.get(tag, "") != uid:
                raise Refusal(Status.DATA_SET_MISMATCH, "data set and command name different UIDs", Tag(tag))
        self._is_identified, self._head = True, b""

    def _compare_by_pydicom(self) -> None:
        """Find the UIDs with a parser, which copes with more than the walk; tell garbage from UIDs that are missing."""
        walked = self._elements
        try:
            uids = head_by_pydicom(self._head, self._transfer_syntax)
        except Exception as error:  # parsing arbitrary bytes raises anything
            raise Refusal(Status.CANNOT_UNDERSTAND, "the stream is not a data set") from error
        is_cut = walked.end > self._size_bytes
        if uids != self._commanded and (is_cut or (walked.fault is not None and len(uids) < len(self._commanded))):
            raise Refusal(Status.CANNOT_UNDERSTAND, "the stream is not a data set")
        self._compare(uids)
        self._elements = Elements()  # the walk read it otherwise than the parser: its end means nothing


def walk(octets: bytes, *, is_implicit: bool, is_big: bool = False) -> Elements:
    """Walk over the top-level elements at the start of a data set.

    Parameters
    ----------
    octets
        The first bytes of the data set.
    is_implicit, is_big
        Encoding: Implicit VR, and Big Endian.

    Returns
    -------
    Elements
        The walk ends, without a fault, at an element of undefined length: only a parser finds the end of that.
    """
    found, offset, last, order = Elements(), 0, 0, ">" if is_big else "<"
    read_tag = struct.Struct(order + "HH").unpack_from
    while offset + 8 <= len(octets):
        group, element = read_tag(octets, offset)
        tag = group << 16 | element
        if tag <= last or not 2 <= group < 0xFFFE:
            found.fault = "its tags are out of order"
            break
        start, length = _value(octets, offset, order, is_implicit=is_implicit)
        if start is None:
            found.fault = "a value representation is none"
            break
        if length == UNDEFINED:
            found.fault = None if octets[start : start + 2] in ITEM_GROUP[is_big] else "a sequence without items"
            break
        offset, last = start + length, tag
        if tag in (SOP_CLASS_UID, SOP_INSTANCE_UID) and offset <= len(octets):
            found.uids[tag] = octets[start:offset].rstrip(b"\0 ").decode("ascii", "replace")
    else:
        found.end = offset + 8 if octets[offset:].strip(b"\0") else offset  # a stray zero behind the end does no harm
    return found


def _value(octets: bytes, offset: int, order: str, *, is_implicit: bool) -> tuple[int | None, int]:
    """Offset and length of the value of the element at an offset; offset None if it has no value representation."""
    if is_implicit:
        return offset + 8, struct.unpack_from(order + "I", octets, offset + 4)[0]
    vr = octets[offset + 4 : offset + 6]
    if vr in SHORT_VRS:
        return offset + 8, struct.unpack_from(order + "H", octets, offset + 6)[0]
    if vr not in LONG_VRS:
        return None, 0
    start = offset + 12
    return start, struct.unpack_from(order + "I", octets, offset + 8)[0] if start <= len(octets) else 0


def head_by_pydicom(
    octets: bytes, transfer_syntax: UID, tags: Sequence[int] = (SOP_CLASS_UID, SOP_INSTANCE_UID)
) -> dict[int, str]:
    """Texts of some elements at the start of a data set, whatever stands before them.

    Parameters
    ----------
    octets
        First bytes of the encoded data set.
    tags
        Elements in ascending order; what follows the last one is not looked at.

    Raises
    ------
    Exception
        Whatever parsing arbitrary bytes raises.
    """
    if transfer_syntax == DeflatedExplicitVRLittleEndian:
        octets = _inflated(octets)
    head = read_dataset(
        BytesIO(octets),
        transfer_syntax == ImplicitVRLittleEndian,
        transfer_syntax != ExplicitVRBigEndian,  # all others, known or not, are little endian (PS3.5 annex A)
        stop_when=lambda tag, _vr, _length: tag > tags[-1],
    )
    return {tag: str(head[tag].value or "") for tag in tags if tag in head}


def _inflated(octets: bytes) -> bytes:
    """The first bytes of a deflated data set (PS3.5 annex A.5)."""
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(octets, HEAD_BYTES)
