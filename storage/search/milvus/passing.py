"""Whether one row passes a filter: for the few rows of which no index knows yet."""

from typing import Final

from storage.search.index import Filter, IndexRow, Range

AMONG: Final = {
    "modality": "modalities",
    "body_part": "body_parts",
    "manufacturer": "manufacturers",
    "sex": "sexes",
    "patient_key": "patients",
    "study_instance_uid": "studies",
    "series_instance_uid": "series",
    "sop_instance_uid": "instances",
}
"""Field of a filter with the values to stay among, by the field of a row."""
EXCLUDED: Final = {
    "patient_key": "excluded_patients",
    "study_instance_uid": "excluded_studies",
    "series_instance_uid": "excluded_series",
    "sop_instance_uid": "excluded_instances",
    "pixel_digest": "excluded_digests",
}
"""Field of a filter with the values to leave out, by the field of a row."""


def passes(row: IndexRow, where: Filter) -> bool:
    """True if a row fulfils every condition of a filter."""
    among = [(getattr(row, column), getattr(where, name)) for column, name in AMONG.items()]
    excluded = [(getattr(row, column), getattr(where, name)) for column, name in EXCLUDED.items()]
    return (
        all(values is None or value in values for value, values in among)
        and not any(value in (values or ()) for value, values in excluded)
        and (_within(row.study_date, 1, where.study_dates) or (where.undated and row.study_date == 0))
        and _within(row.age_years, 0, where.ages)
    )


def _within(value: int, least: int, ends: Range | None) -> bool:
    """True if a value of at least `least` lies between two ends."""
    if ends is None:
        return True
    low, high = ends
    return value >= least and (low is None or value >= low) and (high is None or value <= high)
