"""Rows as Milvus keeps them: one entity a frame, with the columns of `IndexRow` as scalar fields."""

import json
from collections.abc import Mapping
from typing import Any, Final
from zlib import crc32

import numpy as np

from hashing.codes import Codes, words
from storage.record import LEVELS, Record, patient_id_and_issuer
from storage.search.index import IndexRow

Row = dict[str, Any]
"""Values by field name."""

LIVE: Final = (1 << 63) - 1
"""Value of `gone` of a row that no later state has lost."""
LEAST: Final = 1 - (1 << 63)
"""Least 64-bit integer that an expression of Milvus can write."""
BUCKETS: Final = 4096
"""Number of parts that rows can be read in; the hash of a row's key says in which it is."""

TEXTS: Final[Mapping[str, int]] = {
    "sop_instance_uid": 512,
    "series_instance_uid": 512,
    "study_instance_uid": 512,
    "patient_key": 4096,
    "modality": 1024,
    "body_part": 1024,
    "manufacturer": 4096,
    "sex": 8,
}
"""Fields of text, with the greatest number of bytes."""
NUMBERS: Final[Mapping[str, str]] = {
    "frame": "INT32",
    "study_date": "INT32",
    "age_years": "INT16",
    "pixel_digest": "INT64",
}
"""Fields of numbers that come from an `IndexRow`, with Milvus' types."""
MAX_RECORD: Final = 65_000
"""Bytes of a packed record at most."""


def text(value: str) -> str:
    """Text as Milvus can hold it: what UTF-8 cannot write is written as an escape."""
    return value.encode("utf-8", "backslashreplace").decode("utf-8")


def digest(value: int) -> int:
    """Write 64 bits as a signed number, but for the one value that no expression can write."""
    return max(value - (1 << 64) * (value >> 63), LEAST)


def key(row: IndexRow) -> str:
    """Primary key of a row."""
    return f"{text(row.sop_instance_uid)}#{row.frame}"


def packed(codes: Codes, code_length: int) -> list[bytes]:
    """Bytes of (n, words) codes, first bit first, without the padding of the last word."""
    octets = np.ascontiguousarray(codes, "<u8").view(np.uint8)[:, : code_length // 8]
    return [code.tobytes() for code in octets]


def unpacked(codes: list[bytes], code_length: int) -> Codes:
    """Undo `packed`."""
    octets = np.zeros((len(codes), words(code_length) * 8), np.uint8)
    if codes:
        octets[:, : code_length // 8] = np.frombuffer(b"".join(codes), np.uint8).reshape(len(codes), -1)
    return octets.view("<u8").astype(np.uint64, copy=False)


def values_of(row: IndexRow, code_length: int, record: str = "") -> Row:
    """Values of the fields that say what a row is, without those that say since when.

    Parameters
    ----------
    record
        As `packed_record` makes it, for nodes that do not have the instance; "" for all but the first frame.
    """
    values: Row = {name: text(getattr(row, name)) for name in TEXTS} | {name: getattr(row, name) for name in NUMBERS}
    values["patient_id"] = text(patient_id_and_issuer(row.patient_key)[0])  # "" where there is none
    values["pixel_digest"] = digest(row.pixel_digest)
    values["code"] = packed(row.code[None], code_length)[0]
    values["year"] = row.study_date // 10_000
    values["record"] = record
    values["key"] = key(row)
    values["bucket"] = crc32(values["key"].encode()) % BUCKETS
    return values


def packed_record(record: Record) -> str:
    """UIDs and attributes of an instance as text; of attributes beyond what a field holds, the UIDs alone."""
    uids = [record.sop_instance_uid, record.series_instance_uid, record.study_instance_uid, record.patient_key]
    whole = json.dumps([uids, *(dict(record.attributes[level]) for level in LEVELS)])
    return whole if len(whole) <= MAX_RECORD else json.dumps([uids, {}, {}, {}, {}])


def unpacked_record(packed: str) -> Record:
    """Undo `packed_record`."""
    (instance, series, study, patient), *attributes = json.loads(packed)
    of_patient, of_study, of_series, of_instance = attributes
    return Record(instance, series, study, patient, of_patient, of_study, of_series, of_instance, (), b"", 0)
