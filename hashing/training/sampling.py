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


def apart(
    rows: NDArray[np.int64],
    labels: NDArray[np.bool_],
    groups: NDArray[np.int64],
    batch: int,
    rng: np.random.Generator,
    items: int = ITEMS_PER_LABEL,
) -> list[NDArray[np.int64]]:
    """Batches of P labels x M images in which no patient occurs twice; as many batches as `uniform` gives.

    Triplets need it: a positive of the anchor's patient would teach who somebody is. P = batch / M, but at most all
    labels; M then grows so that P M = batch. Batches take the labels in turn, in a new random order each time round,
    and in a batch the label with the fewest patients is drawn first. A label with too few other patients gives fewer
    images.

    Parameters
    ----------
    labels : (n, n_labels) bool
        Labels of the whole set. Images without a label are not drawn.
    groups : (n,) int
        Patients of the whole set, numbered from 0.
    items
        M where there are labels enough.

    Raises
    ------
    ValueError
        No row has a label.
    """
    occurring = np.flatnonzero(labels[rows].any(axis=0))
    if not len(occurring):
        raise ValueError("no image has a label: triplets need labels")
    drawers = [_PatientDraw(rows[labels[rows, label]], groups) for label in occurring]
    n_labels = int(np.clip(batch // items, 1, len(drawers)))
    steps = max(1, len(rows) // batch)
    rounds = [rng.permutation(len(drawers)) for _ in range(-(-steps * n_labels // len(drawers)))]
    turns = np.concatenate(rounds)[: steps * n_labels].reshape(steps, n_labels)
    return [_apart_batch([drawers[turn] for turn in turns_of_batch], batch, rng) for turns_of_batch in turns]


class _PatientDraw:
    """Draws one image each of random patients, among the images of one label."""

    def __init__(self, rows: NDArray[np.int64], groups: NDArray[np.int64]) -> None:
        self.rows = rows[np.argsort(groups[rows], kind="stable")]
        self.patients, self.starts, self.counts = np.unique(groups[self.rows], return_index=True, return_counts=True)

    def __call__(
        self, number: int, drawn: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows and patients of at most `number` images, none of the patients `drawn`."""
        order = rng.permutation(len(self.patients))
        order = order[~np.isin(self.patients[order], drawn)][:number]
        images = self.starts[order] + (rng.random(len(order)) * self.counts[order]).astype(np.int64)
        return self.rows[images], self.patients[order]


def _apart_batch(drawers: list[_PatientDraw], batch: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Rows of a batch, with the same number of images for each drawer as far as there are other patients."""
    rows, patients = np.empty(0, np.int64), np.empty(0, np.int64)
    for draw in sorted(drawers, key=lambda drawer: len(drawer.patients)):
        more_rows, more_patients = draw(batch // len(drawers), patients, rng)
        rows, patients = np.concatenate([rows, more_rows]), np.concatenate([patients, more_patients])
    return rows


def rarity(labels: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Rarity of the labels of each image: the mean of 1 / sqrt(count). Images without labels count as one label.

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
