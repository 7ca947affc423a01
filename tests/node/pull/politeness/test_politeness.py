"""Budgets hold over any ten seconds, and an archive that fails or slows down is left alone for longer and longer."""

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.pull.politeness.budget import BURST_S, Budget
from node.pull.politeness.patience import LEARN, Patience


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@given(st.lists(st.tuples(st.floats(0.001, 3), st.floats(0, 0.8)), min_size=20, max_size=120))
@settings(max_examples=60, deadline=None)
def test_no_ten_seconds_have_more_than_a_tenth_above_the_budget(pieces: list[tuple[float, float]]) -> None:
    clock, rate = Clock(), 2.0
    budget, passed = Budget(rate, rate * BURST_S, clock, clock.sleep), []
    for units, idle_s in pieces:
        clock.sleep(idle_s)
        remaining = units
        while remaining > 0:  # as a transfer comes: in pieces
            budget.take(min(0.1, remaining))
            passed.append((clock.now_s, min(0.1, remaining)))
            remaining -= 0.1

    for start, _ in passed:
        within = sum(units for moment, units in passed if start <= moment < start + 10)
        assert within <= 1.1 * 10 * rate


def test_a_budget_that_is_always_used_is_used_up() -> None:
    clock = Clock()
    budget, start_s = Budget(5.0, 2.5, clock, clock.sleep), clock.now_s
    for _ in range(1000):
        budget.take(1)

    assert 1000 / (clock.now_s - start_s) == pytest.approx(5.0, rel=0.05)


def test_what_stops_the_job_ends_the_wait_for_the_budget() -> None:
    def stop() -> None:
        raise InterruptedError

    clock = Clock()
    budget = Budget(0.001, 1, clock, clock.sleep)
    budget.take(1)

    with pytest.raises(InterruptedError):
        budget.take(1, stop)
    assert clock.now_s == 100.0


def test_pauses_double_while_an_archive_fails_up_to_the_longest_and_end_with_an_answer() -> None:
    patience = Patience(4, 60, jitter=lambda: 1.0)

    pauses = [patience.failed() for _ in range(10)]
    after = patience.responded(0.01)

    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert after == 0
    assert patience.failed() == 1


def test_jitter_spreads_the_callers_of_an_archive_that_comes_back() -> None:
    patience = [Patience(4, 60, random.Random(seed).random) for seed in range(50)]

    pauses = sorted(one.failed() for one in patience)

    assert 0.5 <= pauses[0] < 0.6
    assert 0.9 < pauses[-1] <= 1.0


def test_an_archive_ten_times_slower_is_paused_for_and_one_as_usual_is_not() -> None:
    patience = Patience(4, 60, jitter=lambda: 1.0)
    usual = [patience.responded(0.1 + 0.02 * (number % 3)) for number in range(50)]

    slow = [patience.responded(1.0) for _ in range(5)]
    recovered = [patience.responded(0.1) for _ in range(10)]

    assert set(usual) == {0.0}
    assert slow[-1] > 0
    assert all(before <= after for before, after in pairwise(slow))
    assert recovered[-1] == 0


def test_an_archive_that_is_slow_from_the_start_is_not_called_slower() -> None:
    patience = Patience(4, 60, jitter=lambda: 1.0)

    assert {patience.responded(3.0) for _ in range(10 * LEARN)} == {0.0}
