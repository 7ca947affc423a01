"""A walk over the elements of an encoded data set: it tells whether all is there, and which VRs are invalid."""

from dataclasses import dataclass, field
from enum import Enum, auto
from struct import Struct
from typing import Final

from pydicom.datadict import dictionary_VR
from pydicom.valuerep import EXPLICIT_VR_LENGTH_16, EXPLICIT_VR_LENGTH_32

SHORT: Final = frozenset(vr.encode() for vr in EXPLICIT_VR_LENGTH_16)
LONG: Final = frozenset(vr.encode() for vr in EXPLICIT_VR_LENGTH_32)
UNDEFINED: Final = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
PIXEL_GROUPS: Final = range(0x7F00, 0x8000)  # 7FE0 today; 7Fxx and variable pixel data of retired editions


class Kind(Enum):
    """What stands between two offsets of an encoded data set."""

    ELEMENTS = auto()
    ITEMS = auto()
    FRAGMENTS = auto()


@dataclass(slots=True)
class Survey:
    """What a walk found.

    Attributes
    ----------
    is_whole
        The walk came to the end of the data set, and every byte belongs to an element that it understood.
    is_ordered
        Tags ascend at each level.
    has_pixels
        A pixel data element stands at the top level, even an empty one.
    repairs
        Offset and bytes to write there: a valid VR for each invalid one, of the same form of length.
    """

    is_whole: bool = False
    is_ordered: bool = True
    has_pixels: bool = False
    repairs: list[tuple[int, bytes]] = field(default_factory=list)

    @property
    def is_certain(self) -> bool:
        """Whether nothing about the data set is in doubt."""
        return self.is_whole and self.is_ordered and not self.repairs

    def repaired(self, data: bytes) -> bytes:
        """The data set with valid VRs."""
        octets = bytearray(data)
        for offset, vr in self.repairs:
            octets[offset : offset + len(vr)] = vr
        return bytes(octets)


@dataclass(slots=True)
class _Level:
    """One level of nesting during the walk; without an end it lasts until its delimiter."""

    kind: Kind
    end: int | None
    implicit: bool
    last_tag: int = -1


@dataclass(frozen=True, slots=True)
class _Header:
    tag: int
    is_sequence: bool
    is_unknown: bool
    length: int
    value: int  # offset


