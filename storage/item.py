"""One instance with its codes, as it goes into the database, or is kept beside it."""

import json
from dataclasses import asdict, dataclass
from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes
from storage.record import Record

ARRAYS: Final = ("previews", "outputs", "class_scores")
"""Fields of an item that may be None."""


@dataclass(frozen=True, slots=True)
class Item:
    """One instance to append.

    Attributes
    ----------
    codes : (len(record.frames), words) uint64
    previews : (len(record.frames), size, size) uint8 or None
        The network's input, kept so that a new model can encode it.
    pixel_digest
        64 bits over the network's input: equal for duplicates under other UIDs.
    outputs : (len(record.frames), code_length) int8 or None
        What the codes are the signs of, as `hashing.ranking_scores.in_whole_numbers` makes it: for the second stage.
    class_scores : (len(record.frames), n_classes) uint8 or None
        As `hashing.ranking_scores.in_eight_bits` makes them, kept beside the outputs; None of a model without classes.
    """

    record: Record
    codes: Codes
    previews: NDArray[np.uint8] | None
    pixel_digest: int
    outputs: NDArray[np.int8] | None = None
    class_scores: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        """Refuse codes, previews, outputs or class scores that are not one a frame, and scores without outputs."""
        frames = len(self.record.frames)
        for name in ("codes", *ARRAYS):
            array = getattr(self, name)
            if array is not None and len(array) != frames:
                raise ValueError(f"{len(array)} {name} came for {frames} frames of {self.record.sop_instance_uid}")
        if self.class_scores is not None and self.outputs is None:
            raise ValueError(f"class scores of {self.record.sop_instance_uid} came without outputs beside them")

    def to_bytes(self) -> bytes:
        """Pack record and arrays; `from_bytes` unpacks them."""
        fields = asdict(self.record) | {"content_digest": self.record.content_digest.hex()}
        text = json.dumps([fields, self.pixel_digest]).encode("ascii")
        arrays = {name: getattr(self, name) for name in ARRAYS if getattr(self, name) is not None}
        packed = BytesIO()
        np.savez_compressed(packed, text=np.frombuffer(text, np.uint8), codes=self.codes, **arrays)
        return packed.getvalue()

    @classmethod
    def from_bytes(cls, value: bytes) -> "Item":
        """Undo `to_bytes`."""
        with np.load(BytesIO(value), allow_pickle=False) as arrays:
            fields, pixel_digest = json.loads(arrays["text"].tobytes())
            fields["frames"], fields["content_digest"] = (
                tuple(fields["frames"]),
                bytes.fromhex(fields["content_digest"]),
            )
            kept = {name: arrays[name] for name in ARRAYS if name in arrays}
            return cls(Record(**fields), arrays["codes"], kept.get("previews"), pixel_digest, kept.get("outputs"),
                       kept.get("class_scores"))  # fmt: skip
