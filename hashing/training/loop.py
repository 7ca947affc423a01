"""The one training loop: for heads on cached features, for whole networks on images, and for classifiers."""

import csv
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import cos, pi
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hashing.methods.base import Head, HeadOutputs, Objective, Targets
from hashing.training import checkpoints
from hashing.training.checkpoints import RunState

WARM_UP_SHARE = 0.05
FIRST_RATE = 0.02
"""Share of the learning rate at the first step of the warm-up."""


class TrainingBatch(NamedTuple):
    """Images, or maps of them, with what is known of the images.

    Attributes
    ----------
    inputs
        What the learner's trunk takes: tensors of (batch, ...) float.
    targets
        The loop fills in `Targets.progress`.
    """

    inputs: tuple[Tensor, ...]
    targets: Targets


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to train.

    Attributes
    ----------
    epochs
        Upper bound of the number of epochs.
    learning_rate
        Highest learning rate of the head: the rate warms up, then falls along a cosine to zero.
    trunk_rate
        Learning rate of the trunk as a share of the head's.
    patience
        Number of epochs without a better validation score after which training stops; 0 trains to the end and keeps
        the last weights.
    decay_epochs
        Number of epochs after which the rate would be zero; 0 means `epochs`. Training may end before.
    """

    epochs: int
    learning_rate: float
    trunk_rate: float
    weight_decay: float
    patience: int
    decay_epochs: int = 0


class ImageTrunk(nn.Module):
    """Trunk of a learner that gets images: what the head reads of them.

    Parameters
    ----------
    network
        A trunk with `maps(images, strides)`, as `hashing.model.network.EfficientNetLite0`.
    """

    def __init__(self, network: nn.Module, strides: tuple[int, ...]) -> None:
        super().__init__()
        self.network, self.strides = network, strides

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Maps of images (batch, 1, height, width), alone in a tuple."""
        (images,) = inputs
        maps: tuple[Tensor, ...] = self.network.maps(images, self.strides)  # type: ignore[operator]
        return maps


class Learner(nn.Module):
    """A trunk, a head on it, and the objective that trains both.

    Parameters
    ----------
    trunk
        `ImageTrunk`, or `nn.Identity()` where the batches hold cached maps.
    frozen
        Modules that keep their weights and statistics.
    """

    def __init__(self, trunk: nn.Module, head: Head, objective: Objective, frozen: Iterable[nn.Module] = ()) -> None:
        super().__init__()
        self.trunk, self.head, self.objective = trunk, head, objective
        self.frozen = tuple(frozen)
        for module in self.frozen:
            module.requires_grad_(requires_grad=False)

    def train(self, mode: bool = True) -> "Learner":
        """Training mode, but for the frozen modules."""
        super().train(mode)
        for module in self.frozen:
            module.eval()
        return self

    def forward(self, inputs: tuple[Tensor, ...]) -> HeadOutputs:
        """Outputs of the head."""
        outputs: HeadOutputs = self.head(self.trunk(inputs))
        return outputs

    def optimizer(self, schedule: Schedule) -> torch.optim.Optimizer:
        """AdamW with a slower trunk."""
        trunk = [weight for weight in self.trunk.parameters() if weight.requires_grad]
        heads = [*self.head.parameters(), *self.objective.parameters()]
        groups = [{"params": heads, "share": 1.0}, {"params": trunk, "share": schedule.trunk_rate}]
        return torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=schedule.learning_rate,
            weight_decay=schedule.weight_decay,
        )


def fit(
    learner: Learner,
    schedule: Schedule,
    steps: int,
    batches: Callable[[int], Iterable[TrainingBatch]],
    score: Callable[[Learner], float],
    seed: int,
    folder: Path | None = None,
    averaging: float = 0.0,
) -> float:
    """Train; afterwards the learner holds the weights of the best validation score, which is returned.

    Parameters
    ----------
    steps
        Batches of an epoch.
    batches
        The batches of an epoch, by its number. The same number must give the same batches, so that a run can resume.
    score
        Score of the learner on validation images; higher is better.
    folder
        Folder for checkpoints and `log.csv`. A run that was interrupted goes on from the checkpoint there, and ends
        with the same weights as one that was not. None writes nothing.
    averaging
        Decay per step of a running mean of the weights, which is scored and kept instead of the weights themselves; 0
        for none. Where a score may keep an earlier epoch (`Schedule.patience`), there is nothing to go on averaging.

    Raises
    ------
    ValueError
        Both `averaging` and `Schedule.patience` are given.
    """
    if averaging and schedule.patience:
        raise ValueError("averaged weights are those of the whole training: set patience to 0")
    optimizer = learner.optimizer(schedule)
    state, best = _beginning(folder, learner, optimizer)
    while state.epoch < schedule.epochs and not 0 < schedule.patience <= state.waited:
        started = time.monotonic()
        torch.manual_seed(seed * 10_000 + state.epoch)
        mean = RunningMean(best, averaging, state.epoch * steps) if averaging else None
        loss = _epoch(learner, optimizer, schedule, state.epoch, steps, batches(state.epoch), mean)
        value, weights = _scored(learner.eval(), score, mean)
        state.epoch += 1
        state.waited += 1
        if value > state.best or not schedule.patience:
            state.best, state.waited, best = value, 0, weights
        if folder:
            _log(folder, state.epoch, loss, value, time.monotonic() - started)
            checkpoints.save(folder, learner, optimizer, state, best)
    learner.load_state_dict(best)
    learner.eval()
    return state.best


