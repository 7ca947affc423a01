"""Which training images make a batch."""

import numpy as np
from numpy.typing import NDArray

ITEMS_PER_LABEL = 8
SPARE = 3  # draws per item, so that enough of them are of distinct patients


def uniform(rows: NDArray[np.int64], batch: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Every row once, in random order; what does not fill a batch waits for another epoch."""
    order = rng.permutation(rows)
    return [order[start : start + batch] for start in range(0, max(1, len(rows) - batch + 1), batch)]


def balanced(
    rows: NDArray[np.int64],
    labels: NDArray[np.bool_],
    groups: NDArray[np.int64],
    batch: int,
    rng: np.random.Generator,
) -> list[NDArray[np.int64]]:
    """P labels x M images of distinct patients a batch; as many batches as `uniform` gives.

    Rare labels come as often as frequent ones: each batch takes all labels in turn. A label with fewer patients than M
    gives fewer images.

    Parameters
    ----------
    labels : (n, n_labels) bool
    groups : (n,) int
        Patients; both of the whole set, indexed by `rows`.
    """
    holders = [rows[labels[rows, label]] for label in range(labels.shape[1])]
    holders = [one for one in holders if len(one)]
    n_labels = max(1, batch // ITEMS_PER_LABEL)
    steps = max(1, len(rows) // batch)
    start = rng.integers(len(holders), size=(steps, 1))
    chosen = ((start + np.arange(n_labels)) % len(holders)).ravel()
    sizes = np.array([len(one) for one in holders])
    places = (rng.random((len(chosen), SPARE * ITEMS_PER_LABEL)) * sizes[chosen, None]).astype(np.int64)
    drawn = np.concatenate(holders)[(np.cumsum(sizes) - sizes)[chosen, None] + places]  # (steps * P, spare draws)
    kept = _of_distinct_patients(groups[drawn])
    return [one[keep] for one, keep in zip(np.split(drawn, steps), np.split(kept, steps), strict=True)]


def rarity(labels: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How rare the labels of each image are: the mean of 1 / sqrt(count), images without labels sharing one.

    Parameters
    ----------
    labels : (n, n_labels) bool

    Returns
    -------
    (n,)
    """
    labels = np.column_stack([labels, ~labels.any(axis=1)])
    rare = 1 / np.sqrt(np.maximum(labels.sum(axis=0), 1))
    weights: NDArray[np.float64] = (labels * rare).sum(axis=1) / labels.sum(axis=1)
    return weights


def _of_distinct_patients(groups: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which draws to keep: the first M of each row whose patient did not come before in the row."""
    order = np.argsort(groups, axis=1, kind="stable")
    ordered = np.take_along_axis(groups, order, axis=1)
    first = np.ones(groups.shape, bool)
    np.put_along_axis(first, order[:, 1:], ordered[:, 1:] != ordered[:, :-1], axis=1)
    return np.asarray(first & (np.cumsum(first, axis=1) <= ITEMS_PER_LABEL))
