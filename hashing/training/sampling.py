"""Which training images make a batch."""

import numpy as np
from numpy.typing import NDArray

ITEMS_PER_LABEL = 8
DRAWS_PER_ITEM = 3  # so that enough of the drawn images are of distinct patients


def uniform(rows: NDArray[np.int64], batch: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Batches with every row once, in random order; rows that do not fill a batch are left out of this epoch."""
    order = rng.permutation(rows)
    return [order[start : start + batch] for start in range(0, max(1, len(rows) - batch + 1), batch)]


def balanced(
    rows: NDArray[np.int64],
    labels: NDArray[np.bool_],
    groups: NDArray[np.int64],
    batch: int,
    rng: np.random.Generator,
) -> list[NDArray[np.int64]]:
    """Batches of P labels with M images of distinct patients each; as many batches as `uniform` gives.

    Rare labels are drawn as often as frequent ones, since batches take the labels in turn. A label with fewer than M
    patients gives fewer images.

    Parameters
    ----------
    labels : (n, n_labels) bool
        Labels of the whole set.
    groups : (n,) int
        Patients of the whole set.
    """
    by_label = [rows[labels[rows, label]] for label in range(labels.shape[1])]
    by_label = [of_label for of_label in by_label if len(of_label)]
    n_labels = max(1, batch // ITEMS_PER_LABEL)
    steps = max(1, len(rows) // batch)
    start = rng.integers(len(by_label), size=(steps, 1))
    chosen = ((start + np.arange(n_labels)) % len(by_label)).ravel()
    sizes = np.array([len(of_label) for of_label in by_label])
    offsets = (rng.random((len(chosen), DRAWS_PER_ITEM * ITEMS_PER_LABEL)) * sizes[chosen, None]).astype(np.int64)
    drawn = np.concatenate(by_label)[(np.cumsum(sizes) - sizes)[chosen, None] + offsets]  # (steps * P, draws)
    distinct = _of_distinct_patients(groups[drawn])
    return [some[mask] for some, mask in zip(np.split(drawn, steps), np.split(distinct, steps), strict=True)]


def rarity(labels: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How rare the labels of each image are: the mean of 1 / sqrt(count). Images without labels count as one label.

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
    """Mask of the first M draws of each row whose patient does not occur earlier in the row."""
    order = np.argsort(groups, axis=1, kind="stable")
    ordered = np.take_along_axis(groups, order, axis=1)
    first = np.ones(groups.shape, bool)
    np.put_along_axis(first, order[:, 1:], ordered[:, 1:] != ordered[:, :-1], axis=1)
    return np.asarray(first & (np.cumsum(first, axis=1) <= ITEMS_PER_LABEL))
