"""Which training images make a batch."""

import numpy as np
import pytest

from hashing.training.sampling import ITEMS_PER_LABEL, apart, balanced, uniform

ROWS = np.arange(10, 210)
LABELS = np.zeros((210, 4), bool)
LABELS[np.arange(210), np.where(np.arange(210) % 20 == 0, 3, np.arange(210) % 3)] = True  # label 3 is rare
GROUPS = np.arange(210) // 2


def test_uniform_batches_are_full_and_repeat_nothing() -> None:
    drawn = uniform(ROWS, 32, np.random.default_rng(0))

    assert [len(batch) for batch in drawn] == [32] * 6
    assert len(np.unique(np.concatenate(drawn))) == 192
    assert set(np.concatenate(drawn).tolist()) <= set(ROWS.tolist())


def test_few_rows_make_one_short_batch() -> None:
    assert [len(batch) for batch in uniform(ROWS[:5], 32, np.random.default_rng(0))] == [5]


def test_balanced_batches_hold_every_label_alike_from_distinct_patients() -> None:
    drawn = balanced(ROWS, LABELS, GROUPS, 32, np.random.default_rng(0))

    assert len(drawn) == 6
    for batch in drawn:
        counts = LABELS[batch].sum(axis=0)
        assert counts.tolist() == [ITEMS_PER_LABEL] * 3 + [counts[3]]
        assert ITEMS_PER_LABEL // 2 <= counts[3] <= ITEMS_PER_LABEL  # ten images, drawn with replacement
        for label in range(4):
            patients = GROUPS[batch[LABELS[batch, label]]]
            assert len(np.unique(patients)) == len(patients)


def test_the_same_generator_gives_the_same_batches() -> None:
    one, other = (balanced(ROWS, LABELS, GROUPS, 32, np.random.default_rng(3)) for _ in range(2))

    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("batch", [32, 64])
def test_no_patient_occurs_twice_in_a_batch_and_labels_come_alike(batch: int) -> None:
    drawn = apart(ROWS, LABELS, GROUPS, batch, np.random.default_rng(0))

    assert len(drawn) == 200 // batch
    for rows in drawn:
        assert len(np.unique(GROUPS[rows])) == len(rows)
        assert set(rows.tolist()) <= set(ROWS.tolist())
        assert LABELS[rows].sum(axis=0).tolist() == [batch // 4] * 3 + [min(batch // 4, 10)]  # label 3 has ten patients


def test_batches_of_few_labels_take_all_labels_in_turn() -> None:
    drawn = apart(ROWS, LABELS, GROUPS, 16, np.random.default_rng(0))
    labels_of_batch = [np.flatnonzero(LABELS[rows].any(axis=0)).tolist() for rows in drawn]

    assert all(len(labels) == 2 for labels in labels_of_batch)
    assert [labels_of_batch[at] + labels_of_batch[at + 1] for at in (0, 2)] == [
        labels_of_batch[at] + sorted({0, 1, 2, 3} - set(labels_of_batch[at])) for at in (0, 2)
    ]


def test_a_patient_of_many_images_is_drawn_no_more_often_than_others() -> None:
    groups = np.where(np.arange(210) < 110, 0, np.arange(210))  # one patient has half of the images
    drawn = apart(ROWS, np.ones((210, 1), bool), groups, 8, np.random.default_rng(0))

    assert sum((groups[rows] == 0).sum() for rows in drawn) <= len(drawn)


def test_images_without_a_label_are_not_drawn_and_a_set_without_labels_is_refused() -> None:
    labels = LABELS & (np.arange(210) < 100)[:, None]
    drawn = apart(ROWS, labels, GROUPS, 32, np.random.default_rng(0))

    assert np.concatenate(drawn).max() < 100
    with pytest.raises(ValueError, match="no image has a label"):
        apart(ROWS, np.zeros((210, 4), bool), GROUPS, 32, np.random.default_rng(0))
