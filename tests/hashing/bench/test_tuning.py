"""Tuning with equal effort on validation images."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from hashing.__main__ import app
from hashing.bench import tuning
from hashing.bench.tuning import PARAMETERS, Trial, best_options
from hashing.methods.base import Setting
from hashing.methods.catalogue import TRAINED
from tests.support.hashing.standin import experiment


def test_every_trained_method_gets_as_many_settings_of_a_parameter_that_it_has() -> None:
    assert list(PARAMETERS) == list(TRAINED)
    assert {len(values) for _, values in PARAMETERS.values()} == {3}
    for method, (name, values) in PARAMETERS.items():
        TRAINED[method].objective(Setting(16, np.eye(3, dtype=bool), 0), **{name: values[0]})


def test_the_best_setting_of_each_method_is_printed_as_options_of_an_experiment() -> None:
    trials = [
        Trial("DPSH", {"sampling": "balanced", "scale": 3.0}, 0.4),
        Trial("DPSH", {"sampling": "uniform", "scale": 10.0}, 0.5),
        Trial("AHDL-like", {"eta": 0.1}, 0.3),
    ]

    text = best_options(trials)

    options = tomllib.loads(text)["options"]
    assert options == {"DPSH": {"sampling": "uniform", "scale": 10.0}, "AHDL-like": {"eta": 0.1}}


def test_one_command_tunes_the_methods_of_an_experiment(
    nih: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "SAMPLINGS", ("uniform",))
    path = experiment(tmp_path, "imagenet", ["random", "DPSH"])

    done = CliRunner().invoke(app, ["tune", str(path), "--data", str(nih), "--output", str(tmp_path / "runs")])

    assert done.exit_code == 0, done.output
    assert "[options.DPSH]" in done.output
    assert 'sampling = "uniform"' in done.output