def in_single_precision(outputs: HeadOutputs) -> HeadOutputs:
    """The outputs of a head as float32, in which losses are computed."""
    others = (None if tensor is None else tensor.float() for tensor in outputs[1:])
    return HeadOutputs(outputs.relaxed.float(), *others)


def _beginning(
    folder: Path | None, learner: Learner, optimizer: torch.optim.Optimizer
) -> tuple[RunState, dict[str, Tensor]]:
    """State and best weights at the start of a run, or at the checkpoint of one that was interrupted."""
    if folder and checkpoints.path_of(folder).exists():
        return checkpoints.resume(folder, learner, optimizer)
    return RunState(), copied(learner)


def copied(learner: Learner) -> dict[str, Tensor]:
    """A copy of all weights of a learner."""
    return {name: tensor.detach().clone() for name, tensor in learner.state_dict().items()}


class RunningMean:
    """Exponentially decaying mean of all weights and statistics of a learner (Polyak and Juditsky, SIAM J. 1992).

    Parameters
    ----------
    weights
        The mean so far.
    decay
        Share of the old mean that a step leaves; fewer at the beginning, so that the first weights are soon forgotten.
    steps
        Steps that were averaged already.
    """

    def __init__(self, weights: dict[str, Tensor], decay: float, steps: int) -> None:
        self.weights, self.decay, self.steps = weights, decay, steps

    def update(self, learner: nn.Module) -> None:
        """Take in the weights of a learner after a step."""
        self.steps += 1
        kept = min(self.decay, self.steps / (self.steps + 10))
        for name, tensor in learner.state_dict().items():
            if tensor.is_floating_point():
                self.weights[name].lerp_(tensor, 1 - kept)
            else:
                self.weights[name].copy_(tensor)


def _scored(
    learner: Learner, score: Callable[[Learner], float], mean: RunningMean | None
) -> tuple[float, dict[str, Tensor]]:
    """Score and copy of the weights of a learner, or of their running mean; the learner keeps its own."""
    own = copied(learner)
    if mean is None:
        return score(learner), own
    learner.load_state_dict(mean.weights)
    value = score(learner)
    learner.load_state_dict(own)
    return value, mean.weights


def _epoch(
    learner: Learner,
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    epoch: int,
    steps: int,
    batches: Iterable[TrainingBatch],
    mean: RunningMean | None,
) -> float:
    learner.train()
    device = next(learner.head.parameters()).device
    losses = []
    for step, batch in enumerate(batches):
        done = (epoch + step / steps) / (schedule.decay_epochs or schedule.epochs)
        _set_rate(optimizer, schedule, done)
        inputs = tuple(tensor.to(device, non_blocking=True) for tensor in batch.inputs)
        labels, known, patients = (tensor.to(device, non_blocking=True) for tensor in batch.targets[:3])
        levels = None if batch.targets.levels is None else batch.targets.levels.to(device, non_blocking=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            outputs = learner(inputs)
        loss = learner.objective(in_single_precision(outputs), Targets(labels, known, patients, done, levels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if mean is not None:
            mean.update(learner)
        losses.append(loss.detach())
    return float(torch.stack(losses).mean())


def _set_rate(optimizer: torch.optim.Optimizer, schedule: Schedule, done: float) -> None:
    rate = schedule.learning_rate * min(1.0, done / WARM_UP_SHARE + FIRST_RATE) * (1 + cos(pi * done)) / 2
    for group in optimizer.param_groups:
        group["lr"] = rate * group["share"]


def _log(folder: Path, epoch: int, loss: float, value: float, seconds: float) -> None:
    path = folder / "log.csv"
    folder.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(["epoch", "loss", "validation_score", "seconds"])
        writer.writerow([epoch, f"{loss:.6f}", f"{value:.6f}", f"{seconds:.1f}"])
