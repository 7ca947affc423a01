"""What the search box of the page finds: the open case by a number or a UID, or cases by their description."""

import re
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from node.access.disclosure import MATCHABLE
from node.errors import Refusal, Status
from node.options.access import Disclosure
from node.query import catalog
from node.query.matching import Key, read_key
from storage.database.snapshot import Snapshot
from storage.record import Level

MAX_FOUND: Final = 5000
"""Series that one search finds at most; the page shows a few dozen at a time."""
UID: Final = re.compile(r"[0-9.]{1,64}")
EXACT: Final = (
    ("StudyInstanceUID", Level.STUDY),
    ("SeriesInstanceUID", Level.SERIES),
    ("SOPInstanceUID", Level.IMAGE),
    ("AccessionNumber", Level.STUDY),
)
DESCRIPTIONS: Final = (("StudyDescription", Level.STUDY), ("SeriesDescription", Level.SERIES))


def find_series(snapshot: Snapshot, text: str, check: catalog.Check, disclosure: Disclosure) -> NDArray[np.int64]:
    """Ordinals of the series that a text names, ascending.

    The first of these that finds anything counts: a Study, Series or SOP Instance UID, an Accession Number, a Patient
    ID, and last a part of a Study or Series Description, in the letters given, in capitals, or with one capital.

    Parameters
    ----------
    disclosure
        What the caller sees of patients: by what it does not see it finds nothing.

    Raises
    ------
    node.errors.Refusal
        A900: the text is too long. 0124: the caller may not find by it. Whatever `check` raises.
    """
    plain = text.strip().replace("\\", "?").replace("*", "?")
    is_full = disclosure is Disclosure.FULL
    for keyword, level in (*EXACT, ("PatientID", Level.PATIENT)):
        if not is_full and keyword not in MATCHABLE[disclosure]:
            continue
        if keyword.endswith("UID") and not UID.fullmatch(plain):
            continue
        if ordinals := _series(snapshot, level, read_key(keyword, plain), check):
            return np.array(sorted(ordinals), np.int64)
    if not is_full:
        raise Refusal(Status.NOT_AUTHORIZED, "this caller finds cases by UID only, if at all")
    parts = "\\".join(f"*{part}*" for part in dict.fromkeys((plain, plain.upper(), plain.capitalize())))
    described = set()
    for keyword, level in DESCRIPTIONS:
        described |= _series(snapshot, level, read_key(keyword, parts), check)
    return np.array(sorted(described), np.int64)


def _series(snapshot: Snapshot, level: Level, key: Key, check: catalog.Check) -> set[int]:
    """Ordinals of the series of the entities that match a key by a value of their own."""
    found: set[int] = set()
    for entity in catalog.find(snapshot, level, {key.keyword: key}, check):
        if entity.attributes.get(key.keyword, "") == "":  # it matches anything (PS3.4 C.2.2.1.2), and names nothing
            continue
        for uid in _uids(snapshot, level, entity.uids[level], entity.uids.get(Level.SERIES), check):
            ordinal = snapshot.ordinal(Level.SERIES, uid)
            assert ordinal is not None, "it is a series of an entity"
            found.add(ordinal)
            if len(found) >= MAX_FOUND:
                return found
    return found


def _uids(snapshot: Snapshot, level: Level, uid: str, series: str | None, check: catalog.Check) -> Iterator[str]:
    if series is not None:
        return iter([series])
    return catalog.descendants(snapshot, level, uid, Level.SERIES, check)
