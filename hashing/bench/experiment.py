"""Everything that decides a row of a results table, but for the images: read from a TOML file."""

import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hashing.training.loop import Schedule


@dataclass(frozen=True, slots=True)
class Experiment:
    """Methods compared on one set: same trunk, same budget.

    Attributes
    ----------
    dataset
        Names of the sets, joined into one; `title` is what tables call them.
    trunk
        Where features come from: "given" (the set holds features), "imagenet" (EfficientNet-Lite0 as published,
        frozen), "trained" (a classifier's, each image encoded by the one of its patient's fold, which never saw that
        patient), or "own" (each method trains the trunk with it, end to end).
    size
        Side of the images, pixels.
    folds
        Parts of the patients for a trained trunk; it is trained once for each, on the others.
    sampling
        "uniform"; "balanced": P labels x M images, those of a label of distinct patients; or "apart": the same, and no
        patient occurs twice in a batch.
    frozen_blocks
        Number of leading trunk blocks (with the stem) that stay at their ImageNet weights.
    methods
        Names from `hashing.methods.catalogue`.
    views
        Number of views of each training image whose features are cached: the image as it is, and the others at a random
        resolution and JPEG quality. Where each method trains the trunk, every image is varied anew in each epoch.
    hidden
        Width of a hidden layer before the hash layer, the same for all methods; 0 for none.
    options
        Changes by method: of the schedule, of `sampling`, or of the parameters of its objective.
    """

    name: str
    title: str
    dataset: tuple[str, ...]
    trunk: str
    methods: tuple[str, ...]
    code_lengths: tuple[int, ...]
    seeds: tuple[int, ...]
    schedule: Schedule
    batch: int
    sampling: str
    size: int = 224
    folds: int = 1
    frozen_blocks: int = 0
    trunk_schedule: Schedule | None = None
    trunk_batch: int = 32
    views: int = 1
    hidden: int = 0
    options: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "Experiment":
        """The experiment in a file; an unknown or missing key is an error that names it."""
        values = tomllib.loads(path.read_text())
        for key in ("dataset", "methods", "code_lengths", "seeds"):
            values[key] = tuple(values[key])
        values["schedule"] = Schedule(**values["schedule"])
        if "trunk_schedule" in values:
            values["trunk_schedule"] = Schedule(**values["trunk_schedule"])
        return cls(name=path.stem, **values)

    def schedule_of(self, method: str) -> Schedule:
        """The common schedule with the changes that the method's options make."""
        changes = {key: value for key, value in self.options.get(method, {}).items() if key in Schedule.__slots__}
        return replace(self.schedule, **changes)

    def sampling_of(self, method: str) -> str:
        """The common sampling, or that of the method's options."""
        return str(self.options.get(method, {}).get("sampling", self.sampling))

    def objective_options(self, method: str) -> dict[str, Any]:
        """Those of a method's options that are parameters of its objective."""
        others = {*Schedule.__slots__, "sampling"}
        return {key: value for key, value in self.options.get(method, {}).items() if key not in others}
