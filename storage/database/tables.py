"""The tables of LMDB, seen through one transaction: entities by ordinal, by unique key and by parent."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass, replace
from functools import lru_cache
from io import BytesIO
from typing import Any, Final

import lmdb
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from storage import encodings
from storage.changes import Changes
from storage.database import lookup
from storage.database.blocks import Layout, Rows
from storage.database.header import HEADER, Header
from storage.database.rejections import TABLES as OF_REJECTIONS
from storage.database.rejections import Rejections
from storage.database.tree import NO_PARENT, ORDINAL, Node, first_of_key, key_bytes, uid_of, unique_key
from storage.record import LEVELS, Level
from storage.vault import CLEAR, Vault

FRAME_OF: Final = encodings.KEY
OF_FRAMES: Final = ("previews", "outputs", encodings.TABLE)
"""Tables by instance and frame, in which a frame may be missing; what they hold of an instance goes with it."""
SEALED: Final = frozenset({*LEVELS, *OF_FRAMES})
"""Tables whose values are sealed."""
MAX_CACHED: Final = 4096

Handles = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SegmentEntry:
    """A segment of the index: name of its file without suffix, its rows, and the CRC-32 of the file's first part."""

    name: str
    first_row: int
    rows: int
    checksum: int

    @property
    def end(self) -> int:
        """Row after the segment's last."""
        return self.first_row + self.rows


def open_handles(environment: lmdb.Environment, transaction: lmdb.Transaction | None = None) -> Handles:
    """Open every table by its name; in a write transaction, create those that are missing."""
    names = ["meta", "rows", *OF_FRAMES, *OF_REJECTIONS, *LEVELS, *(f"{level}:keys" for level in LEVELS)]
    create = transaction is not None
    handles = {name: environment.open_db(name.encode(), txn=transaction, create=create) for name in names}
    for name in (*(f"{level}:children" for level in LEVELS[:-1]), lookup.TABLE):
        handles[name] = environment.open_db(name.encode(), transaction, dupsort=True, dupfixed=True, create=create)
    return handles


