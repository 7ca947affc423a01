"""Databases as the tests make them, and what they hold."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.database.database import Appended, Clash, Database, Item
from storage.record import Level, Record

MAP_SIZE = 2**28


def create(
    path: Path, code_length: int = 64, model: str = "model", block_rows: int = 16, tail_rows: int = 4
) -> Database:
    return Database.create_or_open(path, code_length, model, MAP_SIZE, block_rows=block_rows, tail_rows=tail_rows)


def appended(
    new: int, known: int = 0, clashing: tuple[Clash, ...] = (), conflicts: int = 0, replaced: int = 0
) -> Appended:
    return Appended(new, known, replaced, clashing, conflicts)


def stored(database: Database) -> dict[str, tuple[Record | None, list[list[int]], list[Any], Any]]:
    """Record, codes, previews, outputs and class scores of every instance, by SOP Instance UID."""
    with database.snapshot() as snapshot:
        found = {}
        for entity in snapshot.entities(Level.IMAGE):
            kept = snapshot.record(entity.uid)
            frames = kept.frames if kept else ()
            previews = [snapshot.preview(entity.uid, frame) for frame in frames]
            listed = [None if preview is None else preview.tolist() for preview in previews]
            outputs = snapshot.outputs_of(entity.uid)
            found[entity.uid] = (
                kept,
                snapshot.codes_of(entity.uid).tolist(),
                listed,
                None if outputs is None else listed_outputs(outputs.relaxed, outputs.class_scores),
            )
        return found


def listed_outputs(relaxed: NDArray[np.int8], class_scores: NDArray[np.uint8] | None) -> Any:
    return relaxed.tolist(), None if class_scores is None else class_scores.tolist()


def expected(items: list[Item]) -> dict[str, tuple[Record | None, list[list[int]], list[Any], Any]]:
    return {
        each.record.sop_instance_uid: (
            each.record,
            each.codes.tolist(),
            [None] * len(each.record.frames) if each.previews is None else each.previews.tolist(),
            None if each.outputs is None or not each.record.frames else listed_outputs(each.outputs, each.class_scores),
        )
        for each in items
    }
