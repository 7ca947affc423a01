"""What the methods of an experiment work on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hashing.bench.bench_data import given_maps
from hashing.bench.experiment import Experiment
from tests.support.hashing.standin import experiment


def test_given_features_are_last_maps_of_one_position_and_no_pyramid(tmp_path: Path) -> None:
    one = replace(Experiment.read(experiment(tmp_path, "imagenet", ["LSH"])), trunk="given")
    views = np.arange(24, dtype=np.float32).reshape(1, 4, 6)

    maps = given_maps(one, (32,), views)

    assert maps[32].shape == (1, 4, 6, 1, 1)
    assert np.array_equal(maps[32].mean(axis=(3, 4)), views)
    assert given_maps(one, (), views) == {}
    with pytest.raises(ValueError, match="features but no images"):
        given_maps(one, (8, 16, 32), views)
