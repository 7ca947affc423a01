"""Values of the responses of an archive, which may hold anything."""

import re
from typing import Final

from pydicom.dataset import Dataset

from storage.progress.entry import UNKNOWN

UID: Final = re.compile(r"[0-9.]{1,64}")  # PS3.5 section 9.1


def uid_of(dataset: Dataset, keyword: str) -> str:
    """UID in a response, "" if there is none or it is no UID."""
    value = text(dataset, keyword)
    return value if UID.fullmatch(value) else ""


def texts(dataset: Dataset, keyword: str) -> list[str]:
    """Values of an attribute of a response as texts; none if it cannot be read."""
    try:
        value = dataset.get(keyword)
    except Exception:  # converting an arbitrary value of a peer raises anything
        return []
    if value is None:
        return []
    return [str(part) for part in value] if isinstance(value, list | tuple) or _is_multiple(value) else [str(value)]


def text(dataset: Dataset, keyword: str) -> str:
    """Only or first value of an attribute of a response, "" if there is none."""
    return next((part.strip(" \0") for part in texts(dataset, keyword)), "")


def number(dataset: Dataset, keyword: str, least: int = 0) -> int:
    """Whole number in a response, UNKNOWN if there is none."""
    try:
        value = int(text(dataset, keyword))
    except ValueError:
        return UNKNOWN
    return value if value >= least else UNKNOWN


def _is_multiple(value: object) -> bool:
    return hasattr(value, "__iter__") and not isinstance(value, str | bytes) and not hasattr(value, "original_string")
