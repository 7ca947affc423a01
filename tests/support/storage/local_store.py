"""A local index that takes rows, as the contract's suite gives them: it stores them in its database."""

from collections.abc import Iterable, Sequence
from hashlib import sha256

import numpy as np

from storage.item import Item
from storage.record import Level, Record
from storage.search.index import IndexRow
from storage.search.local import LocalIndex


class LocalStore(LocalIndex):
    """A `CodeStore` over a database, whose instances have nothing but their rows."""

    def append(self, rows: Sequence[IndexRow]) -> None:
        clashes = self.database.append(items_of(rows)).clashing
        contradictions = [clash.record.sop_instance_uid for clash in clashes if clash.level != Level.IMAGE]
        if contradictions:
            raise ValueError(f"{len(contradictions)} instances contradict the series or study kept")

    def remove(self, sop_instance_uids: Sequence[str]) -> None:
        self.database.remove(sop_instance_uids)


def items_of(rows: Iterable[IndexRow]) -> list[Item]:
    """Instances that have the given rows and no other attributes, in the order in which their UIDs first come.

    Of several rows of one (SOP Instance UID, frame), the first counts.
    """
    instances: dict[str, dict[int, IndexRow]] = {}
    for row in rows:
        instances.setdefault(row.sop_instance_uid, {}).setdefault(row.frame, row)
    return [_item([frames[frame] for frame in sorted(frames)]) for frames in instances.values()]


def _item(rows: Sequence[IndexRow]) -> Item:
    row, codes = rows[0], np.stack([row.code for row in rows])
    frames = tuple(row.frame for row in rows)
    record = Record(
        sop_instance_uid=row.sop_instance_uid,
        series_instance_uid=row.series_instance_uid,
        study_instance_uid=row.study_instance_uid,
        patient_key=row.patient_key,
        patient={},
        study={},
        series={},
        instance=_attributes(row),
        frames=frames,
        content_digest=sha256(repr(frames).encode() + codes.tobytes()).digest(),
        received_ns=0,
    )
    return Item(record, codes, None, row.pixel_digest)


def _attributes(row: IndexRow) -> dict[str, str]:
    """Attributes from which `storage.database.columns` derives the columns of a row again."""
    return {
        "Modality": row.modality,
        "BodyPartExamined": row.body_part,
        "Manufacturer": row.manufacturer,
        "StudyDate": f"{row.study_date:08d}" if row.study_date else "",
        "PatientSex": row.sex,
        "PatientAge": f"{row.age_years:03d}Y" if row.age_years >= 0 else "",
    }
