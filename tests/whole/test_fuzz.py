"""A little of `python -m tests.fuzz` in every test run, and every input that a longer one found worth keeping."""

from pathlib import Path

import pytest

from tests.fuzz.feeding import kept_inputs
from tests.fuzz.run import SHARES, parsers, run

KEPT = Path(__file__).parents[1] / "fuzz" / "kept"


@pytest.mark.parametrize("inputs", [3000, pytest.param(60_000, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
def test_mutated_inputs_are_taken_or_refused_and_nothing_else(inputs: int, tmp_path: Path) -> None:
    counts = {target: round(inputs * share) for target, share in SHARES.items()}

    results = run(tmp_path, counts, seed=inputs)

    assert {target: fed.inputs for target, fed in results.items()} == {
        target: count for target, count in counts.items() if target != "conversations"
    }
    assert [fault for fed in results.values() for fault in fed.faults] == []
    assert all(len(fed.outcomes) > 1 for fed in results.values())


def test_inputs_that_were_found_have_the_outcome_they_had(tmp_path: Path) -> None:
    kept = list(kept_inputs(KEPT))

    with parsers(tmp_path) as targets:
        by_file = {name.replace(" ", "-"): target for name, target in targets.items()}
        found = [(name, by_file[name].feed(octets)) for name, _, octets in kept]

    assert len(kept) > 50
    assert found == [(name, outcome) for name, outcome, _ in kept]
