"""Attributes that say how a frame is shown, read from files that may be damaged."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

Attributes = Mapping[str, Any]
Values = NDArray[np.float64]
Transformation = Callable[[Values], Values]

MACROS = ("PixelValueTransformationSequence", "FrameVOILUTSequence", "PixelMeasuresSequence")
KEYWORDS = (
    *("Modality", "ImageType", "PixelIntensityRelationship", "ModalityLUTSequence"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio"),
)


def frame_attributes(dataset: Dataset, frame: int) -> Attributes:
    """Collect what says how a frame is shown, by keyword.

    What the frame's own functional groups say (PS3.3 C.7.6.16) goes before the shared ones, and those before the
    instance. An element that is empty or cannot be read counts as absent: a damaged window is no reason to refuse an
    image.
    """
    sources = [dataset]
    for keyword, index in (("SharedFunctionalGroupsSequence", 0), ("PerFrameFunctionalGroupsSequence", frame)):
        group = read(read(dataset, keyword), index)
        sources += [item for macro in MACROS if (item := read(read(group, macro), 0)) is not None]
    found = {keyword: read(source, keyword) for source in sources for keyword in KEYWORDS if keyword in source}
    return {keyword: value for keyword, value in found.items() if value is not None and value != ""}


def read(source: Any, key: str | int) -> Any:
    """Value of an element, or item of a sequence; None if it is absent or unreadable."""
    try:
        return source[key].value if isinstance(key, str) else source[key]
    except Exception:  # a damaged element raises whatever the reader of its value representation does
        return None


def numbers(attributes: Attributes, keyword: str) -> list[float]:
    """Values of an attribute; none at all unless every one is a finite number."""
    value = attributes.get(keyword, [])
    try:
        values = [float(v) for v in (value if isinstance(value, MultiValue | list) else [value])]
    except (TypeError, ValueError, OverflowError):
        return []
    return values if np.isfinite(values).all() else []


def table(attributes: Attributes, keyword: str) -> Transformation | None:
    """Read the first item of a LUT sequence as a transformation (PS3.3 C.11.1.1.1), None if there is no usable one.

    Values before the first entry take the first entry, values after the last the last, however many there really are.
    """
    item = read(attributes.get(keyword), 0)
    descriptor, data = read(item, "LUTDescriptor"), read(item, "LUTData")
    try:
        count, first = int(descriptor[0]) or 1 << 16, int(descriptor[1])
        if isinstance(data, bytes):
            order = ">" if item.original_encoding[1] is False else "<"
            data = np.frombuffer(data, "u1" if len(data) <= count + 1 else f"{order}u2")
        entries: Values = np.array(data, np.float64, ndmin=1)
    except (TypeError, ValueError, IndexError):
        return None

    def look_up(values: Values) -> Values:
        places = np.clip(np.rint(np.nan_to_num(values)) - first, 0, entries.size - 1).astype(np.int64)
        entry: Values = entries[places]
        return entry

    return look_up if entries.size and np.isfinite(entries).all() else None
