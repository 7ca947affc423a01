"""Boxes that radiologists drew around findings of ChestX-ray14."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashing.data.bundled import rows

BOXES = "chestxray14/bbox_984.csv"
FILM_SIDE = 1024
"""Side of the published films, pixels, in which the boxes are given."""


@dataclass(frozen=True, slots=True)
class FindingBox:
    """A box around one finding of one image.

    Attributes
    ----------
    image
        Name of the image's file without its ending.
    finding
        Label of the image.
    left, top, right, bottom
        Edges as shares of the image's side, 0 to 1.
    """

    image: str
    finding: str
    left: float
    top: float
    right: float
    bottom: float

    def mask(self, side: int) -> NDArray[np.bool_]:
        """Pixels of an image (side, side) whose centres lie in the box."""
        centres = (np.arange(side) + 0.5) / side
        columns = (centres >= self.left) & (centres < self.right)
        return np.asarray(((centres >= self.top) & (centres < self.bottom))[:, None] & columns[None])


def read_boxes(root: Path) -> list[FindingBox]:
    """The published boxes, in the order of the file.

    Raises
    ------
    FileNotFoundError
        They are not under `root`.
    """
    path = root / BOXES
    if not path.exists():
        raise FileNotFoundError(f"no boxes at {path}: they come with ChestX-ray14, see NOTICE")
    return [_box(row) for row in rows(path)]


def mean_mask(boxes: Sequence[FindingBox], side: int) -> NDArray[np.float64]:
    """Share of some boxes that cover each pixel of an image (side, side); 0 everywhere if there are none."""
    total = np.zeros((side, side))
    for box in boxes:
        total += box.mask(side)
    return total / max(1, len(boxes))


def _box(row: dict[str, str]) -> FindingBox:
    left, top, width, height = (float(row[name]) / FILM_SIDE for name in ("x", "y", "w", "h"))
    return FindingBox(Path(row["image"]).stem, row["label"], left, top, left + width, top + height)
