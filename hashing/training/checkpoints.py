"""Checkpoints of a training run: enough to go on after an interruption, and the best weights in the end."""

import json
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn


@dataclass(slots=True)
class RunState:
    """How far a run is.

    Attributes
    ----------
    epoch
        Epochs that are done.
    best
        Best validation score.
    waited
        Epochs since the best score.
    """

    epoch: int = 0
    best: float = -inf
    waited: int = 0


def path_of(folder: Path) -> Path:
    """File of the checkpoint in a folder."""
    return folder / "last.safetensors"


def save(
    folder: Path, learner: nn.Module, optimizer: torch.optim.Optimizer, state: RunState, best: dict[str, Tensor]
) -> None:
    """Write a checkpoint, complete or not at all.

    Parameters
    ----------
    best
        Weights of the best score.
    """
    tensors = {f"last.{name}": tensor for name, tensor in learner.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in best.items()}
    for number, of_weight in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{key}": value for key, value in of_weight.items()}
    partial = folder / "last.partial"
    contiguous = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    save_file(contiguous, partial, metadata={"progress": json.dumps(asdict(state))})
    partial.rename(path_of(folder))


def resume(folder: Path, learner: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[RunState, dict[str, Tensor]]:
    """Put the checkpoint of a folder into learner and optimizer; returns how far the run is, and the best weights."""
    parts: dict[str, dict[str, Tensor]] = {"last": {}, "best": {}, "optimizer": {}}
    with safe_open(path_of(folder), framework="pt") as file:
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
    return RunState(**facts), parts["best"]


def best_weights(folder: Path) -> dict[str, Tensor]:
    """Weights of the best score in the checkpoint of a folder.

    Raises
    ------
    FileNotFoundError
        Nothing was trained there.
    """
    path = path_of(folder)
    if not path.exists():
        raise FileNotFoundError(f"no trained weights at {path}: run `python -m hashing train` first")
    with safe_open(path, framework="pt") as file:
        names = [name for name in file.keys() if name.startswith("best.")]  # noqa: SIM118 - not a mapping
        return {name.removeprefix("best."): file.get_tensor(name) for name in names}
