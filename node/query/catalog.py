"""Ordinary matching over the database: which patients, studies, series or instances satisfy every key."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from node.dicom.hierarchy import COMPUTED, LEVEL_OF, REQUIRED, UNIQUE, at_or_above, below
from node.query.matching import is_universal, matches
from storage.database.columns import SEXES
from storage.database.database import Snapshot
from storage.record import LEVELS, Entity, Level
from storage.search.index import Filter

Keys = Mapping[str, str]
Check = Callable[[], None]
"""Called before each entity that is looked at; it may raise, to end a search that nobody waits for any more."""

DATES = re.compile(r"(?P<first>[0-9]{8})?(?P<range>-(?P<last>[0-9]{8})?)?")
FILTER_FIELD = {Level.PATIENT: "patients", Level.STUDY: "studies", Level.SERIES: "series", Level.IMAGE: "instances"}


def go_on() -> None:
    """Check nothing."""


def find(snapshot: Snapshot, level: Level, keys: Keys, check: Check = go_on) -> Iterator[Entity]:
    """Entities of a level that match all keys; where keys name those above, one after the other of these.

    Every key must be of `level` or above; matching is that of PS3.4 C.2.2.2, and an empty stored value of a required
    key matches anything (C.2.2.1.2).
    """
    asked = _asked(keys)
    upper = {keyword: key for keyword, key in asked.items() if LEVEL_OF[keyword] != level}
    if level != Level.PATIENT and UNIQUE[level] in asked:
        candidates = _named(snapshot, level, asked[UNIQUE[level]].split("\\"))
    elif upper:
        above = at_or_above(level)[-2]
        parents = find(snapshot, above, upper, check)
        candidates = (
            _entity(snapshot, level, uid) for parent in parents for uid in snapshot.children(above, parent.uid)
        )
        asked = {keyword: key for keyword, key in asked.items() if keyword not in upper}
    else:
        candidates = snapshot.entities(level)
    for entity in candidates:
        check()
        if all(_matches(snapshot, entity, keyword, key) for keyword, key in asked.items()):
            yield entity


def restrict(snapshot: Snapshot, keys: Keys, check: Check = go_on) -> Filter:
    """Filter that lets through only the rows of entities that match all keys, of whatever level."""
    asked = _asked(keys)
    where = Filter(
        modalities=_listed(asked, "Modality"),
        body_parts=_listed(asked, "BodyPartExamined"),
        manufacturers=_manufacturers(snapshot, asked),
        sexes=_sexes(asked),
    )
    where = _dated(snapshot, asked, where, check)
    if not asked:
        return where
    lowest = max((LEVEL_OF[keyword] for keyword in asked), key=LEVELS.index)
    uids = frozenset(entity.uid for entity in find(snapshot, lowest, asked, check))
    return replace(where, **{FILTER_FIELD[lowest]: uids})  # type: ignore[arg-type]


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


def _asked(keys: Keys) -> dict[str, str]:
    return {keyword: key for keyword, key in keys.items() if not is_universal(key)}


def _listed(asked: dict[str, str], keyword: str) -> frozenset[str] | None:
    """Take a key out that rows are filtered by without looking at their entities: plain values in upper case."""
    key = asked.get(keyword, "")
    if not key or key != key.upper() or not {*'*?"'}.isdisjoint(key):
        return None
    del asked[keyword]
    return frozenset({value.strip() for value in key.split("\\")} - {""} | ({""} if keyword in REQUIRED else set()))


def _manufacturers(snapshot: Snapshot, asked: dict[str, str]) -> frozenset[str] | None:
    """Take Manufacturer out, whatever its key: rows know the value as it came, and different values are few."""
    key = asked.pop("Manufacturer", None)
    if key is None:
        return None
    return frozenset(term for term in snapshot.terms("manufacturer") if matches("Manufacturer", key, term))


def _sexes(asked: dict[str, str]) -> frozenset[str] | None:
    """Take Patient's Sex out, where its values are those that rows know."""
    values = frozenset(value.strip() for value in asked.get("PatientSex", "").split("\\"))
    if not values <= set(SEXES) - {""}:
        return None
    del asked["PatientSex"]
    return values


def _dated(snapshot: Snapshot, asked: dict[str, str], where: Filter, check: Check) -> Filter:
    """Take one whole date, or a range of such, out of the keys.

    Rows know a date or none. A study without one matches (PS3.4 C.2.2.1.2), one with something else may, as its text
    says: these few are looked at one by one.
    """
    key = asked.get("StudyDate", "").strip()
    found = DATES.fullmatch(key)
    if found is None or not (found["first"] or found["last"]):
        return where
    del asked["StudyDate"]
    first, last = (int(end) if end else None for end in (found["first"], found["last"]))
    excluded = []
    for uid in snapshot.undated_studies():
        check()
        if not _matches(snapshot, _entity(snapshot, Level.STUDY, uid), "StudyDate", key):
            excluded.append(uid)
    ends = (first, last if found["range"] else first)
    return replace(where, study_dates=ends, undated=True, excluded_studies=frozenset(excluded))


def _named(snapshot: Snapshot, level: Level, uids: Iterable[str]) -> Iterator[Entity]:
    """Entities of these unique keys that are known, each once, in order of arrival."""
    found = (snapshot.entity(level, uid) for uid in {uid.strip() for uid in uids} - {""})
    return iter(sorted((entity for entity in found if entity is not None), key=lambda entity: entity.ordinal))


def _entity(snapshot: Snapshot, level: Level, uid: str) -> Entity:
    entity = snapshot.entity(level, uid)
    assert entity is not None, f"no {level} of this UID, though its parent or child is there"
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
