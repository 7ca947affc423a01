"""The index of attributes that are no unique keys: Patient ID and name, Accession Number, Study Date, Modality."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from struct import Struct
from typing import Any, Final

import lmdb

from storage.folding import code_string, digits, folded_groups, stored_values, stripped
from storage.record import Attributes, Level
from storage.vault import CLEAR, Vault

TABLE: Final = "lookup"
KEYWORDS: Final[Mapping[Level, tuple[str, ...]]] = {
    Level.PATIENT: ("PatientID", "PatientName"),
    Level.STUDY: ("AccessionNumber", "StudyDate"),
    Level.SERIES: ("Modality",),
    Level.IMAGE: (),
}
"""Attributes by which the entities of a level can be looked up."""
LEVEL_OF_KEYWORD: Final = {keyword: level for level in Level for keyword in KEYWORDS[level]}
FORMS: Final[Mapping[str, Callable[[str], list[str]]]] = {
    "PatientID": lambda value: [stripped(value)],
    "PatientName": folded_groups,
    "AccessionNumber": lambda value: [stripped(value)],
    "StudyDate": lambda value: [digits(value)],
    "Modality": lambda value: [code_string(value)],
}
"""The index entry of one value of an attribute."""

Check = Callable[[], object]
"""Function that is called during long walks; it may raise, to end one that nobody waits for any more."""
ORDINAL: Final = Struct(">I")
MAX_KEY_BYTES: Final = 511  # of LMDB
KEYS_AT_ONCE: Final = 256  # they fit into the processor's cache
SEALED: Final = ("PatientID", "PatientName", "AccessionNumber")
"""Attributes whose texts a vault conceals in keys; a range of them is found by reading every key of the attribute."""
MAX_SEALED_BYTES: Final = MAX_KEY_BYTES - 16
"""Longest key before it is concealed: that adds 16 bytes."""


@dataclass(frozen=True, slots=True)
class Span:
    """A range of index entries, both ends included.

    Attributes
    ----------
    first
        Lowest text of the range, in the order of code points.
    last
        Highest text, to which as many first characters of an entry are compared; "" for no limit.
    is_single
        True if the range holds only `first` itself, and `last` says nothing.
    piece
        Text that an entry of the range has somewhere, else it is left out; "" for every entry.
    """

    first: str
    last: str = ""
    is_single: bool = False
    piece: str = ""


class Lookup:
    """The index, seen through one transaction that was opened with `buffers=True`.

    A key holds a keyword and the start of a text, so the entities that it leads to are still to be compared with the
    whole value. The data are the ordinals of the entities. An entity without a value lies under the empty text. A
    `check` that is given is called for each key of a range, or for each few hundred, and may raise.
    """

    def __init__(self, transaction: lmdb.Transaction, handle: Any, vault: Vault = CLEAR) -> None:
        self._transaction, self._handle, self._vault = transaction, handle, vault

    def ordinals(self, keyword: str, spans: Iterable[Span], check: Check = bool) -> list[int]:
        """Ordinals of the entities with an entry in one of some ranges, ascending; they may be too many, never few."""
        cursors = (cursor for span in spans for cursor in self._cursors(keyword, span, check))
        return sorted({ORDINAL.unpack(ordinal)[0] for cursor in cursors for ordinal in cursor.iternext_dup()})

    def count(self, keyword: str, spans: Iterable[Span], limit: int, check: Check = bool) -> int:
        """Number of entries in some ranges; counting ends once it exceeds `limit`."""
        count = 0
        for span in spans:
            for cursor in self._cursors(keyword, span, check):
                count += cursor.count()
                if count > limit:
                    return count
        return count

    def replace(self, level: Level, ordinal: int, old: Attributes | None, new: Attributes | None) -> None:
        """Index an entity by its new attributes instead of its old ones; None before it is there, and afterwards."""
        before, after = lookup_keys(level, old), lookup_keys(level, new)
        for key in before - after:
            self._transaction.delete(self._stored(key), ORDINAL.pack(ordinal), db=self._handle)
        for key in after - before:
            self._transaction.put(self._stored(key), ORDINAL.pack(ordinal), db=self._handle)

    def has(self, key: bytes, ordinal: int) -> bool:
        """True if an entity can be found by this key of `lookup_keys`."""
        return bool(self._transaction.cursor(db=self._handle).set_key_dup(self._stored(key), ORDINAL.pack(ordinal)))

    def clear(self) -> None:
        """Remove every entry, to fill the index anew."""
        self._transaction.drop(self._handle, delete=False)

    def _cursors(self, keyword: str, span: Span, check: Check) -> Iterator[lmdb.Cursor]:
        """Yield a cursor at each key of a range; the cursor may be moved among the data of the key."""
        cursor = self._transaction.cursor(db=self._handle)
        first = _key(keyword, span.first)
        if span.is_single:
            if cursor.set_key(self._stored(first)):
                yield cursor
            return
        if self._vault and keyword in SEALED:
            yield from self._sealed_cursors(keyword, span, check)
            return
        if span.piece:
            for key in self._keys_with(keyword, span, check):
                if cursor.set_key(key):
                    yield cursor
            return
        prefix, last = _key(keyword, ""), _key(keyword, span.last)
        is_there = cursor.set_range(first)
        while is_there:
            key = bytes(cursor.key())
            if not key.startswith(prefix) or key[: len(last)] > last:
                return
            check()
            yield cursor
            is_there = cursor.next_nodup()

    def _stored(self, key: bytes) -> bytes:
        return stored_key(key, self._vault)

    def _sealed_cursors(self, keyword: str, span: Span, check: Check) -> Iterator[lmdb.Cursor]:
        """Yield a cursor at each key of a range of concealed texts, which lie in no order."""
        cursor, prefix = self._transaction.cursor(db=self._handle), _key(keyword, "")
        first, last, piece = _key(keyword, span.first), _key(keyword, span.last), _key("", span.piece)[1:]
        is_there = cursor.set_range(prefix)
        while is_there and (stored := bytes(cursor.key())).startswith(prefix):
            check()
            key = prefix + self._vault.reveal(stored[len(prefix) :])
            has_piece = piece in key or len(key) >= MAX_SEALED_BYTES  # such a key may hold only the start of its text
            if key >= first[:MAX_SEALED_BYTES] and key[: len(last)] <= last and has_piece:
                yield cursor
            is_there = cursor.next_nodup()

    def _keys_with(self, keyword: str, span: Span, check: Check) -> Iterator[bytes]:
        """Yield the keys of a range that hold its piece, or may: a key may hold only the start of its text.

        Many keys are joined and looked through at once, which takes a fifth of the time of one after the other.
        """
        cursor, piece = self._transaction.cursor(db=self._handle), span.piece.encode("utf-8", "surrogatepass")
        prefix, last = _key(keyword, ""), _key(keyword, span.last)
        keys = (
            cursor.iternext_nodup(keys=True, values=False) if cursor.set_range(_key(keyword, span.first)) else iter(())
        )
        while chunk := list(islice(keys, KEYS_AT_ONCE)):
            check()
            if piece in b"\0".join(chunk) or max(map(len, chunk)) == MAX_KEY_BYTES:
                yield from (
                    key
                    for key in map(bytes, chunk)
                    if (piece in key or len(key) == MAX_KEY_BYTES)
                    and key.startswith(prefix)
                    and key[: len(last)] <= last
                )
            end = bytes(chunk[-1])
            if not end.startswith(prefix) or end[: len(last)] > last:
                return


def lookup_keys(level: Level, attributes: Attributes | None) -> frozenset[bytes]:
    """Keys of an entity with these attributes."""
    if attributes is None:
        return frozenset()
    return frozenset(
        _key(keyword, form)
        for keyword in KEYWORDS[level]
        for value in stored_values(attributes.get(keyword, ""))
        for form in FORMS[keyword](value)
    )


def stored_key(key: bytes, vault: Vault) -> bytes:
    """Key of `lookup_keys` as it lies in the table: a vault conceals the texts that name patients."""
    keyword, _, text = key.partition(b"\0")
    if not vault or keyword.decode() not in SEALED:
        return key
    return keyword + b"\0" + vault.conceal(text[: MAX_SEALED_BYTES - len(keyword) - 1])


def _key(keyword: str, text: str) -> bytes:
    return f"{keyword}\0{text}".encode("utf-8", "surrogatepass")[:MAX_KEY_BYTES]
