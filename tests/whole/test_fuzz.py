"""A little of `python -m tests.fuzz` in every test run."""

from pathlib import Path

import pytest

from tests.fuzz import SHARES, run


@pytest.mark.parametrize("inputs", [3000, pytest.param(60_000, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
def test_mutated_inputs_are_taken_or_refused_and_nothing_else(inputs: int, tmp_path: Path) -> None:
    counts = {target: round(inputs * share) for target, share in SHARES.items()}

    results = run(tmp_path, counts, seed=inputs)

    assert {target: fed.inputs for target, fed in results.items()} == {
        target: count for target, count in counts.items() if target != "conversations"
    }
    assert all(len(fed.outcomes) > 1 for fed in results.values())
