"""Lists of cases for the page: studies by their date, series by their arrival, and the images of a series."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from node.access.disclosure import Discloser
from node.web.cases import case, whole_number
from storage.database import columns
from storage.database.snapshot import Snapshot
from storage.record import Level


@dataclass(frozen=True, slots=True)
class SeriesTable:
    """What a list needs to know of every series, by ordinals.

    Attributes
    ----------
    modality : (series ordinals,)
        Number of the modality; -1 for a series that is not indexed.
    study : (series ordinals,)
        Ordinal of the study.
    date : (study ordinals,)
        Study Date as yyyymmdd, 0 if there is none.
    """

    modality: NDArray[np.int32]
    study: NDArray[np.int64]
    date: NDArray[np.int32]

    @classmethod
    def read(cls, snapshot: Snapshot) -> "SeriesTable":
        """Read the columns of a snapshot."""
        modality = np.full(snapshot.ordinal_bound(Level.SERIES), -1, np.int32)
        study = np.zeros(modality.size, np.int64)
        date = np.zeros(snapshot.ordinal_bound(Level.STUDY), np.int32)
        for block in snapshot.blocks():
            live = block.live()
            rows = slice(None) if live is None else live
            series, studies = block.column("series")[rows], block.column("study")[rows]
            modality[series], study[series] = block.column("modality")[rows], studies
            date[studies] = block.column("study_date")[rows]
        return cls(modality, study, date)


def list_series(
    snapshot: Snapshot,
    modalities: Collection[str],
    offset: int,
    limit: int,
    discloser: Discloser,
    among: NDArray[np.int64] | None = None,
) -> dict[str, object]:
    """JSON value of one page of series, latest first; each is represented by its middle image.

    Parameters
    ----------
    among
        Ordinals of the series to list; None for all.
    """
    ordinals = _chosen(snapshot, SeriesTable.read(snapshot), modalities, among)[::-1]
    page = ordinals[offset : offset + limit].tolist()
    cases = [_series_case(snapshot, snapshot.uid(Level.SERIES, ordinal), discloser) for ordinal in page]
    return {"total": ordinals.size, "offset": offset, "cases": cases}


def list_studies(
    snapshot: Snapshot,
    modalities: Collection[str],
    offset: int,
    limit: int,
    discloser: Discloser,
    among: NDArray[np.int64] | None = None,
) -> dict[str, object]:
    """JSON value of one page of studies, newest Study Date first; each is represented by its series of most images.

    Parameters are those of `list_series`.
    """
    table = SeriesTable.read(snapshot)
    series = _chosen(snapshot, table, modalities, among)
    studies = np.unique(table.study[series])
    ordered = studies[np.lexsort((-studies, -table.date[studies]))]
    chosen = set(series.tolist())
    page = ordered[offset : offset + limit].tolist()
    cases = [_study_case(snapshot, snapshot.uid(Level.STUDY, ordinal), chosen, discloser) for ordinal in page]
    return {"total": ordered.size, "offset": offset, "cases": cases}


def series_by_modality(snapshot: Snapshot, table: SeriesTable | None = None) -> dict[str, NDArray[np.int64]]:
    """Ordinals of the indexed series, ascending, by modality."""
    numbers = (table or SeriesTable.read(snapshot)).modality
    series = {}
    for number in np.unique(numbers[numbers >= 0]):
        ordinals = np.flatnonzero(numbers == number)
        first = snapshot.entity(Level.SERIES, snapshot.uid(Level.SERIES, int(ordinals[0])))
        assert first is not None
        series[columns.modality(first.attributes)] = ordinals
    return dict(sorted(series.items()))


def series_images(snapshot: Snapshot, series_instance_uid: str, discloser: Discloser) -> list[dict[str, object]]:
    """JSON values of every indexed frame of a series, in the order of Instance Number."""
    records = [snapshot.record(uid) for uid in snapshot.children(Level.SERIES, series_instance_uid)]
    numbered = sorted(
        ((whole_number(record.instance.get("InstanceNumber", "")), record) for record in records if record is not None),
        key=lambda pair: pair[0],
    )
    return [
        {"uid": discloser.uid(record.sop_instance_uid), "frame": frame + 1}
        for _, record in numbered
        for frame in record.frames
    ]


def _chosen(
    snapshot: Snapshot, table: SeriesTable, modalities: Collection[str], among: NDArray[np.int64] | None
) -> NDArray[np.int64]:
    """Ordinals of the series of some modalities, ascending."""
    by_modality = series_by_modality(snapshot, table)
    chosen = [ordinals for name, ordinals in by_modality.items() if not modalities or name in modalities]
    ordinals = np.sort(np.concatenate([np.empty(0, np.int64), *chosen]))
    return ordinals if among is None else ordinals[np.isin(ordinals, among)]


def _study_case(
    snapshot: Snapshot, study_instance_uid: str, chosen: Collection[int], discloser: Discloser
) -> dict[str, object]:
    series = list(_series_of(snapshot, study_instance_uid, chosen))
    largest = max(series, key=lambda uid: len(snapshot.children(Level.SERIES, uid)))
    images = sum(len(snapshot.children(Level.SERIES, uid)) for uid in series)
    return {**_series_case(snapshot, largest, discloser), "series": len(series), "images": images}


def _series_of(snapshot: Snapshot, study_instance_uid: str, chosen: Collection[int]) -> Iterator[str]:
    for uid in snapshot.children(Level.STUDY, study_instance_uid):
        if snapshot.ordinal(Level.SERIES, uid) in chosen:
            yield uid


def _series_case(snapshot: Snapshot, series_instance_uid: str, discloser: Discloser) -> dict[str, object]:
    uids = snapshot.children(Level.SERIES, series_instance_uid)
    uid = uids[len(uids) // 2]
    image, record = snapshot.entity(Level.IMAGE, uid), snapshot.record(uid)
    assert image is not None
    assert record is not None
    frame = record.frames[len(record.frames) // 2] + 1 if record.frames else 1
    return {**case(image, frame, discloser), "images": len(uids)}
