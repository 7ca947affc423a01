"""Filters as expressions of Milvus, https://milvus.io/docs/boolean.md."""

from collections.abc import Collection, Iterable
from typing import Final

from storage.record import Level, names_a_patient, patient_id_and_issuer, patient_key
from storage.search.index import Filter, Range
from storage.search.milvus.options import PartitionKey
from storage.search.milvus.rows import LIVE, digest, text

UID_FIELD: Final = {
    Level.PATIENT: "patient_key",
    Level.STUDY: "study_instance_uid",
    Level.SERIES: "series_instance_uid",
    Level.IMAGE: "sop_instance_uid",
}
LIVE_ROWS: Final = f"gone == {LIVE}"
"""Expression that a row is there in the latest state."""
NOTHING: Final = "bucket < 0"
"""Expression that no row fulfils."""


def quoted(value: str) -> str:
    """Literal of a text: Milvus reads the escapes of Go."""
    return '"' + "".join(map(_escaped, text(value))) + '"'


def _escaped(character: str) -> str:
    number = ord(character)
    if character in '"\\':
        return "\\" + character
    if 32 <= number < 127:
        return character
    return f"\\u{number:04x}" if number < 1 << 16 else f"\\U{number:08x}"


def among(field: str, values: Iterable[str]) -> str:
    """Expression that a field of text has one of some values."""
    literals = ", ".join(map(quoted, sorted(values)))
    return f"{field} in [{literals}]" if literals else NOTHING


def none_of(field: str, values: Iterable[str]) -> str:
    """Expression that a field of text has none of some values; "" if there is none."""
    literals = ", ".join(map(quoted, sorted(values)))
    return f"{field} not in [{literals}]" if literals else ""


def state(owner: int, sequence: int, *, shared: bool) -> str:
    """Expression that a row belongs to a state of an owner's rows or, if shared, to the latest of other owners."""
    own = f"owner == {owner} and added <= {sequence} and gone > {sequence}"
    return f"(({own}) or (owner != {owner} and gone == {LIVE}))" if shared else f"({own})"


def expression(where: Filter, partition_key: PartitionKey) -> str:
    """Expression of a filter; "" if every row passes."""
    return joined([*_attributes(where), *_entities(where), *_years(where, partition_key)])


def no_possible_patient(patient_keys: Iterable[str]) -> str:
    """Expression that a row's patient cannot be one of some, by the rule of `storage.record.may_be_one_patient`.

    A node expands the keys of a filter by the patients that it knows; this serves rows of others.
    """
    named = [patient_id_and_issuer(key) for key in patient_keys if names_a_patient(key)]
    without_issuer = none_of("patient_key", {patient_key(patient_id, "", "") for patient_id, issuer in named if issuer})
    with_any = none_of("patient_id", {patient_id for patient_id, issuer in named if not issuer})
    return joined([without_issuer, with_any])


def joined(conditions: Iterable[str]) -> str:
    """Conjunction of the conditions that are not empty."""
    return " and ".join(condition for condition in conditions if condition)


def _attributes(where: Filter) -> Iterable[str]:
    for field, values in (
        ("modality", where.modalities),
        ("body_part", where.body_parts),
        ("manufacturer", where.manufacturers),
        ("sex", where.sexes),
    ):
        if values is not None:
            yield among(field, values)
    if where.study_dates is not None:
        dated = _within("study_date", 1, where.study_dates)
        yield f"({dated} or study_date == 0)" if where.undated else dated
    if where.ages is not None:
        yield _within("age_years", 0, where.ages)
    if where.excluded_digests:
        digests = sorted(map(digest, where.excluded_digests))
        yield f"pixel_digest not in [{', '.join(map(str, digests))}]"


def _entities(where: Filter) -> Iterable[str]:
    for level, included, excluded in (
        (Level.PATIENT, where.patients, where.excluded_patients),
        (Level.STUDY, where.studies, where.excluded_studies),
        (Level.SERIES, where.series, where.excluded_series),
        (Level.IMAGE, where.instances, where.excluded_instances),
    ):
        if included is not None:
            yield among(UID_FIELD[level], included)
        yield none_of(UID_FIELD[level], excluded or ())


def _years(where: Filter, partition_key: PartitionKey) -> Iterable[str]:
    """Yield the years of a range of dates, since Milvus leaves out partitions only for values that are listed."""
    if partition_key != PartitionKey.YEAR or where.study_dates is None or None in where.study_dates:
        return
    first, last = (date // 10_000 for date in where.study_dates if date is not None)
    years: Collection[int] = [*range(first, last + 1), *[0] * where.undated]
    if len(years) <= 100:
        yield f"year in [{', '.join(map(str, years))}]" if years else NOTHING


def _within(field: str, least: int, ends: Range) -> str:
    """Expression that a value of at least `least` lies between two ends."""
    low, high = ends
    bounds = [f"{field} >= {max(least, least if low is None else low)}"]
    return f"({' and '.join(bounds + [f'{field} <= {high}'] * (high is not None))})"
