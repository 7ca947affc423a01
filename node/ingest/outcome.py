"""What becomes of a received instance once it was read: prepared for the encoder, or unusable with a reason."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from storage.objects.report_table import Report
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
    region
        Where the region that was asked for lies in the network's input, as first column, first row, last column, last
        row, 1-based and inclusive; None for all of it.
    """

    record: Record
    images: NDArray[np.uint8]
    pixel_digest: int
    region: tuple[int, int, int, int] | None = None


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
    report
        The report that it is, if these are kept.
    """

    reason: str
    detail: str
    uids: Mapping[str, str] = field(default_factory=dict)
    keeps_bytes: bool = True
    report: Report | None = None

    @property
    def is_environmental(self) -> bool:
        """True if the machine may be at fault, and not the instance."""
        return self.reason in ENVIRONMENTAL


@dataclass(frozen=True, slots=True)
class ReferencedImage:
    """An image, some frames of it, or a part of it, to which another object refers.

    Attributes
    ----------
    frames
        1-based numbers of frames; empty for the whole image.
    region
        First column, first row, last column, last row, 1-based and inclusive; None for the whole picture.
    """

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    frames: tuple[int, ...] = ()
    region: tuple[int, int, int, int] | None = None


@dataclass(frozen=True, slots=True)
class Referral:
    """An object of a question that has no image to encode: it refers to images, or says why it cannot be used.

    Attributes
    ----------
    attributes
        Of its patient and study, by keyword.
    images
        Images to which it refers.
    reason
        Why it cannot be used, in a sentence for people; "" if it can. It holds no patient data.
    cause
        The same as a short name to tell cases apart; "" if it has no image of its own.
    """

    uids: Mapping[str, str]
    attributes: Mapping[str, str]
    images: tuple[ReferencedImage, ...] = ()
    reason: str = ""
    cause: str = ""


@dataclass(frozen=True, slots=True)
class RenderedFrame:
    """A frame as a viewing station would show it.

    Attributes
    ----------
    pixels : (rows, columns) uint8
    """

    pixels: NDArray[np.uint8]


Outcome = Prepared | Unusable
ExampleOutcome = Outcome | Referral | RenderedFrame
