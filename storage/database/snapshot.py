"""One unchanging state of the database, to read."""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, Self

import lmdb
import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes
from hashing.ranking_scores import Outputs
from storage.changes import Changes
from storage.database.blocks import CODES, Block, Layout
from storage.database.header import Header
from storage.database.lineage import possible_patients, stored_record
from storage.database.lookup import LEVEL_OF_KEYWORD, Check, Span
from storage.database.rejections import Rejections
from storage.database.tables import Handles, SegmentEntry, Tables
from storage.database.tree import NO_PARENT, Node
from storage.errors import SnapshotError
from storage.record import LEVELS, Entity, Level, Record
from storage.vault import CLEAR, Vault


class Snapshot:
    """The state of the database at the moment when its `with` block is entered.

    A snapshot is one LMDB read transaction. It is entered once and used in one thread. While it is open, the writer
    cannot use again the pages that the state consists of, and the file grows: so keep it open for one answer, and
    never while waiting for somebody else.

    What the methods return stays valid after the block, with two exceptions: the arrays of `blocks()` and `arrays()`
    lie in the database itself, and an iterator that was not exhausted cannot be continued.

    Attributes
    ----------
    header
        That of the database handle that the snapshot was made from; `code_length` and `model` are its.
    """

    def __init__(self, environment: lmdb.Environment, handles: Handles, header: Header, vault: Vault = CLEAR) -> None:
        self._environment, self._handles, self.header, self._vault = environment, handles, header, vault
        self._transaction: lmdb.Transaction | None = None
        self._open_tables: Tables | None = None
        self._upper = lru_cache(maxsize=4096)(self.entity_at)  # thousands of images share one series
        self.code_length, self.model = header.code_length, header.model

    def __enter__(self) -> Self:
        if self._transaction is not None:
            raise SnapshotError("a snapshot is entered once: ask the database for another one")
        try:
            self._transaction = self._environment.begin(buffers=True)
        except lmdb.MapResizedError as error:
            raise SnapshotError("the writer gave the database a larger map size: restart this process") from error
        self._open_tables = Tables(self._transaction, self._handles, self.header.layout, self._vault)
        return self

    def __exit__(self, *exc: object) -> None:
        self._open_tables = None
        self._upper.cache_clear()
        if self._transaction is not None:
            self._transaction.abort()

    @property
    def identifier(self) -> str:
        """Text that names this state: the same text, the same answers."""
        return f"{self.header.identity}.{self.commit}.{self._tables.rows.count}"

    @property
    def commit(self) -> int:
        """Number of the last commit that the snapshot sees; every commit has a higher number than those before it."""
        _ = self._tables
        return int(self._transaction.id())  # type: ignore[union-attr]

    def is_hidden(self, sop_instance_uid: str) -> bool:
        """True if a rejection note names an instance that is not stored."""
        is_stored = self._tables.ordinal(Level.IMAGE, sop_instance_uid) is not None
        return not is_stored and self._tables.rejections.find(sop_instance_uid) is not None

    @property
    def changes(self) -> Changes:
        """What an index elsewhere does not know yet."""
        return self._tables.changes

    @property
    def rejections(self) -> Rejections:
        """What rejection notes keep out of every answer."""
        return self._tables.rejections

    @property
    def rows(self) -> int:
        """Number of rows, with those marked deleted."""
        return self._tables.rows.count

    def count(self, level: Level) -> int:
        """How many entities a level has."""
        return self._tables.entries(level)

    def ordinal(self, level: Level, uid: str) -> int | None:
        """Ordinal of the entity with this unique key, None when unknown."""
        return self._tables.ordinal(level, uid)

    def ordinals(self, level: Level, uids: Iterable[str]) -> NDArray[np.uint32]:
        """Ordinals of those entities that are known."""
        ordinals = (self._tables.ordinal(level, uid) for uid in uids)
        return np.array([ordinal for ordinal in ordinals if ordinal is not None], np.uint32)

    def possible_patients(self, patient_key: str) -> frozenset[str]:
        """Unique keys of the stored patients that a patient key may name, and this key."""
        return possible_patients(self._tables, patient_key)

    def ordinals_by_key(self, level: Level) -> Iterator[int]:
        """Yield ordinals in ascending order of their unique keys."""
        return self._tables.ordinals_by_key(level)

    def ordinal_bound(self, level: Level) -> int:
        """One more than the highest ordinal ever given at a level: the length of an array by ordinal."""
        return self._tables.counter(level)

    def uid(self, level: Level, ordinal: int) -> str:
        """Return the unique key of an entity; KeyError when it is not there."""
        uid = self._tables.uid(level, ordinal)
        if uid is None:
            raise KeyError(f"no {level} with ordinal {ordinal}")
        return uid

    def entity(self, level: Level, uid: str) -> Entity | None:
        """Entity with this unique key."""
        ordinal = self._tables.ordinal(level, uid)
        return None if ordinal is None else self.entity_at(level, ordinal)

    def entities(self, level: Level, first: int = 0) -> Iterator[Entity]:
        """Yield every entity of a level from an ordinal on, in order of arrival, which is that of ordinals."""
        for ordinal, node in self._tables.nodes(level, first):
            yield self._entity(level, ordinal, node)

    def ordinals_within(self, level: Level, keyword: str, spans: Iterable[Span], check: Check = bool) -> list[int]:
        """Ordinals of the entities with an index entry in some ranges, sorted; `keyword` may be of a lower level."""
        ordinals, at = self._tables.lookup.ordinals(keyword, spans, check), LEVEL_OF_KEYWORD[keyword]
        for step in reversed(LEVELS[LEVELS.index(level) + 1 : LEVELS.index(at) + 1]):
            ordinals = sorted({self._node(step, ordinal).parent for ordinal in ordinals})
        return ordinals

    def count_within(self, keyword: str, spans: Iterable[Span], limit: int, check: Check = bool) -> int:
        """Number of index entries in some ranges of an attribute; counting ends once it exceeds `limit`."""
        return self._tables.lookup.count(keyword, spans, limit, check)

    def child_ordinals(self, level: Level, ordinal: int) -> list[int]:
        """Return the ordinals one level below an entity, sorted."""
        return self._tables.children(level, ordinal)

    def children(self, level: Level, uid: str) -> list[str]:
        """Return the unique keys one level below an entity, in order of arrival; empty when it is unknown."""
        return list(self.each_child(level, uid))

    def each_child(self, level: Level, uid: str) -> Iterator[str]:
        """Yield what `children` returns, reading one key after the other."""
        ordinal = self._tables.ordinal(level, uid)
        if ordinal is not None:
            below = LEVELS[LEVELS.index(level) + 1]
            for child in self._tables.children(level, ordinal):
                yield self.uid(below, child)

    def record(self, sop_instance_uid: str) -> Record | None:
        """All that is stored of an instance but its codes; None if it is unknown."""
        ordinal = self._tables.ordinal(Level.IMAGE, sop_instance_uid)
        return None if ordinal is None else stored_record(self._tables, ordinal)

    def codes_of(self, sop_instance_uid: str) -> Codes:
        """(frames, words) codes of an instance, in the order of its frames; KeyError when it is unknown."""
        return self._tables.rows.gather(CODES, self._instance(sop_instance_uid).rows).T.copy()

    def pixel_digest(self, sop_instance_uid: str) -> int | None:
        """Digest over the network's input; None without rows, KeyError when the instance is unknown."""
        found = self._tables.rows.gather("pixel_digest", self._instance(sop_instance_uid).rows[:1])
        return int(found[0, 0]) if found.size else None

    def preview(self, sop_instance_uid: str, frame: int) -> NDArray[np.uint8] | None:
        """(size, size) network input of a frame; None if it was not stored."""
        ordinal = self._tables.ordinal(Level.IMAGE, sop_instance_uid)
        return None if ordinal is None else self._tables.preview(ordinal, frame)

    def outputs_of(self, sop_instance_uid: str) -> Outputs | None:
        """Outputs of the network for each frame, with class scores if stored; None if those of any frame are missing.

        KeyError when the instance is unknown.
        """
        frames, ordinal = self._instance(sop_instance_uid).frames, self._tables.ordinal(Level.IMAGE, sop_instance_uid)
        assert ordinal is not None
        found = [outputs for frame in frames if (outputs := self._tables.outputs(ordinal, frame)) is not None]
        if not found or len(found) < len(frames):
            return None
        relaxed, scores = np.split(np.array(found), [self.code_length], axis=1)
        return Outputs(relaxed, scores.view(np.uint8) if scores.shape[1] else None)

    def blocks(self) -> Iterator[Block]:
        """Yield codes and columns where they lie, in row order; the arrays end with the snapshot."""
        return self._tables.rows.blocks()

    def block_at(self, row: int) -> Block:
        """Block that holds a row; its arrays end with the snapshot."""
        return self._tables.rows.block_at(row)

    def arrays(self, column: str) -> Iterator[NDArray[Any]]:
        """Yield the values of a column, or the codes, of each block where they lie, flat; they end with the snapshot.

        Codes lie word by word: first word 0 of every row of the block, then word 1, and so on.
        """
        return self._tables.rows.arrays(column)

    @property
    def segment_entries(self) -> list[SegmentEntry]:
        """Segments of the index that were made of this state; their files may be missing or damaged."""
        return self._tables.segments()

    @property
    def compactions(self) -> int:
        """How often rows were given other numbers."""
        return self._tables.counter("compactions")

    @property
    def layout(self) -> Layout:
        """How its rows are cut into blocks."""
        return self._tables.rows.layout

    def gather(self, column: str, rows: NDArray[np.int64]) -> NDArray[Any]:
        """(len(rows),) values of a column at some rows."""
        values: NDArray[Any] = self._tables.rows.gather(column, rows)[0]
        return values

    def codes_at(self, rows: NDArray[np.int64]) -> Codes:
        """(len(rows), words) codes at some rows."""
        codes: Codes = self._tables.rows.gather(CODES, rows).T
        return codes

    def outputs_at(self, rows: NDArray[np.int64], n_classes: int) -> Outputs:
        """Outputs of the network at some rows; zeros where none, or not so many class scores, are stored."""
        found = Outputs(np.zeros((len(rows), self.code_length), np.int8), np.zeros((len(rows), n_classes), np.uint8))
        assert found.class_scores is not None
        frames = zip(self.gather("instance", rows).tolist(), self.gather("frame", rows).tolist(), strict=True)
        for number, frame in enumerate(frames):
            if (outputs := self._tables.outputs(*frame)) is not None:
                found.relaxed[number], scores = np.split(outputs, [self.code_length])
                if len(scores) == n_classes:
                    found.class_scores[number] = scores.view(np.uint8)
        return found

    def rows_of(self, frames: Iterable[tuple[str, int]]) -> NDArray[np.int64]:
        """(frames,) rows of some (SOP Instance UID, frame); KeyError when one of these is unknown."""
        rows = []
        for uid, frame in frames:
            instance = self._instance(uid)
            if frame not in instance.frames:
                raise KeyError(f"no frame {frame} of {uid}")
            rows.append(instance.first_row + instance.frames.index(frame))
        return np.array(rows, np.int64)

    def undated_studies(self) -> list[str]:
        """Study Instance UIDs of the studies with an image that has no valid Study Date."""
        ordinals = [np.empty(0, np.uint32), *(block.undated_studies() for block in self.blocks())]
        return [self.uid(Level.STUDY, ordinal) for ordinal in np.unique(np.concatenate(ordinals)).tolist()]

    def terms(self, column: str) -> list[str]:
        """Texts of a column of terms; "" is among them."""
        return self._tables.terms(column)

    def term_numbers(self, column: str, texts: Iterable[str]) -> list[int]:
        """Numbers by which a column knows some texts; unknown texts have none."""
        terms = {text: number for number, text in enumerate(self._tables.terms(column))}
        return [terms[text] for text in texts if text in terms]

    @property
    def _tables(self) -> Tables:
        if self._open_tables is None:
            raise SnapshotError("a snapshot is used inside its `with` block only")
        return self._open_tables

    def _node(self, level: Level, ordinal: int) -> Node:
        node = self._tables.node(level, ordinal)
        if node is None:
            raise KeyError(f"no {level} with ordinal {ordinal}")
        return node

    def _instance(self, sop_instance_uid: str) -> Node:
        ordinal = self._tables.ordinal(Level.IMAGE, sop_instance_uid)
        if ordinal is None:
            raise KeyError(sop_instance_uid)
        return self._node(Level.IMAGE, ordinal)

    def entity_at(self, level: Level, ordinal: int) -> Entity:
        """Entity of an ordinal; KeyError when it is not there."""
        return self._entity(level, ordinal, self._node(level, ordinal))

    def _entity(self, level: Level, ordinal: int, node: Node) -> Entity:
        if node.parent == NO_PARENT:
            return Entity(level, ordinal, {level: node.uid}, node.attributes)
        above = self._upper(LEVELS[LEVELS.index(level) - 1], node.parent)
        return Entity(level, ordinal, {**above.uids, level: node.uid}, {**above.attributes, **node.attributes})
