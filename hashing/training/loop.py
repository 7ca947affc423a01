"""The training loop: the same for a hash layer on cached features and for a whole network on images."""

import csv
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import cos, inf, pi
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

WARM_UP_SHARE = 0.05


class Batch(NamedTuple):
    """Images, or their features, with what they show.

    Attributes
    ----------
    inputs
        (batch, ...) float.
    labels
        (batch, n_labels) float, 0 or 1.
    groups
        (batch,) int: the patient of each.
    """

    inputs: Tensor
    labels: Tensor
    groups: Tensor


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to train.

    Attributes
    ----------
    epochs
        At most so many.
    learning_rate
        Of the head at its height: it warms up, then falls along a cosine to zero.
    trunk_rate
        Share of it at which the trunk learns.
    patience
        Stop after so many epochs without a better validation score; 0 trains to the end and keeps the last weights.
    decay_epochs
        Epochs after which the rate would be zero; 0 means all epochs. Training may end before.
    """

    epochs: int
    learning_rate: float
    trunk_rate: float
    weight_decay: float
    patience: int
    decay_epochs: int = 0


class Learner(nn.Module):
    """A trunk, a head on it, and the objective that trains both.

    Parameters
    ----------
    trunk
        Inputs to features; `nn.Identity()` where features are cached.
    head
        Features to relaxed codes (or, for a classifier, to logits).
    objective
        (relaxed, labels, groups) to a scalar loss; may have parameters of its own.
    frozen
        Modules that keep their weights and statistics.
    """

    def __init__(
        self, trunk: nn.Module, head: nn.Module, objective: nn.Module, frozen: Iterable[nn.Module] = ()
    ) -> None:
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

    def forward(self, inputs: Tensor) -> Tensor:
        """Relaxed codes."""
        relaxed: Tensor = self.head(self.trunk(inputs))
        return relaxed

    def optimizer(self, schedule: Schedule) -> torch.optim.Optimizer:
        """AdamW with a slower trunk."""
        trunk = [one for one in self.trunk.parameters() if one.requires_grad]
        heads = [*self.head.parameters(), *self.objective.parameters()]
        groups = [{"params": heads, "share": 1.0}, {"params": trunk, "share": schedule.trunk_rate}]
        return torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=schedule.learning_rate,
            weight_decay=schedule.weight_decay,
        )


@dataclass(slots=True)
class Progress:
    """How far a run is: enough to go on after an interruption."""

    epoch: int = 0
    best: float = -inf
    waited: int = 0


def fit(
    learner: Learner,
    schedule: Schedule,
    steps: int,
    batches: Callable[[int], Iterable[Batch]],
    score: Callable[[Learner], float],
    seed: int,
    folder: Path | None = None,
) -> float:
    """Train; afterwards the learner holds the weights of the best validation score, which is returned.

    Parameters
    ----------
    steps
        Batches an epoch.
    batches
        The batches of an epoch, by its number: the same for the same number, so that a run can be resumed.
    score
        Of the learner on validation images; higher is better.
    folder
        Where to keep checkpoints and `log.csv`; a run found there goes on where it stopped, and ends with the same
        weights as one that was never interrupted. None keeps all in memory.
    """
    optimizer = learner.optimizer(schedule)
    progress, best = Progress(), _copy(learner)
    if folder and (folder / "last.safetensors").exists():
        progress, best = _resume(folder, learner, optimizer)
    while progress.epoch < schedule.epochs and not 0 < schedule.patience <= progress.waited:
        started = time.monotonic()
        torch.manual_seed(seed * 10_000 + progress.epoch)
        loss = _epoch(learner, optimizer, schedule, progress.epoch, steps, batches(progress.epoch))
        value = score(learner.eval())
        progress.epoch += 1
        progress.waited += 1
        if value > progress.best or not schedule.patience:
            progress.best, progress.waited, best = value, 0, _copy(learner)
        if folder:
            _log(folder, progress.epoch, loss, value, time.monotonic() - started)
            _save(folder, learner, optimizer, progress, best)
    learner.load_state_dict(best)
    learner.eval()
    return progress.best


def _epoch(
    learner: Learner,
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    epoch: int,
    steps: int,
    batches: Iterable[Batch],
) -> float:
    learner.train()
    device = next(learner.head.parameters()).device
    losses = []
    for step, batch in enumerate(batches):
        _set_rate(optimizer, schedule, (epoch + step / steps) / (schedule.decay_epochs or schedule.epochs))
        batch = Batch(*(tensor.to(device, non_blocking=True) for tensor in batch))
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            relaxed = learner(batch.inputs)
        loss = learner.objective(relaxed.float(), batch.labels, batch.groups)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return float(torch.stack(losses).mean())


def _set_rate(optimizer: torch.optim.Optimizer, schedule: Schedule, done: float) -> None:
    rate = schedule.learning_rate * min(1.0, done / WARM_UP_SHARE + 0.02) * (1 + cos(pi * done)) / 2
    for group in optimizer.param_groups:
        group["lr"] = rate * group["share"]


def _copy(learner: Learner) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in learner.state_dict().items()}


def _log(folder: Path, epoch: int, loss: float, value: float, seconds: float) -> None:
    path = folder / "log.csv"
    folder.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(["epoch", "loss", "validation_score", "seconds"])
        writer.writerow([epoch, f"{loss:.6f}", f"{value:.6f}", f"{seconds:.1f}"])


def _save(
    folder: Path,
    learner: Learner,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    best: dict[str, Tensor],
) -> None:
    tensors = {f"last.{name}": tensor for name, tensor in _copy(learner).items()}
    tensors |= {f"best.{name}": tensor for name, tensor in best.items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{key}": value for key, value in state.items()}
    facts = {"epoch": progress.epoch, "best": progress.best, "waited": progress.waited}
    partial = folder / "last.partial"
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(contiguous, partial, metadata={"progress": json.dumps(facts)})
    partial.rename(folder / "last.safetensors")


def _resume(folder: Path, learner: Learner, optimizer: torch.optim.Optimizer) -> tuple[Progress, dict[str, Tensor]]:
    parts: dict[str, dict[str, Tensor]] = {"last": {}, "best": {}, "optimizer": {}}
    with safe_open(folder / "last.safetensors", framework="pt") as file:
        facts = json.loads(file.metadata()["progress"])
        for name in file.keys():  # noqa: SIM118 - not a mapping
            part, rest = name.split(".", 1)
            parts[part][rest] = file.get_tensor(name)
    learner.load_state_dict(parts["last"])
    state = optimizer.state_dict()
    for name, tensor in parts["optimizer"].items():
        number, key = name.split(".", 1)
        state["state"].setdefault(int(number), {})[key] = tensor
    optimizer.load_state_dict(state)
    return Progress(**facts), parts["best"]


def best_weights(folder: Path) -> dict[str, Tensor]:
    """Weights of the learner that `fit` kept in a folder.

    Raises
    ------
    FileNotFoundError
        Nothing was trained there.
    """
    path = folder / "last.safetensors"
    if not path.exists():
        raise FileNotFoundError(f"no trained weights at {path}: run `python -m hashing train` first")
    with safe_open(path, framework="pt") as file:
        names = [name for name in file.keys() if name.startswith("best.")]  # noqa: SIM118 - not a mapping
        return {name.removeprefix("best."): file.get_tensor(name) for name in names}
