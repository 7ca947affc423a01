"""A small database that changes its model: its images, and what another model makes of them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashing.codes import pack
from storage.corrections.reencoding import Encode, Encoded
from storage.database.database import Database
from storage.database.rejections import RejectedInstance, Title
from storage.item import Item
from storage.record import Level
from storage.segments.builder import build
from tests.support.storage.invented import item

OLD, NEW = "old-1", "new-2"


def anew(previews: NDArray[np.uint8], modalities: Sequence[str]) -> Encoded:
    """Codes that say the grey value and the modality: 3 class scores instead of the 5 before."""
    grey = previews[:, 0, 0].astype(np.int64)
    bits = np.stack([grey >> number & 1 for number in range(8)], axis=1).astype(bool)
    wide = np.tile(np.column_stack([bits, np.array(modalities)[:, None] == ["CT", "MR"]]), (1, 10))[:, :64]
    return Encoded(pack(wide), np.where(wide, 7, -7).astype(np.int8), np.tile(grey.astype(np.uint8)[:, None], (1, 3)))


def never(previews: NDArray[np.uint8], modalities: Sequence[str]) -> Encoded:
    raise AssertionError("encoded")


def encoder(calls: list[int]) -> Encode:
    """`anew`, which counts what it encodes."""

    def counted(previews: NDArray[np.uint8], modalities: Sequence[str]) -> Encoded:
        calls.append(len(previews))
        return anew(previews, modalities)

    return counted


def forty(path: Path) -> Database:
    """Images 0 to 39, of which number 5 has three frames, 7 was removed and 9 is hidden by a rejection."""
    database = Database.create_or_open(path, 64, OLD, 2**26)
    items = [item(number) for number in range(40)]
    items[5] = item(5, frames=(0, 2, 4))
    database.append(items)
    database.remove(["2.25.27"])
    with database.writing() as tables:
        tables.rejections.put("2.25.29", RejectedInstance("2.25.42", {"1.9": (Title.QUALITY, 2**62)}))
        tables.rejections.withhold(items[9])
    database.remove(["2.25.29"])
    build(database, whole=True)
    return database


def stored(database: Database) -> dict[str, tuple[Any, Any, Any]]:
    """Codes, outputs and record of each instance."""
    with database.snapshot() as snapshot:
        found = {}
        for entity in snapshot.entities(Level.IMAGE):
            outputs = snapshot.outputs_of(entity.uid)
            assert outputs is not None
            found[entity.uid] = (
                snapshot.codes_of(entity.uid).tolist(), outputs.relaxed.tolist(), snapshot.record(entity.uid)
            )  # fmt: skip
        return found


def replaced(number: int, grey: int) -> Item:
    """The same image with other pixels."""
    later = item(number, content_digest=b"other", received_ns=2**61)
    return replace(later, previews=np.full((1, 4, 4), grey, np.uint8))
