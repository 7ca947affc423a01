"""The error that says why an instance has no picture."""

from typing import Literal

Reason = Literal["no pixel data", "no such frame", "too large", "unsupported", "undecodable", "region outside"]


class PixelError(ValueError):
    """The pixels of an instance cannot become an image.

    Attributes
    ----------
    reason
        A short code that stays the same between releases; the message adds the detail, and no patient data.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: Reason = reason
