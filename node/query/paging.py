"""Pages of a Repository Query: where one begins, how long it is, and what stands in it (PS3.4 C.6.4)."""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final
from zlib import crc32

from pydicom.dataset import Dataset

from node.dicom.hierarchy import LEVEL_OF, tag_of
from node.errors import Refusal, Status
from node.query.catalog import Keys, leads_to, matches, most_selective, restricting
from storage.database.snapshot import Snapshot
from storage.record import LEVELS, Entity, Level

RECORD_KEY: Final = "RecordKey"
PRIOR_RECORD_KEY: Final = "PriorRecordKey"
MAXIMUM_NUMBER: Final = "MaximumNumberOfRecords"
PAGING: Final = frozenset({PRIOR_RECORD_KEY, MAXIMUM_NUMBER})
"""Keywords that say which page is wanted; they are no keys, and are not returned."""
KEY: Final = struct.Struct(">IHI")
"""Database, level and ordinal of an entity: ordinals are never used again, so a key stays valid for ever."""
MAX_LISTED: Final = 1 << 16
"""Most entities whose ordinals are gathered and sorted; where a key leads to more, all are passed in their order."""


@dataclass(frozen=True, slots=True)
class RecordPage:
    """Which page of a Repository Query is wanted.

    Attributes
    ----------
    prior
        Prior Record Key: the page begins behind this record; empty for the first.
    most
        Maximum Number of Records, None where the caller leaves it to the node.
    returns_keys
        True if the Record Key of each record is to be returned.
    """

    prior: bytes = b""
    most: int | None = None
    returns_keys: bool = False

    def first_ordinal(self, snapshot: Snapshot, level: Level) -> int:
        """Least ordinal that an entity of the page may have.

        Raises
        ------
        Refusal
            A710: the Prior Record Key is none of this database and level.
        """
        if not self.prior:
            return 0
        is_whole = len(self.prior) == KEY.size
        database, at, ordinal = KEY.unpack(self.prior) if is_whole else (-1, -1, -1)
        is_ours = (database, at) == (_database(snapshot), LEVELS.index(level))
        if not is_ours or ordinal >= snapshot.ordinal_bound(level):
            comment = "unknown here, or of another level: begin without it"
            raise Refusal(Status.INVALID_RECORD_KEY, comment, tag_of(PRIOR_RECORD_KEY))
        return int(ordinal) + 1


def read_page(identifier: Dataset) -> RecordPage:
    """The page that an identifier asks for.

    Raises
    ------
    Refusal
        A900: the maximum is not one number of at least 1.
    """
    most = identifier.get(MAXIMUM_NUMBER)
    if most is not None and (not isinstance(most, int) or most < 1):
        raise Refusal(Status.DATA_SET_MISMATCH, "one number of at least 1 expected", tag_of(MAXIMUM_NUMBER))
    return RecordPage(identifier.get(PRIOR_RECORD_KEY) or b"", most, RECORD_KEY in identifier)


def record_key(snapshot: Snapshot, entity: Entity) -> bytes:
    """Record Key of an entity; keys of one level are ordered as `entities_from` yields their entities."""
    return KEY.pack(_database(snapshot), LEVELS.index(entity.level), entity.ordinal)


def entities_from(
    snapshot: Snapshot, level: Level, keys: Keys, first: int, check: Callable[[], None]
) -> Iterator[Entity]:
    """Entities of a level that match all keys, in ascending ordinal from `first` on; a page takes what it needs.

    Parameters
    ----------
    check
        Called before each comparison; it may raise.
    """
    keys = restricting(keys)
    ordinals = _listed(snapshot, level, keys, check)
    if ordinals is None:
        candidates = snapshot.entities(level, first)
    else:
        candidates = (snapshot.entity_at(level, ordinal) for ordinal in ordinals if ordinal >= first)
    for entity in candidates:
        check()
        if all(matches(snapshot, entity, key, check) for key in keys.values()):
            yield entity


def _database(snapshot: Snapshot) -> int:
    return crc32(snapshot.header.identity.encode())


def _listed(snapshot: Snapshot, level: Level, keys: Keys, check: Callable[[], None]) -> list[int] | None:
    """Sorted ordinals that the most selective key leads to; None if no key does, or to too many."""
    keyword = most_selective(snapshot, keys, MAX_LISTED, check)
    if keyword is None:
        return None
    own = LEVEL_OF[keyword]
    ordinals = leads_to(snapshot, own, keys[keyword], check)
    for step in LEVELS[LEVELS.index(own) : LEVELS.index(level)]:
        below: list[int] = []
        for ordinal in ordinals:
            check()
            below += snapshot.child_ordinals(step, ordinal)
            if len(below) > MAX_LISTED:
                return None
        ordinals = below
    return sorted(ordinals)