class Tables:
    """Reads and writes entities inside one transaction, opened with `buffers=True`."""

    def __init__(self, transaction: lmdb.Transaction, handles: Handles, layout: Layout, vault: Vault = CLEAR) -> None:
        self._transaction, self._handles, self._vault = transaction, handles, vault
        self._cache: dict[tuple[Level, int], Node] = {}  # thousands of images share one series
        self.rows = Rows(transaction, handles["rows"], layout, self.counter("rows"))
        self.changes = Changes(transaction, handles["meta"])

    @property
    def lookup(self) -> lookup.Lookup:
        """The index of attributes that are no unique keys."""
        return lookup.Lookup(self._transaction, self._handles[lookup.TABLE], self._vault)

    @property
    def encodings(self) -> encodings.Encodings:
        """What another model makes of the frames."""
        return encodings.Encodings(self._transaction, self._handles, self._vault)

    @property
    def rejections(self) -> Rejections:
        """What rejection notes keep out of every answer."""
        return Rejections(self._transaction, self._handles, self._vault)

    def ordinal(self, level: Level, uid: str) -> int | None:
        """Ordinal of the entity with a unique key; None when it is unknown."""
        key = unique_key(level, uid, self._vault) if uid else b""
        found = self._get(f"{level}:keys", key) if key else None  # LMDB refuses an empty key
        return None if found is None else int(ORDINAL.unpack(found)[0])

    def node(self, level: Level, ordinal: int) -> Node | None:
        """Entity of an ordinal; None when there is none."""
        node = self._cache.get((level, ordinal))
        if node is None:
            found = self._get(level, ORDINAL.pack(ordinal))
            if found is None:
                return None
            node = self._remember(level, ordinal, Node.from_bytes(found))
        return node

    def uid(self, level: Level, ordinal: int) -> str | None:
        """Unique key of an ordinal, without the rest of the entity; None when there is none."""
        found = self._get(level, ORDINAL.pack(ordinal))
        return None if found is None else uid_of(found)

    def nodes(self, level: Level, first: int = 0) -> Iterator[tuple[int, Node]]:
        """Yield (ordinal, entity) of a level from an ordinal on, in order of arrival."""
        cursor = self._transaction.cursor(db=self._handles[level])
        for key, value in cursor if cursor.set_range(ORDINAL.pack(first)) else ():
            yield ORDINAL.unpack(key)[0], Node.from_bytes(self._vault.unseal(level, bytes(key), value))

    def ordinals_by_key(self, level: Level) -> Iterator[int]:
        """Yield ordinals in ascending order of their unique keys; of sealed patients all are read first."""
        if self._vault and level is Level.PATIENT:
            yield from (ordinal for _, ordinal in sorted((key_bytes(node.uid), i) for i, node in self.nodes(level)))
            return
        for value in self._transaction.cursor(db=self._handles[f"{level}:keys"]).iternext(keys=False):
            yield ORDINAL.unpack(value)[0]

    def patients_of_id(self, start: str) -> Iterator[int]:
        """Yield ordinals of the patients whose keys start with a text, which ends with the backslash after the ID."""
        first = first_of_key(start, self._vault)
        cursor = self._transaction.cursor(db=self._handles[f"{Level.PATIENT}:keys"])
        for key, value in cursor if cursor.set_range(first) else ():
            if bytes(key[: len(first)]) != first:
                return
            ordinal = int(ORDINAL.unpack(value)[0])
            if (self.uid(Level.PATIENT, ordinal) or "").startswith(start):
                yield ordinal

    def children(self, level: Level, ordinal: int) -> list[int]:
        """Ordinals one level below an entity, in order of arrival."""
        cursor = self._transaction.cursor(db=self._handles[f"{level}:children"])
        if not cursor.set_key(ORDINAL.pack(ordinal)):
            return []
        return [ORDINAL.unpack(value)[0] for value in cursor.iternext_dup()]

    def has_child(self, level: Level, ordinal: int, child: int) -> bool:
        """True if an entity has this child."""
        cursor = self._transaction.cursor(db=self._handles[f"{level}:children"])
        return bool(cursor.set_key_dup(ORDINAL.pack(ordinal), ORDINAL.pack(child)))

    def instances(self, level: Level, ordinal: int) -> list[int]:
        """Ordinals of every instance below an entity, or of the entity itself if it is an instance."""
        ordinals = [ordinal]
        for step in LEVELS[LEVELS.index(level) : -1]:
            ordinals = [child for parent in ordinals for child in self.children(step, parent)]
        return ordinals

    def lineage(self, level: Level, ordinal: int) -> dict[Level, tuple[int, Node]]:
        """(ordinal, entity) of an entity and of those above it, by level, lowest first; KeyError if one lacks."""
        found: dict[Level, tuple[int, Node]] = {}
        for step in reversed(LEVELS[: LEVELS.index(level) + 1]):
            node = self.node(step, ordinal)
            if node is None:
                raise KeyError(f"no {step} with ordinal {ordinal}")
            found[step] = ordinal, node
            ordinal = node.parent
        return found

    def entries(self, table: str) -> int:
        """Number of values of a table; of that named as a level, the number of its entities."""
        return int(self._transaction.stat(self._handles[table])["entries"])

    def counter(self, name: str) -> int:
        """Value of a named counter, 0 at first; that of a level is one more than the highest ordinal ever given."""
        found = self._get("meta", f"next:{name}".encode())
        return int(bytes(found)) if found else 0

    def add(self, level: Level, node: Node) -> int:
        """Store a new entity under the next ordinal, which is returned."""
        ordinal = self.counter(level)
        self.set_counter(level, ordinal + 1)
        self._put(f"{level}:keys", unique_key(level, node.uid, self._vault), ORDINAL.pack(ordinal))
        self._link(level, ordinal, node.parent)
        self.put(level, ordinal, node)
        self.changes.note(level, node.uid)
        return ordinal

    def put(self, level: Level, ordinal: int, node: Node) -> None:
        """Overwrite an entity by one of the same key and parent."""
        self._update_lookup(level, ordinal, node)
        self._remember(level, ordinal, node)
        self._put(level, ORDINAL.pack(ordinal), node.to_bytes())

    def move(self, level: Level, ordinal: int, node: Node, parent: int) -> None:
        """Put an entity under another parent."""
        self._unlink(level, ordinal, node.parent)
        self._link(level, ordinal, parent)
        self.put(level, ordinal, replace(node, parent=parent))

    def delete(self, level: Level, ordinal: int, node: Node) -> None:
        """Delete an entity that has no children, with all that is kept of its frames."""
        self.changes.note(level, node.uid)
        self._update_lookup(level, ordinal, None)
        self._cache.pop((level, ordinal), None)
        self._transaction.delete(ORDINAL.pack(ordinal), db=self._handles[level])
        self._transaction.delete(unique_key(level, node.uid, self._vault), db=self._handles[f"{level}:keys"])
        self._unlink(level, ordinal, node.parent)
        for table in OF_FRAMES:
            self.drop_frames(table, ordinal, node.frames)

    def drop_frames(self, table: str, ordinal: int, frames: Iterable[int]) -> None:
        """Delete what one of `OF_FRAMES` holds of frames of an instance."""
        for frame in frames:
            self._transaction.delete(FRAME_OF.pack(ordinal, frame), db=self._handles[table])

    def set_counter(self, name: str, value: int) -> None:
        """Set a named counter."""
        self._put("meta", f"next:{name}".encode(), str(value).encode())

    def preview(self, ordinal: int, frame: int) -> NDArray[np.uint8] | None:
        """(size, size) network input of a frame; None when none is stored."""
        found = self._get("previews", FRAME_OF.pack(ordinal, frame))
        return None if found is None else np.asarray(Image.open(BytesIO(bytes(found))))

    def put_preview(self, ordinal: int, frame: int, preview: NDArray[np.uint8]) -> None:
        """Store a network input, as PNG."""
        png = BytesIO()
        Image.fromarray(preview).save(png, "PNG", compress_level=1)  # higher levels: 3x the time, 1/7 less space
        self._put("previews", FRAME_OF.pack(ordinal, frame), png.getvalue())

    def outputs(self, ordinal: int, frame: int) -> NDArray[np.int8] | None:
        """(code_length + n_classes,) outputs of the network for a frame, as `put_outputs` packs them, or None."""
        found = self._get("outputs", FRAME_OF.pack(ordinal, frame))
        return None if found is None else np.frombuffer(bytes(found), np.int8)

    def put_outputs(
        self, ordinal: int, frame: int, outputs: NDArray[np.int8], class_scores: NDArray[np.uint8] | None
    ) -> None:
        """Store outputs of the network: a signed byte a bit, then an unsigned byte a class if there are scores."""
        packed = outputs.tobytes() + (b"" if class_scores is None else class_scores.tobytes())
        self._put("outputs", FRAME_OF.pack(ordinal, frame), packed)

    def framed(self, table: str) -> Iterator[tuple[int, int]]:
        """Yield (instance ordinal, frame) of every value of one of `OF_FRAMES`."""
        for key in self._transaction.cursor(db=self._handles[table]).iternext(values=False):
            yield FRAME_OF.unpack(key)

    def set_header(self, header: Header) -> None:
        """Store another header."""
        self._put("meta", HEADER, header.to_bytes())

    def terms(self, column: str) -> list[str]:
        """Texts of a column of terms; the index of a text is its number in the column, and the first is ""."""
        found = self._get("meta", f"terms:{column}".encode())
        return json.loads(bytes(found)) if found else [""]

    def set_terms(self, column: str, terms: Collection[str]) -> None:
        """Store the texts of a column of terms."""
        self._put("meta", f"terms:{column}".encode(), json.dumps(list(terms)).encode())

    def segments(self) -> list[SegmentEntry]:
        """Segments of the index, in row order."""
        found = self._get("meta", b"segments")
        return list(_entries(bytes(found))) if found else []

    def set_segments(self, segments: Collection[SegmentEntry]) -> None:
        """Store the segments of the index, in row order."""
        self._put("meta", b"segments", json.dumps([astuple(entry) for entry in segments]).encode())

    def _update_lookup(self, level: Level, ordinal: int, new: Node | None) -> None:
        if lookup.KEYWORDS[level]:
            old = self.node(level, ordinal)
            self.lookup.replace(level, ordinal, old.attributes if old else None, new.attributes if new else None)

    def _remember(self, level: Level, ordinal: int, node: Node) -> Node:
        if len(self._cache) >= MAX_CACHED:
            self._cache.clear()
        self._cache[level, ordinal] = node
        return node

    def _link(self, level: Level, ordinal: int, parent: int) -> None:
        if parent != NO_PARENT:
            self._put(_children_above(level), ORDINAL.pack(parent), ORDINAL.pack(ordinal))

    def _unlink(self, level: Level, ordinal: int, parent: int) -> None:
        if parent != NO_PARENT:
            above = self._handles[_children_above(level)]
            self._transaction.delete(ORDINAL.pack(parent), ORDINAL.pack(ordinal), db=above)

    def _get(self, table: str, key: bytes) -> bytes | memoryview | None:
        value: bytes | memoryview | None = self._transaction.get(key, db=self._handles[table])
        return value if value is None or table not in SEALED else self._vault.unseal(table, key, value)

    def _put(self, table: str, key: bytes, value: bytes) -> None:
        sealed = self._vault.seal(table, key, value) if table in SEALED else value
        self._transaction.put(key, sealed, db=self._handles[table])


@lru_cache(maxsize=4)
def _entries(value: bytes) -> tuple[SegmentEntry, ...]:
    """Segments as stored; the cache spares parsing them for each query."""
    return tuple(SegmentEntry(*fields) for fields in json.loads(value))


def _children_above(level: Level) -> str:
    return f"{LEVELS[LEVELS.index(level) - 1]}:children"
