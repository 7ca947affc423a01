"""A frame of an object as a picture to look at; runs in decode workers that may be killed."""

import numpy as np
from numpy.typing import NDArray

from hashing.images.pixels import Limits, decode, preprocess
from node.examples.request import FrameEntry
from node.ingest.outcome import RenderedFrame
from node.ingest.reading import read_received
from storage.vault import CLEAR, Vault


def rendered_frame(entry: FrameEntry, limits: Limits, vault: Vault = CLEAR) -> RenderedFrame:
    """Picture of a frame.

    Raises
    ------
    PixelError
        The frame cannot be shown.
    """
    dataset = read_received(entry.path, limits.inflated_bytes, vault).dataset
    picture = decode(dataset, entry.frame - 1, limits)
    sides = [n * spacing for n, spacing in zip(picture.GetSize(), picture.GetSpacing(), strict=True)]  # type: ignore[no-untyped-call]
    size = max(1, min(entry.most, round(max(sides))))
    square = preprocess(picture, size)
    return RenderedFrame(square if entry.is_square else _without_border(square, sides))


def _without_border(square: NDArray[np.uint8], sides: list[float]) -> NDArray[np.uint8]:
    """The picture in the middle of a square into which it was fitted."""
    size = len(square)
    width, height = (max(1, round(size * side / max(sides))) for side in sides)
    left, top = (size - width) // 2, (size - height) // 2
    return square[top : top + height, left : left + width]
