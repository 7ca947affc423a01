"""Ordinary matching over the database: which patients, studies, series or instances satisfy every key."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from node.dicom.hierarchy import COMPUTED, LEVEL_OF, UNIQUE, at_or_above, below
from node.query.matching import Key, moments
from node.query.spans import INDEX_OF, spans
from storage.database.columns import SEXES
from storage.database.database import Snapshot
from storage.database.lookup import Span
from storage.objects.object_store import ObjectStore
from storage.record import LEVELS, Entity, Level
from storage.search.index import Filter

Keys = Mapping[str, Key]
Check = Callable[[], None]
"""Function that long work calls before each step; it may raise, to end a search that nobody waits for any more."""

DATES = re.compile(r"(?P<first>[0-9]{8})?(?P<range>-(?P<last>[0-9]{8})?)?")
MIN_WALKED = 10_000
"""Candidates of another key from which on a key that begins with a wild card is looked up instead."""
FILTER_FIELD = {Level.PATIENT: "patients", Level.STUDY: "studies", Level.SERIES: "series", Level.IMAGE: "instances"}


def go_on() -> None:
    """Check nothing."""


def find(snapshot: Snapshot, level: Level, keys: Keys, check: Check = go_on) -> Iterator[Entity]:
    """Entities of a level that match all keys, in order of arrival; where keys are of levels above, parent by parent.

    Parameters
    ----------
    keys
        Keys of `level` or above, by keyword. Matching is that of PS3.4 C.2.2.2, and an empty stored value of a
        required key matches anything (C.2.2.1.2).
    check
        Called before each comparison.
    """
    keys = restricting(keys)
    selective = most_selective(snapshot, keys, check=check)
    upper = {keyword: key for keyword, key in keys.items() if LEVEL_OF[keyword] != level}
    if selective is not None and LEVEL_OF[selective] == level:
        candidates = _by_key(snapshot, level, keys[selective], check)
    elif upper:
        candidates = _below(snapshot, level, upper, check)
        keys = {keyword: key for keyword, key in keys.items() if keyword not in upper}
    else:
        candidates = snapshot.entities(level)
    for entity in candidates:
        check()
        if all(matches(snapshot, entity, key, check) for key in keys.values()):
            yield entity


def restrict(snapshot: Snapshot, keys: Keys, check: Check = go_on) -> Filter:
    """Filter that lets through only the rows of entities that match all keys, of whatever level."""
    left = restricting(keys)
    where = Filter(
        modalities=_terms(snapshot, left, "Modality", "modality"),
        body_parts=_terms(snapshot, left, "BodyPartExamined", "body_part"),
        manufacturers=_terms(snapshot, left, "Manufacturer", "manufacturer"),
        sexes=_sexes(left),
    )
    where = _dated(snapshot, left, where, check)
    if not left:
        return where
    lowest = max((LEVEL_OF[keyword] for keyword in left), key=LEVELS.index)
    uids = frozenset(entity.uid for entity in find(snapshot, lowest, left, check))
    return replace(where, **{FILTER_FIELD[lowest]: uids})  # type: ignore[arg-type]


def values(snapshot: Snapshot, entity: Entity, keywords: Iterable[str], check: Check = go_on) -> dict[str, str]:
    """Values of an entity by keyword: its attributes, those above it, and what is computed from below it.

    Of an entity that only another node has, nothing is computed.
    """
    known = {} if entity.ordinal < 0 else COMPUTATIONS
    return {
        keyword: known[keyword](snapshot, entity, check) if keyword in known else entity.attributes.get(keyword, "")
        for keyword in keywords
    }


def descendants(snapshot: Snapshot, level: Level, uid: str, wanted: Level, check: Check = go_on) -> Iterator[str]:
    """Unique keys of the entities of a lower (or the same) level under one entity."""
    check()
    if level == wanted:
        yield uid
        return
    lower = below(level)
    assert lower is not None
    for child in snapshot.each_child(level, uid):
        yield from descendants(snapshot, lower, child, wanted, check)


class Availability:
    """Instance Availability (PS3.3 C.4.23.1.1): ONLINE is kept here, NEARLINE is what the source PACS must send."""

    def __init__(self, objects: ObjectStore, *, has_source: bool) -> None:
        self._objects, self._elsewhere = objects, "NEARLINE" if has_source else "UNAVAILABLE"

    def within(self, snapshot: Snapshot, check: Check) -> Callable[[Entity], str]:
        """Function for the entities of a snapshot: the least availability of the instances of each."""
        _, withheld = snapshot.rejections.count()
        if self._objects.usage().objects == snapshot.count(Level.IMAGE) + withheld:  # only of these objects are kept
            return lambda _: "ONLINE"

        def least(entity: Entity) -> str:
            instances = list(descendants(snapshot, entity.level, entity.uid, Level.IMAGE, check))
            return "ONLINE" if len(self._objects.kept(instances)) == len(instances) else self._elsewhere

        return least


def restricting(keys: Keys) -> dict[str, Key]:
    """Keys that some entity may not match."""
    return {keyword: key for keyword, key in keys.items() if not key.is_universal}


def most_selective(snapshot: Snapshot, keys: Keys, limit: int | None = None, check: Check = go_on) -> str | None:
    """Keyword of the key that leads to the fewest entries of a table of the database, at most `limit` (all instances).

    None if there is no such key. Without `limit`, a key that begins with a wild card is not counted, for that takes as
    long as looking it up: it is taken where no other key leads to few.
    """
    walked: str | None = None
    best, fewest = None, snapshot.count(Level.IMAGE) if limit is None else limit + 1
    for keyword, key in keys.items():
        level, ranges = LEVEL_OF[keyword], spans(key)
        if _is_unique(level, key):
            count = len(key.exact or ())
        elif ranges is not None and limit is None and any(span.piece for span in ranges):
            walked = keyword
            continue
        elif ranges is not None:
            count = snapshot.count_within(INDEX_OF[keyword], ranges, fewest, check)
        else:
            continue
        if best is None or count < fewest:
            best, fewest = keyword, count
    return walked if walked is not None and (best is None or fewest > MIN_WALKED) else best


def _is_unique(level: Level, key: Key) -> bool:
    """True for the unique key of a level with a table of its own; a patient is stored by more than the Patient ID."""
    return key.keyword == UNIQUE[level] and level != Level.PATIENT and key.exact is not None


def _by_key(snapshot: Snapshot, level: Level, key: Key, check: Check) -> Iterator[Entity]:
    """Entities that a table of the database leads to, a superset of those that match the key, in order of arrival."""
    return (snapshot.entity_at(level, ordinal) for ordinal in leads_to(snapshot, level, key, check))


def leads_to(snapshot: Snapshot, level: Level, key: Key, check: Check = go_on) -> list[int]:
    """Sorted ordinals that a table of the database leads to, a superset of those that match a key of this level."""
    if not _is_unique(level, key):
        ranges: tuple[Span, ...] = spans(key) or ()
        return snapshot.ordinals_within(level, INDEX_OF[key.keyword], ranges, check)
    found = set()
    for uid in key.exact or ():
        check()
        found.add(snapshot.ordinal(level, uid))
    return sorted(ordinal for ordinal in found if ordinal is not None)


def _below(snapshot: Snapshot, level: Level, keys: Keys, check: Check) -> Iterator[Entity]:
    """Entities of a level whose parents match keys of the levels above."""
    above = at_or_above(level)[-2]
    for parent in find(snapshot, above, keys, check):
        for uid in snapshot.each_child(above, parent.uid):
            yield _entity(snapshot, level, uid)


def _terms(snapshot: Snapshot, keys: dict[str, Key], keyword: str, column: str) -> frozenset[str] | None:
    """Take a key out of `keys` and return the terms of a column that match it, which are few; None to leave it.

    Rows know code strings in capitals: a key with a small letter is left, for it matches a value as it was written.
    """
    key = keys.get(keyword)
    if key is None or (column != "manufacturer" and key.text != key.text.upper()):
        return None
    del keys[keyword]
    return frozenset(term for term in snapshot.terms(column) if (key.matches_empty and term == "") or key.matches(term))


def _sexes(keys: dict[str, Key]) -> frozenset[str] | None:
    """Take Patient's Sex out of `keys`, where its values are those that rows know."""
    key = keys.get("PatientSex")
    sexes = frozenset(value.strip() for value in key.text.split("\\")) if key else frozenset()
    if not sexes or not sexes <= set(SEXES) - {""}:
        return None
    del keys["PatientSex"]
    return sexes


