"""What becomes of a received instance once it was read: prepared for the encoder, or unusable with a reason."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from storage.record import Record

TIME_LIMIT, MEMORY_LIMIT, WORKER_DIED, READ_ERROR = "time-limit", "memory-limit", "worker-died", "read-error"
ENVIRONMENTAL = frozenset({TIME_LIMIT, MEMORY_LIMIT, WORKER_DIED, READ_ERROR})
"""Reasons that the machine can cause as well as the instance: it is tried again before it is set aside."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """An instance ready to be encoded.

    Attributes
    ----------
    images : (len(record.frames), size, size) uint8
        The network's inputs.
    pixel_digest
        64 bits over them: equal for the same picture under other UIDs.
    """

    record: Record
    images: NDArray[np.uint8]
    pixel_digest: int


@dataclass(frozen=True, slots=True)
class Unusable:
    """Why an instance is set aside.

    Attributes
    ----------
    reason
        Short name to count by; `detail` says more. Neither holds patient data.
    uids
        UIDs by keyword, as far as they could be read.
    keeps_bytes
        True if the file stays. It is given up only if nothing of it is in doubt and there is no image in it, or if
        the operator chose so.
    """

    reason: str
    detail: str
    uids: Mapping[str, str] = field(default_factory=dict)
    keeps_bytes: bool = True

    @property
    def is_environmental(self) -> bool:
        """True if the machine may be at fault, and not the instance."""
        return self.reason in ENVIRONMENTAL


Outcome = Prepared | Unusable
