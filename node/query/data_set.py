"""Data sets that come in messages other than C-STORE: their structure is checked before their values are believed."""

import struct
from functools import partial
from io import BytesIO
from typing import Final

from pydicom.charset import STAND_ALONE_ENCODINGS, python_encoding
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import UID

from node.character_sets import ASCII_ONLY, CHARACTER_SET_VRS
from node.errors import Refusal, Status

MAX_BYTES: Final = 1 << 20
"""Largest Identifier that is read: about sixteen thousand UIDs."""
MAX_ELEMENTS: Final = 1024
MAX_DEPTH: Final = 16
"""Sequences within sequences."""

TAG_AND_LENGTH: Final = struct.Struct("<HHI")  # Implicit VR Little Endian, and items (PS3.5 7.1.3, 7.5)
TAG_AND_VR: Final = struct.Struct("<HH2s")  # Explicit VR Little Endian (PS3.5 7.1.2)
SHORT_VRS: Final = frozenset({
    b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS",
    b"ST", b"TM", b"UI", b"UL", b"US",
})  # fmt: skip
LONG_VRS: Final = frozenset({
    b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV",
})  # fmt: skip
UNDEFINED: Final = 0xFFFFFFFF
SPECIFIC_CHARACTER_SET: Final = 0x00080005
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD


class StructureError(ValueError):
    """The bytes are no data set.

    Attributes
    ----------
    reason, offset
        What is wrong, and where.
    """

    def __init__(self, reason: str, offset: int) -> None:
        self.reason, self.offset = reason, offset
        super().__init__(f"{reason} at byte {offset}")


def read_data_set(encoded: bytes, transfer_syntax: UID, assume_charset: str = "") -> Dataset:
    """Data set of a message.

    Parameters
    ----------
    encoded
        Bytes of the data set, as received.
    transfer_syntax
        Explicit or Implicit VR Little Endian.
    assume_charset
        Specific Character Set of a data set that names none, one that nobody knows, or one in which its text cannot
        have been written; it is answered in it, too.

    Raises
    ------
    Refusal
        A700: it is larger than `MAX_BYTES`. C000: it is no data set, or ends within an element.
    """
    if len(encoded) > MAX_BYTES:
        raise Refusal(Status.OUT_OF_RESOURCES, f"identifier is larger than {MAX_BYTES} bytes: ask for less")
    implicit = transfer_syntax.is_implicit_VR
    try:
        character_set = check_structure(encoded, implicit=implicit)
        known = _known(encoded[character_set])
        readable = encoded[: character_set.start] + known + encoded[character_set.stop :]
        data_set = read_dataset(BytesIO(readable), implicit, is_little_endian=True, bytelength=len(readable))
        if not assume_charset or (known.strip() and _is_written_in(data_set, known)):
            return data_set
        readable += _character_set(assume_charset, implicit=implicit)  # of two elements, the last counts
        return read_dataset(BytesIO(readable), implicit, is_little_endian=True, bytelength=len(readable))
    except Exception as error:  # whatever reading a stream of anything raises
        raise Refusal(Status.CANNOT_UNDERSTAND, "the identifier is not a data set, or is cut short") from error


def check_structure(encoded: bytes, *, implicit: bool, max_elements: int = MAX_ELEMENTS) -> slice:
    """Refuse bytes that are not data elements from the first to the last (PS3.5 section 7.1).

    Returns
    -------
    slice
        Where the value of Specific Character Set lies, empty where there is none.

    Raises
    ------
    StructureError
        An element ends behind its data set, has no VR of the standard, or stands where none may.
    """
    walk = _Walk(encoded, max_elements)
    walk.elements(0, len(encoded), implicit=implicit, depth=0)
    return walk.character_set


