"""Which training images make a batch."""

import numpy as np

from hashing.training.sampling import ITEMS_PER_LABEL, balanced, uniform

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
