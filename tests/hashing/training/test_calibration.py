"""A temperature that makes class scores mean what they say."""

import pytest
import torch

from hashing.training.calibration import best_temperature


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_logits_that_are_too_sure_by_a_factor_get_it_as_temperature(factor: float) -> None:
    shares = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]])

    found = best_temperature(factor * shares.log(), shares)

    assert found == pytest.approx(factor, rel=0.04)  # the step between candidates
