"""The rows of an instance that the database stores, as an index elsewhere takes them."""

from hashing.codes import Codes
from storage.database.columns import NUMBERS, SEXES, TERMS
from storage.database.snapshot import Snapshot
from storage.record import LEVELS, Level, Record
from storage.search.index import IndexRow


def stored_rows(snapshot: Snapshot, sop_instance_uid: str) -> list[IndexRow]:
    """Rows of an instance, as the columns of the database say; none if it is unknown or was not hashed."""
    record = snapshot.record(sop_instance_uid)
    if record is None or not record.frames:
        return []
    return _rows(record, snapshot.codes_of(sop_instance_uid), snapshot.pixel_digest(sop_instance_uid) or 0)


def _rows(record: Record, codes: Codes, pixel_digest: int) -> list[IndexRow]:
    attributes = {keyword: value for level in LEVELS for keyword, value in record.attributes[level].items()}
    terms = {name: term(attributes) for name, term in TERMS.items()}
    return [
        IndexRow(
            sop_instance_uid=record.sop_instance_uid,
            frame=frame,
            code=code,
            series_instance_uid=record.series_instance_uid,
            study_instance_uid=record.study_instance_uid,
            patient_key=record.uids[Level.PATIENT],
            study_date=NUMBERS["study_date"](attributes),
            sex=SEXES[NUMBERS["sex"](attributes)],
            age_years=NUMBERS["age_years"](attributes),
            pixel_digest=pixel_digest,
            **terms,
        )
        for frame, code in zip(record.frames, codes, strict=True)
    ]
