"""One unchanging state of the database, to read and to search."""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, Self

import lmdb
import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes
from hashing.ranking_scores import Outputs
from storage.database.blocks import CODES, Block, Layout
from storage.database.columns import LEVEL_COLUMN
from storage.database.header import Header
from storage.database.tables import NO_PARENT, Handles, Node, Tables
from storage.errors import SnapshotError
from storage.record import (
    LEVELS,
    Entity,
    Level,
    Record,
    may_be_one_patient,
    names_a_patient,
    patient_id_and_issuer,
)
from storage.search.addresses import Known, Places
from storage.segments.registry import Segments
from storage.segments.segment_file import Entry, Segment


class Snapshot:
    """Reads in one LMDB transaction; use it once, in a `with` block, in one thread.

    What it returns stays valid afterwards, except the arrays of `blocks()`: they lie in the database itself.

    Attributes
    ----------
    code_length
        Bits of each code.
    model
        Fingerprint of the model that made the codes.
    """

    def __init__(
        self, environment: lmdb.Environment, handles: Handles, header: Header, segments: Segments, known: Known
    ) -> None:
        self._environment, self._handles, self._header = environment, handles, header
        self._segments, self._known = segments, known
        self._transaction: lmdb.Transaction | None = None
        self._open_tables: Tables | None = None
        self._open_places: Places | None = None
        self._upper = lru_cache(maxsize=4096)(self._entity_at)  # thousands of images share one series
        self.code_length, self.model = header.code_length, header.model

    def __enter__(self) -> Self:
        if self._transaction is not None:
            raise SnapshotError("a snapshot is entered once: ask the database for another one")
        try:
            self._transaction = self._environment.begin(buffers=True)
        except lmdb.MapResizedError as error:
            raise SnapshotError("the writer gave the database a larger map size: restart this process") from error
        self._open_tables = Tables(self._transaction, self._handles, self._header.layout)
        return self

    def __exit__(self, *exc: object) -> None:
        self._open_tables = self._open_places = None
        self._upper.cache_clear()
        if self._transaction is not None:
            self._transaction.abort()

    @property
    def identifier(self) -> str:
        """Text that names this state: the same text, the same answers."""
        tables = self._tables
        return f"{self._header.identity}.{self._transaction.id()}.{tables.rows.count}"  # type: ignore[union-attr]

    @property
    def rows(self) -> int:
        """Number of rows, with those marked deleted."""
        return self._tables.rows.count

    def count(self, level: Level) -> int:
        """How many entities a level has."""
        return self._tables.count(level)

    def ordinal(self, level: Level, uid: str) -> int | None:
        """Ordinal of the entity with this unique key, None when unknown."""
        return self._tables.ordinal(level, uid)

    def ordinals(self, level: Level, uids: Iterable[str]) -> NDArray[np.uint32]:
        """Ordinals of those entities that are known, ready for a `Filter`."""
        found = (self._tables.ordinal(level, uid) for uid in uids)
        return np.array([ordinal for ordinal in found if ordinal is not None], np.uint32)

    def possible_patients(self, patient_key: str) -> NDArray[np.uint32]:
        """Ordinals of the patients that a patient key may name, ready for a `Filter`; see `may_be_one_patient`."""
        found = [] if (exact := self._tables.ordinal(Level.PATIENT, patient_key)) is None else [exact]
        if names_a_patient(patient_key):
            patient_id, _ = patient_id_and_issuer(patient_key)
            same_id = self._tables.ordinals_by_prefix(Level.PATIENT, f"{patient_id}\\")
            found += [one for one in same_id if may_be_one_patient(patient_key, self.uid(Level.PATIENT, one))]
        return np.unique(np.array(found, np.uint32))

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
        return None if ordinal is None else self._entity_at(level, ordinal)

    def entities(self, level: Level) -> Iterator[Entity]:
        """Yield every entity of a level, in order of arrival."""
        for ordinal, node in self._tables.nodes(level):
            yield self._entity(level, ordinal, node)

    def children(self, level: Level, uid: str) -> list[str]:
        """Return the unique keys one level below an entity, in order of arrival; empty when it is unknown."""
        ordinal = self._tables.ordinal(level, uid)
        if ordinal is None:
            return []
        below = LEVELS[LEVELS.index(level) + 1]
        return [self.uid(below, child) for child in self._tables.children(level, ordinal)]

    def record(self, sop_instance_uid: str) -> Record | None:
        """Everything kept of an instance but its codes."""
        ordinal = self._tables.ordinal(Level.IMAGE, sop_instance_uid)
        if ordinal is None:
            return None
        lineage = self._tables.lineage(Level.IMAGE, ordinal)
        patient, study, series, instance = (lineage[level][1] for level in LEVELS)
        return Record(
            sop_instance_uid=instance.uid,
            series_instance_uid=series.uid,
            study_instance_uid=study.uid,
            patient_key=patient.uid,
            patient=patient.attributes,
            study=study.attributes,
            series=series.attributes,
            instance=instance.attributes,
            frames=instance.frames,
            content_digest=instance.content_digest,
            received_ns=instance.received_ns,
        )

    def codes_of(self, sop_instance_uid: str) -> Codes:
        """(frames, words) codes of an instance, in the order of its frames; KeyError when it is unknown."""
        return self._tables.rows.gather(CODES, self._instance(sop_instance_uid).rows).T.copy()

    def pixel_digest(self, sop_instance_uid: str) -> int | None:
        """Digest over the network's input; None without rows, KeyError when the instance is unknown."""
        found = self._tables.rows.gather("pixel_digest", self._instance(sop_instance_uid).rows[:1])
        return int(found[0, 0]) if found.size else None

    def preview(self, sop_instance_uid: str, frame: int) -> NDArray[np.uint8] | None:
        """(size, size) network input of a frame; None when it was not kept."""
        ordinal = self._tables.ordinal(Level.IMAGE, sop_instance_uid)
        return None if ordinal is None else self._tables.preview(ordinal, frame)

    def outputs_of(self, sop_instance_uid: str) -> Outputs | None:
        """Outputs of the network for each frame, and class scores if kept; None where not those of each frame were.

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

    @property
    def places(self) -> Places:
        """Addresses of codes and columns, for compiled loops; they end with the snapshot."""
        if self._open_places is None:
            known = self._known.of(self._transaction.id())  # type: ignore[union-attr]
            self._open_places = Places(self._tables.rows, known)
        return self._open_places

    @property
    def segments(self) -> list[Segment]:
        """Segments that hold all rows from the first on, ready to be searched; the rest is to be scanned."""
        return self._segments.serving(self._tables.segments())

    @property
    def segment_entries(self) -> list[Entry]:
        """Segments that were made of this state, whatever became of their files."""
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

    def class_scores_at(self, rows: NDArray[np.int64], n_classes: int) -> NDArray[np.uint8]:
        """(len(rows), n_classes) class scores at some rows; zeros where not so many were kept."""
        scores = np.zeros((len(rows), n_classes), np.uint8)
        places = zip(self.gather("instance", rows).tolist(), self.gather("frame", rows).tolist(), strict=True)
        for number, place in enumerate(places):
            kept = self._tables.outputs(*place)
            if kept is not None and len(kept) == self.code_length + n_classes:
                scores[number] = kept[self.code_length :].view(np.uint8)
        return scores

    def levels_of(self, rows: NDArray[np.int64], level: Level) -> NDArray[np.uint32]:
        """(len(rows),) ordinals of the entities that some rows belong to."""
        return self.gather(LEVEL_COLUMN[level], rows)

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

    def _entity_at(self, level: Level, ordinal: int) -> Entity:
        return self._entity(level, ordinal, self._node(level, ordinal))

    def _entity(self, level: Level, ordinal: int, node: Node) -> Entity:
        if node.parent == NO_PARENT:
            return Entity(level, ordinal, {level: node.uid}, node.attributes)
        above = self._upper(LEVELS[LEVELS.index(level) - 1], node.parent)
        attributes = {**above.attributes, **node.attributes}
        return Entity(level, ordinal, {**above.uids, level: node.uid}, attributes)