def _dated(snapshot: Snapshot, keys: dict[str, Key], where: Filter, check: Check) -> Filter:
    """Take one whole date, or a range of such, out of `keys` and into a filter.

    Rows know a date or none. A study without one matches (PS3.4 C.2.2.1.2), and a study with something else may, as
    its text says: these few are compared singly.
    """
    key = keys.get("StudyDate")
    ends = DATES.fullmatch(key.text.strip()) if key else None
    if key is None or ends is None or not (ends["first"] or ends["last"]):
        return where
    del keys["StudyDate"]
    first, last = (int(end) if end else None for end in (ends["first"], ends["last"]))
    excluded = []
    for uid in snapshot.undated_studies():
        check()
        if not matches(snapshot, _entity(snapshot, Level.STUDY, uid), key, check):
            excluded.append(uid)
    dates = (first, last if ends["range"] else first)
    return replace(where, study_dates=dates, undated=True, excluded_studies=frozenset(excluded))


def _entity(snapshot: Snapshot, level: Level, uid: str) -> Entity:
    entity = snapshot.entity(level, uid)
    assert entity is not None, f"no {level} of this UID, though its parent or child is there"
    return entity


def matches(snapshot: Snapshot, entity: Entity, key: Key, check: Check) -> bool:
    """True if an entity matches a key of its level or above."""
    check()
    if key.keyword in COMPUTATIONS:
        level = LEVEL_OF[key.keyword]
        owner = entity if level == entity.level else _entity(snapshot, level, entity.uids[level])
        return key.matches(COMPUTATIONS[key.keyword](snapshot, owner, check))
    stored = entity.attributes.get(key.keyword, "")
    if key.date_keyword:
        dates = entity.attributes.get(key.date_keyword, "")
        return dates == "" or key.matches(moments(dates, stored))  # without a date, the key of the date decides
    return (key.matches_empty and stored == "") or key.matches(stored)


