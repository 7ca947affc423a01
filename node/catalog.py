"""Ordinary matching over the database: which patients, studies, series or instances satisfy every key."""

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np

from node.keys import COMPUTED, LEVEL_OF, REQUIRED, UNIQUE, at_or_above, below
from node.matching import is_universal, matches
from storage.database import Snapshot
from storage.record import LEVELS, Entity, Level
from storage.search import Filter

Keys = Mapping[str, str]


def find(snapshot: Snapshot, level: Level, keys: Keys) -> Iterator[Entity]:
    """Entities of a level that match all keys of that level and those above, in order of arrival.

    Every key named must be of `level` or above; matching is that of PS3.4 C.2.2.2, and an empty stored value of a
    required key matches anything (C.2.2.1.2).
    """
    asked = {keyword: key for keyword, key in keys.items() if not is_universal(key)}
    for entity in _candidates(snapshot, level, asked):
        if all(_matches(snapshot, entity, keyword, key) for keyword, key in asked.items()):
            yield entity


def restrict(snapshot: Snapshot, keys: Keys) -> Filter:
    """Filter that lets through only the rows of entities that match all keys, of whatever level."""
    ordinals: dict[Level, np.ndarray[tuple[int], np.dtype[np.uint32]]] = {}
    for level in LEVELS:
        asked = {keyword: key for keyword, key in keys.items() if LEVEL_OF[keyword] == level and not is_universal(key)}
        if asked:
            ordinals[level] = np.fromiter((entity.ordinal for entity in find(snapshot, level, asked)), np.uint32)
    return Filter(
        patients=ordinals.get(Level.PATIENT),
        studies=ordinals.get(Level.STUDY),
        series=ordinals.get(Level.SERIES),
        instances=ordinals.get(Level.IMAGE),
    )


def values(snapshot: Snapshot, entity: Entity, keywords: Iterable[str]) -> dict[str, str]:
    """Values of an entity by keyword: its attributes, those above it, and what is computed from below it."""
    return {
        keyword: COMPUTATIONS[keyword](snapshot, entity)
        if keyword in COMPUTATIONS
        else entity.attributes.get(keyword, "")
        for keyword in keywords
    }


def descendants(snapshot: Snapshot, level: Level, uid: str, wanted: Level) -> Iterator[str]:
    """Unique keys of the entities of a lower (or the same) level under one entity."""
    if level == wanted:
        yield uid
        return
    lower = below(level)
    assert lower is not None
    for child in snapshot.children(level, uid):
        yield from descendants(snapshot, lower, child, wanted)


def _candidates(snapshot: Snapshot, level: Level, asked: Keys) -> Iterator[Entity]:
    """Entities under those named by the lowest Study, Series or SOP Instance UID, or all of the level."""
    for anchor in reversed(at_or_above(level)[1:]):
        if UNIQUE[anchor] in asked:
            for uid in dict.fromkeys(asked[UNIQUE[anchor]].split("\\")):
                if snapshot.ordinal(anchor, uid) is not None:
                    yield from (_entity(snapshot, level, one) for one in descendants(snapshot, anchor, uid, level))
            return
    yield from snapshot.entities(level)


def _entity(snapshot: Snapshot, level: Level, uid: str) -> Entity:
    entity = snapshot.entity(level, uid)
    assert entity is not None, (level, uid)
    return entity


def _matches(snapshot: Snapshot, entity: Entity, keyword: str, key: str) -> bool:
    if keyword in COMPUTATIONS:
        level = LEVEL_OF[keyword]
        owner = entity if level == entity.level else _entity(snapshot, level, entity.uids[level])
        return matches(keyword, key, COMPUTATIONS[keyword](snapshot, owner))
    stored = entity.attributes.get(keyword, "")
    return (keyword in REQUIRED and stored == "") or matches(keyword, key, stored)


def _distinct(level: Level, keyword: str) -> Callable[[Snapshot, Entity], str]:
    def distinct(snapshot: Snapshot, entity: Entity) -> str:
        uids = descendants(snapshot, Level.STUDY, entity.uids[Level.STUDY], level)
        found = {_entity(snapshot, level, uid).attributes.get(keyword, "") for uid in uids}
        return "\\".join(sorted(found - {""}))

    return distinct


def _count(owner: Level, level: Level) -> Callable[[Snapshot, Entity], str]:
    def count(snapshot: Snapshot, entity: Entity) -> str:
        return str(sum(1 for _ in descendants(snapshot, owner, entity.uids[owner], level)))

    return count


COMPUTATIONS: dict[str, Callable[[Snapshot, Entity], str]] = {
    "ModalitiesInStudy": _distinct(Level.SERIES, "Modality"),
    "SOPClassesInStudy": _distinct(Level.IMAGE, "SOPClassUID"),
    "NumberOfPatientRelatedStudies": _count(Level.PATIENT, Level.STUDY),
    "NumberOfPatientRelatedSeries": _count(Level.PATIENT, Level.SERIES),
    "NumberOfPatientRelatedInstances": _count(Level.PATIENT, Level.IMAGE),
    "NumberOfStudyRelatedSeries": _count(Level.STUDY, Level.SERIES),
    "NumberOfStudyRelatedInstances": _count(Level.STUDY, Level.IMAGE),
    "NumberOfSeriesRelatedInstances": _count(Level.SERIES, Level.IMAGE),
}
assert set(COMPUTATIONS) == {keyword for level in LEVELS for keyword in COMPUTED[level]}
