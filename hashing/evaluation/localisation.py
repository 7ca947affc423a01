"""How well a map over an image finds a region that is known: three measures, and a map that knows nothing."""

import numpy as np
from numpy.typing import NDArray

PRIOR_WIDTH = 0.25
"""Standard deviation of `centre_prior`, as a share of the image's side."""


def energy_in_region(relevance: NDArray[np.floating], region: NDArray[np.bool_]) -> float:
    """Share of a map's positive values that lies in a region.

    Parameters
    ----------
    relevance, region : (height, width)
        Negative values count as 0. A map without a positive value counts as even.

    References
    ----------
    Wang et al., Score-CAM, CVPR workshops 2020, section 4.3 ("energy-based pointing game").
    """
    positive = np.maximum(relevance, 0)
    total = float(positive.sum())
    return float(positive[region].sum()) / total if total else float(region.mean())


def pointing_hit(relevance: NDArray[np.floating], region: NDArray[np.bool_]) -> float:
    """1 where the maximum of a map lies in a region, else 0; of several equal maxima, the share that does.

    References
    ----------
    Zhang et al., IJCV 2018, section 4.2 ("pointing game"), without their tolerance.
    """
    return float(region[relevance == relevance.max()].mean())


def best_overlap(relevance: NDArray[np.floating], region: NDArray[np.bool_]) -> float:
    """Greatest intersection over union of a region with the pixels at or above a threshold, over all thresholds."""
    values, level = np.unique(-relevance, return_inverse=True)
    pixels = np.cumsum(np.bincount(level.ravel(), minlength=len(values)))
    inside = np.cumsum(np.bincount(level.ravel(), weights=region.ravel(), minlength=len(values)))
    return float((inside / (pixels + region.sum() - inside)).max())


def centre_prior(side: int) -> NDArray[np.float64]:
    """A map (side, side) that expects everything in the middle: a Gaussian of `PRIOR_WIDTH`."""
    offset = (np.arange(side) + 0.5) / side - 0.5
    bell = np.exp(-np.square(offset / PRIOR_WIDTH) / 2)
    return np.asarray(bell[:, None] * bell[None])


def highest_part(relevance: NDArray[np.floating], share: float) -> NDArray[np.bool_]:
    """Mask of the given share of the pixels, those where a map is highest; of equal values the first ones."""
    order = np.argsort(-relevance.ravel(), kind="stable")
    mask = np.zeros(relevance.size, bool)
    mask[order[: round(share * relevance.size)]] = True
    return mask.reshape(relevance.shape)