class _Walk:
    """One pass over the elements of a data set."""

    def __init__(self, encoded: bytes, max_elements: int) -> None:
        self._encoded, self._count, self._max_elements = encoded, 0, max_elements
        self.character_set = slice(0, 0)

    def elements(self, start: int, end: int, *, implicit: bool, depth: int, delimited: bool = False) -> int:
        """Pass the elements up to `end`, or up to the delimiter of an item; return the offset behind."""
        while start < end or delimited:
            tag, vr, length, value = self._header(start, end, implicit=implicit)
            if tag == ITEM_END and delimited:
                return value
            self._count += 1
            if self._count > self._max_elements or tag >> 16 == 0xFFFE:
                raise StructureError("an element that no data set may hold", start)
            if length == UNDEFINED:
                within_implicit = implicit or vr == b"UN"  # PS3.5 section 6.2.2, note 2
                start = self._items(value, end, implicit=within_implicit, depth=depth + 1, delimited=True)
            else:
                start = _behind(value, length, end)
                if tag == SPECIFIC_CHARACTER_SET and not depth:
                    self.character_set = slice(value, start)
                if vr == b"SQ":
                    self._items(value, start, implicit=implicit, depth=depth + 1)
        return start

    def _items(self, start: int, end: int, *, implicit: bool, depth: int, delimited: bool = False) -> int:
        """Pass the items of a sequence up to `end`, or up to its delimiter; return the offset behind."""
        if depth > MAX_DEPTH:
            raise StructureError("sequences lie too deep", start)
        while start < end or delimited:
            tag, _, length, value = self._header(start, end, implicit=True)
            if tag == SEQUENCE_END and delimited:
                return value
            if tag != ITEM:
                raise StructureError("a sequence holds something else than items", start)
            open_ended = length == UNDEFINED
            item_end = end if open_ended else _behind(value, length, end)
            start = self.elements(value, item_end, implicit=implicit, depth=depth, delimited=open_ended)
        return start

    def _header(self, start: int, end: int, *, implicit: bool) -> tuple[int, bytes, int, int]:
        """Tag, VR where it is explicit, length, and offset of the value."""
        if start + TAG_AND_LENGTH.size > end:
            raise StructureError("the data set ends within an element", start)
        group, element, length = TAG_AND_LENGTH.unpack_from(self._encoded, start)
        if implicit or group == 0xFFFE:
            return group << 16 | element, b"", length, start + 8
        vr = TAG_AND_VR.unpack_from(self._encoded, start)[2]
        if vr in SHORT_VRS:
            return group << 16 | element, vr, length >> 16, start + 8
        if vr not in LONG_VRS or start + 12 > end:
            raise StructureError("an element without a value representation", start)
        return group << 16 | element, vr, struct.unpack_from("<I", self._encoded, start + 8)[0], start + 12


def _is_written_in(data_set: Dataset, names: bytes) -> bool:
    """False if some text of a data set, not decoded yet, has no meaning in its character set.

    Code extensions are believed: they are switched within a value.
    """
    first, *extensions = names.decode("ascii").split("\\")
    encoding = "ascii" if first.strip() in ASCII_ONLY else python_encoding[first.strip()]
    raw = (data_set.get_item(tag) for tag in data_set.keys())  # noqa: SIM118 - not decoded
    texts = [element.value for element in raw if _is_text(element)]
    return bool(extensions) or all(map(partial(_is_decodable, encoding=encoding), texts))


def _is_text(element: object) -> bool:
    if not isinstance(element, RawDataElement) or not isinstance(element.value, bytes):
        return False
    vr = element.VR or (dictionary_VR(element.tag) if dictionary_has_tag(element.tag) else "UN")
    return vr in CHARACTER_SET_VRS


def _is_decodable(text: bytes, encoding: str) -> bool:
    try:
        text.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _character_set(names: str, *, implicit: bool) -> bytes:
    """Specific Character Set as an element."""
    value = names.encode("ascii")
    value += b" " * (len(value) % 2)
    tag = SPECIFIC_CHARACTER_SET >> 16, SPECIFIC_CHARACTER_SET & 0xFFFF
    if implicit:
        return TAG_AND_LENGTH.pack(*tag, len(value)) + value
    return TAG_AND_VR.pack(*tag, b"CS") + struct.pack("<H", len(value)) + value


def _known(names: bytes) -> bytes:
    """Names of character sets without those that pydicom does not know, in as many bytes.

    It would warn of them, quoting what the caller sent, and Python remembers every warning. Spaces around a code
    string say nothing (PS3.5 section 6.2).
    """
    first, *others = (name.strip(" \0") for name in names.decode("latin-1").split("\\"))
    extensions = [name for name in others if name.startswith("ISO 2022 ") and name in python_encoding]
    if first not in python_encoding or not all(name in extensions for name in others):
        return b" " * len(names)
    if first in STAND_ALONE_ENCODINGS:
        extensions = []
    return "\\".join([first, *extensions]).encode("ascii").ljust(len(names))


def _behind(value: int, length: int, end: int) -> int:
    if value + length > end:
        raise StructureError("a value is shorter than its length", value)
    return value + length