class Walk:
    """One walk over a data set.

    An element whose VR is not two capital letters is taken to have a 16-bit length, and one with an unknown VR of two
    capital letters a 32-bit length behind two reserved bytes (PS3.5 7.1.2), as common readers do; if no element follows
    then, the other form is tried.
    """

    def __init__(self, data: bytes, *, implicit: bool, little_endian: bool) -> None:
        order = "<" if little_endian else ">"
        self._data = data
        self._tag, self._short, self._long = Struct(f"{order}HH"), Struct(f"{order}H"), Struct(f"{order}L")
        self._levels = [_Level(Kind.ELEMENTS, len(data), implicit)]
        self._survey = Survey()

    def survey(self) -> Survey:
        """Walk to the end, or to the first byte that cannot be understood."""
        offset: int | None = 0
        while self._levels and offset is not None:
            level = self._levels[-1]
            if level.end is not None and offset >= level.end:
                self._levels.pop()
                offset = offset if offset == level.end else None
            elif offset + 8 > len(self._data):
                offset = None
            else:
                offset = self._step(level, offset)
        self._survey.is_whole = offset is not None
        return self._survey

    def _step(self, level: _Level, offset: int) -> int | None:
        """Go on behind the element, item or delimiter at an offset; None if there is none."""
        tag, length = self._tag_at(offset), self._long.unpack_from(self._data, offset + 4)[0]
        if tag in (ITEM_END, SEQUENCE_END):
            is_due = level.end is None and (level.kind is Kind.ELEMENTS) == (tag == ITEM_END)
            self._levels.pop()
            return offset + 8 if is_due and length == 0 else None
        if level.kind is Kind.ELEMENTS:
            return self._element(level, offset)
        if tag != ITEM:
            return None
        if level.kind is Kind.FRAGMENTS:
            return self._within(level, offset + 8 + length)
        end = None if length == UNDEFINED else offset + 8 + length
        self._levels.append(_Level(Kind.ELEMENTS, end, level.implicit or self._seems_implicit(offset + 8, end)))
        return offset + 8

    def _element(self, level: _Level, offset: int) -> int | None:
        header = self._implicit(offset) if level.implicit else self._explicit(level, offset)
        if header is None:
            return None
        self._survey.is_ordered &= header.tag > level.last_tag
        level.last_tag = header.tag
        is_pixels = header.tag >> 16 in PIXEL_GROUPS
        if is_pixels and len(self._levels) == 1:
            self._survey.has_pixels = True
        if header.length == UNDEFINED:
            kind = Kind.FRAGMENTS if is_pixels and not header.is_sequence else Kind.ITEMS
            self._levels.append(_Level(kind, None, level.implicit or header.is_unknown))
            return header.value
        end = self._within(level, header.value + header.length)
        if end is not None and header.is_sequence and header.length:
            self._levels.append(_Level(Kind.ITEMS, end, level.implicit))
            return header.value
        return end

    def _implicit(self, offset: int) -> _Header:
        length = self._long.unpack_from(self._data, offset + 4)[0]
        return _Header(self._tag_at(offset), False, False, length, offset + 8)

    def _explicit(self, level: _Level, offset: int) -> _Header | None:
        vr, tag = self._data[offset + 4 : offset + 6], self._tag_at(offset)
        if vr in SHORT:
            return _Header(tag, False, False, self._short_length(offset), offset + 8)
        if vr in LONG:
            if offset + 12 > len(self._data):
                return None
            length = self._long.unpack_from(self._data, offset + 8)[0]
            return _Header(tag, vr == b"SQ", vr == b"UN", length, offset + 12)
        return self._invalid(level, offset, tag, vr)

    def _invalid(self, level: _Level, offset: int, tag: int, vr: bytes) -> _Header | None:
        """Header of an element with an invalid VR, whose form of length is the first that leads to an element."""
        short = _Header(tag, False, False, self._short_length(offset), offset + 8)
        forms = [(short, _short_vr(tag))]
        if offset + 12 <= len(self._data) and self._data[offset + 6 : offset + 8] == b"\0\0":
            long = _Header(tag, False, False, self._long.unpack_from(self._data, offset + 8)[0], offset + 12)
            forms.insert(0 if vr.isalpha() and vr.isupper() else 1, (long, b"UN"))
        for is_sure in (True, False):
            for header, valid in forms:
                if self._leads_on(level, header, is_sure=is_sure):
                    self._survey.repairs.append((offset + 4, valid))
                    return header
        return None

    def _leads_on(self, level: _Level, header: _Header, *, is_sure: bool) -> bool:
        """Whether the level ends behind an element, or a delimiter or an element follows there.

        An element is sure if it has a valid VR; otherwise its tag is at least the larger one.
        """
        behind = self._within(level, header.value + header.length)
        if behind is None or behind == level.end:
            return behind is not None
        if behind + 8 > len(self._data):
            return False
        tag, vr = self._tag_at(behind), self._data[behind + 4 : behind + 6]
        if tag >> 16 == ITEM >> 16:
            return tag == ITEM_END
        return vr in SHORT or vr in LONG if is_sure else header.tag < tag

    def _within(self, level: _Level, end: int) -> int | None:
        return end if end <= (len(self._data) if level.end is None else level.end) else None

    def _seems_implicit(self, offset: int, end: int | None) -> bool:
        """Whether an item of an explicit data set is in implicit VR, as some writers switch to it."""
        vr = self._data[offset + 4 : offset + 6]
        is_empty = end == offset or self._data[offset : offset + 2] in (b"\xfe\xff", b"\xff\xfe")
        return not is_empty and not (vr.isalpha() and vr.isupper())

    def _short_length(self, offset: int) -> int:
        return int(self._short.unpack_from(self._data, offset + 6)[0])

    def _tag_at(self, offset: int) -> int:
        group, element = self._tag.unpack_from(self._data, offset)
        return int(group) << 16 | int(element)


def _short_vr(tag: int) -> bytes:
    """A VR with a 16-bit length: that of the data dictionary if it is of this form, else a text's."""
    try:
        vr = dictionary_VR(tag)[:2].encode()  # of "US or SS" the first
    except KeyError:
        return b"LO"
    return vr if vr in SHORT else b"LO"
