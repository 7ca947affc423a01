"""The nearest instances, series, studies or patients, among those that pass a filter."""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes
from storage.database import Snapshot
from storage.record import Level

Ordinals = NDArray[np.uint32]
Aggregation = Literal["BEST", "MEAN"]


@dataclass(frozen=True, slots=True)
class Filter:
    """Conditions that must all hold, before the nearest are selected; None asks nothing."""

    modalities: frozenset[str] | None = None
    body_parts: frozenset[str] | None = None
    study_dates: tuple[int | None, int | None] | None = None  # yyyymmdd, inclusive
    sexes: frozenset[str] | None = None
    ages: tuple[int | None, int | None] | None = None  # years, inclusive
    patients: Ordinals | None = None
    studies: Ordinals | None = None
    series: Ordinals | None = None
    instances: Ordinals | None = None
    excluded_patients: Ordinals | None = None
    excluded_studies: Ordinals | None = None
    excluded_series: Ordinals | None = None
    excluded_instances: Ordinals | None = None
    excluded_digests: NDArray[np.uint64] | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """One entity of the answer, with its nearest frame."""

    uid: str
    ordinal: int
    distance: float
    sop_instance_uid: str
    frame: int
    row: int


@dataclass(frozen=True, slots=True)
class Answer:
    """Hits in ascending (distance, uid), and how many instances were considered."""

    hits: tuple[Hit, ...]
    candidates: int


class CodeIndex(Protocol):
    """What answers queries: this process, or a cluster."""

    def search(
        self,
        snapshot: Snapshot,
        queries: Codes,
        k: int,
        level: Level = Level.IMAGE,
        where: Filter = ...,
        maximum_distance: int | None = None,
        aggregation: Aggregation = "BEST",
    ) -> Answer:
        """Return the `k` nearest entities of a level."""
        ...
