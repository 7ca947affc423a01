"""Maps of explanations drawn over the images that they speak of."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

COLOUR = (255.0, 64.0, 0.0)
"""Red, green and blue where a map is highest."""
MAX_OPACITY = 0.6
"""Share of the colour where a map is highest: the image stays visible below it."""


def overlaid(image: NDArray[np.uint8], relevance: NDArray[np.float32]) -> NDArray[np.uint8]:
    """An image in colour with a map over it.

    Parameters
    ----------
    image : (height, width) uint8
    relevance : (rows, columns) float32
        A map over the whole image, at any resolution. Its highest value gets the full opacity; negative values, which
        speak against a match, get none.

    Returns
    -------
    (height, width, 3) uint8
        Red, green, blue. The image in grey if no value of the map is positive.
    """
    smooth = enlarged(np.maximum(relevance, 0), image.shape)
    highest = float(smooth.max())
    opacity = MAX_OPACITY * smooth[:, :, None] / (highest or 1.0)  # (height, width, 1)
    coloured = (1 - opacity) * image[:, :, None] + opacity * np.array(COLOUR, np.float32)
    return np.rint(coloured).astype(np.uint8)


def enlarged(relevance: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A map (rows, columns) at the resolution of an image (height, width), smooth between the centres of its cells."""
    height, width = shape
    picture = Image.fromarray(relevance.astype(np.float32))
    return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))
