"""Codes that are fitted without labels: random projections, and ITQ. Both give relaxed codes of any features."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Projection = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Features (n, n_features) to relaxed codes (n, code_length)."""


def locality_sensitive(features: NDArray[np.float32], code_length: int, rng: np.random.Generator) -> Projection:
    """LSH: signs of random projections of centred features (Charikar, STOC 2002).

    Parameters
    ----------
    features : (n, n_features)
        Features of training images.
    """
    centre = features.mean(axis=0)
    directions = rng.standard_normal((features.shape[1], code_length)).astype(np.float32)
    return lambda values: np.asarray((values - centre) @ directions)


def iterative_quantization(
    features: NDArray[np.float32], code_length: int, rng: np.random.Generator, iterations: int = 50
) -> Projection:
    """ITQ: principal components, rotated to lie near the corners of the cube (Gong and Lazebnik, CVPR 2011, 3.1).

    Where there are fewer features than bits, zeros fill up the components, and the rotation spreads them over all bits.

    Parameters
    ----------
    features : (n, n_features)
        Features of training images.
    """
    centre = features.mean(axis=0)
    _, components = np.linalg.eigh(np.cov(features - centre, rowvar=False))
    leading = components[:, ::-1][:, :code_length]
    basis = np.zeros((features.shape[1], code_length))
    basis[:, : leading.shape[1]] = leading
    projected = (features - centre) @ basis
    rotation = np.linalg.qr(rng.standard_normal((code_length, code_length)))[0]
    for _ in range(iterations):
        corners = np.where(projected @ rotation >= 0, 1.0, -1.0)
        left, _, right = np.linalg.svd(projected.T @ corners)
        rotation = left @ right
    directions = (basis @ rotation).astype(np.float32)
    return lambda values: np.asarray((values - centre) @ directions)
