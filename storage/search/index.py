"""The contract of an index: what the node asks of whatever holds the codes and finds the nearest.

An index knows rows, codes and columns, and no DICOM. A row is one code: one frame of one instance. `LocalIndex` in
`storage.search.local` searches the database of this machine where it lies; an index elsewhere is a `CodeStore`.
`tests/contracts` holds any implementation to the contract.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes
from storage.record import Level, Record

__all__ = ["Aggregation", "CodeIndex", "CodeStore", "Filter", "Hit", "Hits", "IndexRow", "IndexView", "Level", "Range"]

Range = tuple[int | None, int | None]
"""Least and greatest value, both included; None leaves an end open."""


class Aggregation(StrEnum):
    """How the distance of a series, study or patient follows from its frames.

    BEST is the distance of the nearest frame from the nearest query. MEAN is the average, over all frames that pass the
    filter, of the distance from the nearest query. LATE (late interaction) is the average, over the queries, of the
    distance of the nearest frame: it asks whether the entity has something for each query.
    """

    BEST = "BEST"
    MEAN = "MEAN"
    LATE = "LATE"


@dataclass(frozen=True, slots=True)
class IndexRow:
    """One frame of one instance: its code, what it belongs to, and the columns that a search can filter by.

    The rows of one instance differ in `frame` and `code` only. The UIDs form a tree: a series lies in one study, and a
    study belongs to one patient. An index that meets a contradiction may refuse it with ValueError.

    Attributes
    ----------
    sop_instance_uid, frame
        Key of the row; frames count from 0.
    code : (words,) uint64
        As `hashing.codes.pack` makes it.
    patient_key
        As `storage.record.patient_key` makes it.
    modality, body_part
        As in DICOM, in upper case; "" if there is none.
    manufacturer
        As it was received; "" if there is none.
    study_date
        yyyymmdd; 0 if there is none.
    sex
        "M", "F" or "O"; "" if it is none of these.
    age_years
        0 to 999; -1 if it is unknown.
    pixel_digest
        64 bits over the pixels: equal for duplicates under other UIDs.
    """

    sop_instance_uid: str
    frame: int
    code: NDArray[np.uint64]
    series_instance_uid: str
    study_instance_uid: str
    patient_key: str
    modality: str = ""
    body_part: str = ""
    manufacturer: str = ""
    study_date: int = 0
    sex: str = ""
    age_years: int = -1
    pixel_digest: int = 0


@dataclass(frozen=True, slots=True)
class Filter:
    """Conditions on rows, which must all hold before the nearest rows are selected; None is no condition.

    Attributes
    ----------
    modalities, body_parts, manufacturers, sexes
        Values to stay among, written as in `IndexRow`; "" stands for rows without a value.
    study_dates
        Dates as yyyymmdd; a row without a date lies in no range.
    undated
        True if rows without a date pass `study_dates` too.
    ages
        Whole years; a row of unknown age lies in no range.
    patients, studies, series, instances
        Patient keys, or UIDs, to stay among. Unknown keys match nothing.
    excluded_patients, excluded_studies, excluded_series, excluded_instances
        Patient keys, or UIDs, to leave out.
    excluded_digests
        Pixel digests to leave out.
    """

    modalities: frozenset[str] | None = None
    body_parts: frozenset[str] | None = None
    manufacturers: frozenset[str] | None = None
    study_dates: Range | None = None
    undated: bool = False
    sexes: frozenset[str] | None = None
    ages: Range | None = None
    patients: frozenset[str] | None = None
    studies: frozenset[str] | None = None
    series: frozenset[str] | None = None
    instances: frozenset[str] | None = None
    excluded_patients: frozenset[str] | None = None
    excluded_studies: frozenset[str] | None = None
    excluded_series: frozenset[str] | None = None
    excluded_instances: frozenset[str] | None = None
    excluded_digests: frozenset[int] | None = None


EVERY_ROW = Filter()
"""The filter that every row passes."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One entity that a search found, with its nearest frame.

    Attributes
    ----------
    uid
        SOP Instance, Series Instance or Study Instance UID, or patient key, by the level of the search.
    distance
        Hamming distance in bits of the nearest frame, or the mean over frames.
    sop_instance_uid, frame
        The frame of the nearest pair of a frame and a query; of equally near frames, the one of the smallest SOP
        Instance UID, then the lowest number.
    weighted_distance
        The weighted distance, aggregated as `distance` is; 0 without outputs.
    record
        What is known of the instance, if another node indexed it; None if the database of this node has it.
    """

    uid: str
    distance: float
    sop_instance_uid: str
    frame: int
    weighted_distance: float = 0
    record: Record | None = None


@dataclass(frozen=True, slots=True)
class Hits:
    """The result of a search.

    Attributes
    ----------
    hits
        In ascending (distance, weighted distance, UID).
    candidates
        Number of instances that passed the filter; None if they were not to be counted.
    """

    hits: tuple[Hit, ...]
    candidates: int | None


class IndexView(Protocol):
    """One consistent state of an index: what is appended or removed after its opening does not show in it.

    It is used by one thread, and not after the end of its `with` block.
    """

    def search(
        self,
        queries: Codes,
        k: int,
        level: Level = Level.IMAGE,
        where: Filter = EVERY_ROW,
        *,
        maximum_distance: int | None = None,
        aggregation: Aggregation = Aggregation.BEST,
        outputs: NDArray[np.int8] | None = None,
        count: bool = True,
    ) -> Hits:
        """Find the k nearest entities of a level, exactly.

        The distance of a frame from a query is the Hamming distance of their codes. Their weighted distance is the sum
        of |output| over the bits in which the codes differ: it decides between equal distances, for a bit of which the
        network was unsure says less. Both are aggregated, as `Aggregation` says, over the frames that pass the filter;
        of several queries or frames, the nearest is that of the least (distance, weighted distance). An image always
        counts by its nearest frame.

        Entities come in ascending (distance, weighted distance, UID), and of entities that tie at the cut, those with
        the smallest UIDs are hits. UIDs and patient keys are compared character by character.

        Parameters
        ----------
        queries : (queries, words) uint64
            At least one code.
        k
            At least 1.
        maximum_distance
            In bits, inclusive; None for no limit.
        outputs : (queries, code_length or more)
            Outputs of the network for the queries, as `hashing.ranking_scores.in_whole_numbers` makes them; None for
            weighted distances of 0.
        count
            False to leave the candidates uncounted, which may save reading columns.

        Raises
        ------
        hashing.codes.CodeLengthError
            The queries have another length than the codes of the index, or fewer outputs came than bits.
        ValueError
            No query came, or k is less than 1.
        storage.errors.StorageError
            The index cannot be read.
        """
        ...


class CodeIndex(Protocol):
    """Opens views in which codes are searched."""

    def view(self) -> AbstractContextManager[IndexView]:
        """Open a view of everything that was appended and removed before; it ends with its `with` block.

        A view may keep storage from being reused, so it is opened for one answer and not held longer.
        """
        ...


class CodeStore(CodeIndex, Protocol):
    """A `CodeIndex` with rows of its own: whoever changes the database gives it the same rows."""

    def append(self, rows: Sequence[IndexRow]) -> None:
        """Add rows; they are durable, and seen by every later view, when this returns.

        All rows of an instance come in one call. A row whose (SOP Instance UID, frame) is known changes nothing: to
        change an instance, remove it first.

        Raises
        ------
        hashing.codes.CodeLengthError
            A code of another length.
        ValueError
            Rows contradict the tree of UIDs; no row of their instances is added.
        storage.errors.StorageError
            The index cannot be written.
        """
        ...

    def remove(self, sop_instance_uids: Sequence[str]) -> None:
        """Remove every row of some instances, durably; unknown UIDs change nothing.

        Raises
        ------
        storage.errors.StorageError
            The index cannot be written.
        """
        ...
