"""Attributes that say how a frame is shown, read from files that may be damaged."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

Attributes = Mapping[str, Any]

MACROS = ("PixelValueTransformationSequence", "FrameVOILUTSequence", "PixelMeasuresSequence")
KEYWORDS = (
    *("Modality", "ImageType", "PixelIntensityRelationship", "ModalityLUTSequence"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("FloatPixelPaddingValue", "FloatPixelPaddingRangeLimit"),
    *("DoubleFloatPixelPaddingValue", "DoubleFloatPixelPaddingRangeLimit"),
    *("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio"),
)
DECIMAL_TEXTS, SHORTS = ("DS", "IS"), ("US", "SS", "US or SS")


def frame_attributes(dataset: Dataset, frame: int) -> Attributes:
    """Attributes that say how a frame is shown, by keyword.

    The frame's own functional groups (PS3.3 C.7.6.16) go before the shared ones, and those before the instance. An
    element that is empty or cannot be read counts as absent: a damaged window is no reason to refuse an image.
    """
    sources = [dataset]
    for keyword, index in (("SharedFunctionalGroupsSequence", 0), ("PerFrameFunctionalGroupsSequence", frame)):
        group = read(read(dataset, keyword), index)
        sources += [item for macro in MACROS if (item := read(read(group, macro), 0)) is not None]
    values = {keyword: _value(source, keyword) for source in sources for keyword in KEYWORDS if keyword in source}
    return {keyword: value for keyword, value in values.items() if value is not None and value != ""}


def read(source: Any, key: str | int) -> Any:
    """Value of an element, or item of a sequence; None if it is absent or unreadable."""
    try:
        return source[key].value if isinstance(key, str) else source[key]
    except Exception:  # a damaged element raises whatever the reader of its value representation does
        return None


def whole_number(source: Any, keyword: str, default: int) -> int:
    """First value of an element as an integer; the default where it is absent or no number."""
    number = first_number({keyword: _value(source, keyword)}, keyword)
    return default if number is None else int(number)


def numbers(attributes: Attributes, keyword: str) -> list[float | None]:
    """Values of an attribute, in their order; None stands for a value that is no number.

    NaN is no number. Each value is judged by itself: a word in a list of windows spoils one window.
    """
    value = attributes.get(keyword)
    return [_number(part) for part in (value if isinstance(value, MultiValue | list) else [value])]


def first_number(attributes: Attributes, keyword: str) -> float | None:
    """First value of an attribute; None if it is absent or no finite number."""
    number = next(iter(numbers(attributes, keyword)), None)
    return number if number is not None and np.isfinite(number) else None


def code_strings(value: Any) -> tuple[str, ...]:
    """Values of a Code String without what is not significant: spaces before and after each (PS3.5 table 6.2-1).

    NUL counts as a space, since some pad with it.
    """
    parts = value if isinstance(value, MultiValue | list | tuple) else [value]
    return tuple(str(part).strip(" \0") for part in parts if part is not None)


def code_string(value: Any) -> str:
    """First value of a Code String without what is not significant, "" if there is none; see `code_strings`."""
    return next(iter(code_strings(value)), "")


def shorts(source: Any, keyword: str) -> list[int]:
    """Values of an element of 16-bit integers as bit patterns, 0 to 65535, whether written as US, SS or bytes."""
    value = _value(source, keyword)
    if isinstance(value, bytes):
        value = _words(value, source)
    parts = value if isinstance(value, MultiValue | list) else [value]
    return [int(part) & 0xFFFF for part in parts if isinstance(part, int | float) and np.isfinite(part)]


def is_big_endian(dataset: Dataset) -> bool:
    """True if a data set, or an item, was read from a file whose numbers begin with their highest byte."""
    return dataset.original_encoding[1] is False


def _number(part: Any) -> float | None:
    try:
        number = float(part)
    except (TypeError, ValueError, OverflowError):
        return None
    return None if np.isnan(number) else number


def _value(source: Any, keyword: str) -> Any:
    """Value of an element; where pydicom makes none of its bytes, a list of those of its parts that can be had.

    It refuses a whole list of Decimal Strings for one bad value, and a US or SS without Pixel Representation.
    """
    value = read(source, keyword)
    if value is not None and not isinstance(value, bytes):
        return value
    try:
        element = source.get_item(keyword)
        content, vr = bytes(element.value), element.VR or dictionary_VR(keyword)  # implicit VR does not say
    except Exception:  # absent, empty, or no element at all
        return value
    if vr in DECIMAL_TEXTS:
        return [part.strip(" \0") for part in content.decode("latin-1").split("\\")]
    if vr in SHORTS:
        return _words(content, source)
    return value


def _words(content: bytes, source: Dataset) -> list[int]:
    words: list[int] = np.frombuffer(
        content[: len(content) // 2 * 2], f"{'>' if is_big_endian(source) else '<'}u2"
    ).tolist()
    return words