Computation = Callable[[Snapshot, Entity, Check], str]


def _distinct(level: Level, keyword: str) -> Computation:
    def distinct(snapshot: Snapshot, entity: Entity, check: Check) -> str:
        ordinals = _ordinals_below(snapshot, Level.STUDY, _ordinal(snapshot, Level.STUDY, entity), level, check)
        found = {snapshot.entity_at(level, ordinal).attributes.get(keyword, "") for ordinal in ordinals}
        return "\\".join(sorted(found - {""}))

    return distinct


def _count(owner: Level, level: Level) -> Computation:
    def count(snapshot: Snapshot, entity: Entity, check: Check) -> str:
        ordinals = _ordinals_below(snapshot, owner, _ordinal(snapshot, owner, entity), level, check)
        return str(sum(1 for _ in ordinals))

    return count


def _ordinal(snapshot: Snapshot, level: Level, entity: Entity) -> int:
    """Ordinal of the entity of a level that an entity is, or lies in."""
    ordinal = entity.ordinal if level == entity.level else snapshot.ordinal(level, entity.uids[level])
    assert ordinal is not None, f"no {level} of this UID, though its child is there"
    return ordinal


def _ordinals_below(snapshot: Snapshot, level: Level, ordinal: int, wanted: Level, check: Check) -> Iterator[int]:
    """Ordinals of the entities of a lower (or the same) level under one entity."""
    check()
    if level == wanted:
        yield ordinal
        return
    lower = below(level)
    assert lower is not None
    for child in snapshot.child_ordinals(level, ordinal):
        yield from _ordinals_below(snapshot, lower, child, wanted, check)


COMPUTATIONS: dict[str, Computation] = {
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
