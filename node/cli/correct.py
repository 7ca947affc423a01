"""`lookalike restore`: what a rejection note has hidden comes back."""

import re
from dataclasses import dataclass
from typing import Final

from node.corrections.order_book import OrderKind
from node.corrections.submission import submit
from node.errors import NodeError
from node.settings import Settings

UID_FORM: Final = re.compile(r"[0-9.]{1,64}")  # PS3.5 section 9.1


class CorrectionError(NodeError):
    """A correction that was asked for makes no sense."""


@dataclass(frozen=True, slots=True)
class RestoredReport:
    """What a restoration did.

    Attributes
    ----------
    instances
        Instances that are in the answers again.
    lifted
        Rejections that are gone.
    """

    instances: int
    lifted: int

    @property
    def sentence(self) -> str:
        """The same in words."""
        missing = self.lifted - self.instances
        later = f"; {missing:,} others are indexed once they are sent again" if missing else ""
        return f"{self.lifted:,} rejections lifted, {self.instances:,} instances are back{later}"


def restore_rejected(settings: Settings, uid: str) -> RestoredReport:
    """Lift the rejections of a note, an instance or a study.

    Raises
    ------
    CorrectionError
        It is no UID, or nothing of it is rejected.
    """
    if not UID_FORM.fullmatch(uid):
        raise CorrectionError(f"{uid!r} is no UID: it has 1 to 64 digits and dots")
    answer = submit(settings, OrderKind.RESTORE, uid=uid)
    if not answer["lifted"]:
        raise CorrectionError(f"nothing that {uid} names is rejected")
    return RestoredReport(answer["instances"], answer["lifted"])
