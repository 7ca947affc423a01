"""Invented instances: what the tests of storage put into it."""

from typing import Any

import numpy as np

from hashing.codes import Codes, pack, unpack
from storage.database.database import Item
from storage.record import Record, patient_key

N_CLASSES = 5


def codes(n: int, code_length: int = 64, seed: int = 0) -> Codes:
    """Random codes."""
    return pack(np.random.default_rng(seed).random((n, code_length)) < 0.5)


def record(number: int, **changes: Any) -> Record:
    """Return instance `number` of series number // 2, study number // 4 and patient number // 8."""
    study_instance_uid = f"2.25.4{number // 4}"
    fields: dict[str, Any] = {
        "sop_instance_uid": f"2.25.2{number}",
        "series_instance_uid": f"2.25.3{number // 2}",
        "study_instance_uid": study_instance_uid,
        "patient_key": patient_key(f"P{number // 8}", "HOSPITAL", study_instance_uid),
        "patient": {"PatientName": f"Test^{number // 8}", "PatientSex": "MFO"[number // 8 % 3]},
        "study": {"StudyDate": f"2020{number // 4 % 12 + 1:02d}15", "AccessionNumber": ""},
        "series": {"Modality": ("CT", "MR")[number // 2 % 2], "BodyPartExamined": "CHEST"},
        "instance": {"InstanceNumber": str(number)},
        "frames": (0,),
        "content_digest": f"content of {number}".encode(),
        "received_ns": 1_700_000_000_000_000_000 + number,
    }
    return Record(**(fields | changes))


def item(number: int, code_length: int = 64, frame_codes: Codes | None = None, **changes: Any) -> Item:
    """Return an instance with random codes, or those given, one for each frame; every third is without class scores."""
    frames = changes.get("frames", (0,))
    given = codes(len(frames), code_length, seed=number) if frame_codes is None else frame_codes
    previews = np.full((len(frames), 4, 4), number % 256, np.uint8)
    sizes = np.random.default_rng(number).integers(0, 128, (len(frames), code_length), np.int8)
    outputs = np.where(unpack(given, code_length), sizes, -sizes)
    scores = np.random.default_rng(number).integers(0, 256, (len(frames), N_CLASSES), np.uint8) if number % 3 else None
    return Item(record(number, **changes), given, previews, number, outputs, scores)
