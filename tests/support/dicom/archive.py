"""A small archive to ask: instances with chosen attributes and codes, and identifiers of C-FIND."""

from collections.abc import Mapping
from typing import Any
from zlib import crc32

import numpy as np
from pydicom.dataset import Dataset

from hashing.codes import Codes
from node.dicom.hierarchy import LEVEL_OF
from node.dicom.private import FIRST_BLOCK, Element, add_block
from storage.database.database import Item
from storage.record import LEVELS, Level, Record, patient_key

CT, CR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.1"
SENDER = "SENDER"


def uid(place: str) -> str:
    """UID of what lies at a place: "3" is a study, "3.1" a series of it, "3.1.2" an image of that."""
    return f"2.25.{place}"


def ladder(*rungs: int) -> Codes:
    """64-bit codes, one a rung; the distance between two is the difference of their rungs."""
    return np.array([[(1 << rung) - 1] for rung in rungs], np.uint64)


def instance(
    place: str,
    *rungs: int,
    digest: int | None = None,
    attributes: Mapping[str, str] | None = None,
    **more_attributes: str,
) -> Item:
    """Image at a place, with a frame a rung; attributes by keyword, of any level, and of patient P1 if not said."""
    study, series = (uid(place.rsplit(".", parts)[0]) for parts in (2, 1))
    given = {"PatientID": "P1", "StudyInstanceUID": study, "SeriesInstanceUID": series, "SOPInstanceUID": uid(place)}
    given |= {"SOPClassUID": CT, **(attributes or {}), **more_attributes}
    at = {level: {keyword: given[keyword] for keyword in given if LEVEL_OF[keyword] == level} for level in LEVELS}
    record = Record(
        sop_instance_uid=uid(place),
        series_instance_uid=series,
        study_instance_uid=study,
        patient_key=patient_key(given["PatientID"], given.get("IssuerOfPatientID", ""), study),
        patient=at[Level.PATIENT],
        study=at[Level.STUDY],
        series=at[Level.SERIES],
        instance=at[Level.IMAGE] | {"RetrieveAETitle": SENDER},
        frames=tuple(range(len(rungs))),
        content_digest=place.encode(),
        received_ns=1,
    )
    return Item(record, ladder(*rungs).reshape(-1, 1), None, crc32(place.encode()) if digest is None else digest)


def identifier(
    level: str,
    ours: Mapping[Element, str | list[str]] | None = None,
    keys: Mapping[str, Any] | None = None,
    block: int = FIRST_BLOCK,
    **more_keys: Any,
) -> Dataset:
    """Request of C-FIND, with private elements `ours` in a block."""
    dataset = Dataset()
    dataset.QueryRetrieveLevel = level
    for keyword, value in {**(keys or {}), **more_keys}.items():
        setattr(dataset, keyword, value)
    add_block(dataset, list((ours or {}).items()), block)
    return dataset
