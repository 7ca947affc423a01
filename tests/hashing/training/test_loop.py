"""The training loop: it resumes exactly, stops early, and keeps the best weights."""

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hashing.bench.experiment import Experiment
from hashing.methods.base import HeadOutputs, Objective, Targets
from hashing.methods.classification import Classification
from hashing.methods.heads import Classifier
from hashing.training.checkpoints import best_weights
from hashing.training.loop import Learner, Schedule, TrainingBatch, fit

INPUTS = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
LABELS = (INPUTS[:, :2] > 0).float()
SCHEDULE = Schedule(epochs=4, learning_rate=0.05, trunk_rate=0.5, weight_decay=0.01, patience=0)


class Trunk(nn.Module):
    """Layers between inputs and features."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (self.layers(inputs[0]),)


def learner(objective: Objective | None = None) -> Learner:
    torch.manual_seed(0)
    return Learner(Trunk(nn.Linear(6, 5), nn.Dropout(0.5)), Classifier((5,), n_labels=2), objective or Classification())


def batches(epoch: int) -> Iterator[TrainingBatch]:
    for rows in torch.randperm(40, generator=torch.Generator().manual_seed(epoch)).reshape(4, 10):
        yield TrainingBatch((INPUTS[rows],), Targets(LABELS[rows], torch.ones(10, 2), rows))


def weights(one: Learner) -> list[Tensor]:
    return list(one.state_dict().values())


def test_an_interrupted_run_ends_with_the_weights_of_one_that_was_not(tmp_path: Path) -> None:
    whole, first, second = learner(), learner(), learner()
    fit(whole, SCHEDULE, 4, batches, lambda _: 0.0, seed=1, folder=tmp_path / "whole")

    def power_cut(epoch: int) -> Iterator[TrainingBatch]:
        if epoch == 2:
            raise KeyboardInterrupt
        return batches(epoch)

    with pytest.raises(KeyboardInterrupt):
        fit(first, SCHEDULE, 4, power_cut, lambda _: 0.0, seed=1, folder=tmp_path / "cut")
    fit(second, SCHEDULE, 4, batches, lambda _: 0.0, seed=1, folder=tmp_path / "cut")

    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(second), strict=True))
    with (tmp_path / "cut/log.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3", "4"]


def test_averaged_weights_are_kept_and_an_interrupted_run_goes_on_averaging(tmp_path: Path) -> None:
    plain, whole, parts = learner(), learner(), learner()
    seen: list[list[Tensor]] = []

    def score(one: Learner) -> float:
        seen.append([tensor.clone() for tensor in weights(one)])
        return 0.0

    fit(plain, SCHEDULE, 4, batches, lambda _: 0.0, seed=1)
    fit(whole, SCHEDULE, 4, batches, score, seed=1, averaging=0.9)
    short = Schedule(2, 0.05, 0.5, 0.01, patience=0, decay_epochs=4)
    fit(learner(), short, 4, batches, lambda _: 0.0, seed=1, folder=tmp_path, averaging=0.9)
    fit(parts, SCHEDULE, 4, batches, lambda _: 0.0, seed=1, folder=tmp_path, averaging=0.9)

    assert not any(torch.equal(a, b) for a, b in zip(weights(plain), weights(whole), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), seen[-1], strict=True)), "what is kept was scored"
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(parts), strict=True))


def test_averaging_wants_the_whole_training() -> None:
    with pytest.raises(ValueError, match="patience"):
        fit(learner(), Schedule(5, 0.05, 0.5, 0.0, patience=2), 4, batches, lambda _: 0.0, seed=1, averaging=0.9)


def test_a_finished_run_is_read_not_repeated(tmp_path: Path) -> None:
    done, again = learner(), learner()
    fit(done, SCHEDULE, 4, batches, lambda _: 0.5, seed=1, folder=tmp_path)

    def nothing(epoch: int) -> Iterator[TrainingBatch]:
        raise AssertionError("trained again")

    assert fit(again, SCHEDULE, 4, nothing, lambda _: 0.0, seed=1, folder=tmp_path) == 0.5
    assert all(torch.equal(a, b) for a, b in zip(weights(done), weights(again), strict=True))
    assert set(best_weights(tmp_path)) == set(done.state_dict())


def test_training_stops_when_validation_does_not_improve_and_keeps_the_best() -> None:
    seen: list[list[Tensor]] = []

    def score(one: Learner) -> float:
        seen.append([tensor.clone() for tensor in weights(one)])
        return [0.1, 0.9, 0.8, 0.7, 0.95][len(seen) - 1]

    trained = learner()
    best = fit(trained, Schedule(5, 0.05, 0.5, 0.0, patience=2), 4, batches, score, seed=1)

    assert best == 0.9
    assert len(seen) == 4
    assert all(torch.equal(a, b) for a, b in zip(weights(trained), seen[1], strict=True))


def test_frozen_modules_keep_weights_and_statistics() -> None:
    norm = nn.BatchNorm1d(6)
    one = Learner(Trunk(norm, nn.Linear(6, 5)), Classifier((5,), n_labels=2), Classification(), frozen=[norm])

    fit(one, SCHEDULE, 4, batches, lambda _: 0.0, seed=1)

    assert torch.equal(norm.running_mean, torch.zeros(6)) if norm.running_mean is not None else False
    assert torch.equal(norm.weight, torch.ones(6))


def test_an_objective_hears_how_much_of_the_training_is_done() -> None:
    class Listening(Classification):
        def __init__(self) -> None:
            super().__init__()
            self.heard: list[float] = []

        def forward(self, outputs: HeadOutputs, targets: Targets) -> Tensor:
            self.heard.append(targets.progress)
            return super().forward(outputs, targets)

    objective = Listening()

    fit(learner(objective), Schedule(2, 0.05, 0.5, 0.0, patience=0), 4, batches, lambda _: 0.0, seed=1)

    assert objective.heard == [0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875]


def test_missing_weights_are_an_error_that_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="hashing train"):
        best_weights(tmp_path)


def test_options_of_a_method_change_its_schedule_and_its_objective(tmp_path: Path) -> None:
    path = tmp_path / "toy.toml"
    path.write_text(
        'title = "toy"\ndataset = ["x"]\ntrunk = "given"\nmethods = ["DPSH"]\ncode_lengths = [16]\nseeds = [0]\n'
        'batch = 8\nsampling = "uniform"\n[schedule]\nepochs = 3\nlearning_rate = 1e-3\ntrunk_rate = 0.0\n'
        'weight_decay = 0.0\npatience = 0\n[options.DPSH]\nlearning_rate = 2e-3\nscale = 3.0\nsampling = "balanced"\n'
    )

    experiment = Experiment.read(path)

    assert experiment.schedule_of("DPSH") == Schedule(3, 2e-3, 0.0, 0.0, 0)
    assert experiment.objective_options("DPSH") == {"scale": 3.0}
    assert (experiment.sampling_of("DPSH"), experiment.sampling_of("DSH")) == ("balanced", "uniform")
    path.write_text("learnin_rate = 1\n" + path.read_text())
    with pytest.raises(TypeError, match="learnin_rate"):
        Experiment.read(path)
