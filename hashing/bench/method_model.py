"""A method of the bench as a model that the node loads: its trunk and its trained head, put together."""

from pathlib import Path

import torch

from hashing.bench.bench_data import BenchData
from hashing.bench.experiment import Experiment
from hashing.bench.features import joined, trunks
from hashing.bench.method_run import Run, train
from hashing.methods.base import Head
from hashing.model.model_file import Architecture, Model, ModelError
from hashing.model.network import EfficientNetLite0, HashNetwork
from hashing.model.weights import export
from hashing.training.loop import ImageTrunk, Learner


def export_method(run: Run, experiment: Experiment, root: Path, output: Path, path: Path) -> Model:
    """Train a method and write it as a model file, without bits of the modality.

    A method that classifies gives class scores: the softmax of its logits, even where it learned labels independently.

    Raises
    ------
    ModelError
        The experiment has no single trunk that encodes images.
    """
    if experiment.trunk == "given" or (experiment.trunk == "trained" and experiment.folds > 1):
        raise ModelError(
            f"{experiment.title} has no single trunk that encodes images (trunk {experiment.trunk!r}, "
            f"{experiment.folds} folds): use trunk 'own' or 'imagenet', or one fold"
        )
    folder = output / experiment.name
    data = BenchData.load(experiment, root, output)
    learner, _ = train(run, experiment, data, folder)
    network = HashNetwork(_trunk(learner, experiment, root, output), raw_head(learner, data), experiment.size)
    head = network.head
    architecture = Architecture(
        head=head.name,
        head_options=head.options,
        code_lengths=(run.code_length,),
        modality_bits=False,
        input_size=experiment.size,
    )
    facts = {"method": run.method, "experiment": experiment.name, "seed": str(run.seed)}
    return export(network, architecture, path, path.stem, facts, data.truth.names if head.n_labels else ())


def raw_head(learner: Learner, data: BenchData) -> Head:
    """The trained head, which takes features or maps as the trunk gives them."""
    head = learner.head.cpu().eval()
    if data.mean is not None and data.deviation is not None and not head.strides:
        head.take_raw_features(torch.from_numpy(data.mean), torch.from_numpy(data.deviation))
    return head


def _trunk(learner: Learner, experiment: Experiment, root: Path, output: Path) -> EfficientNetLite0:
    if isinstance(learner.trunk, ImageTrunk):
        trained = learner.trunk.network.cpu()
        assert isinstance(trained, EfficientNetLite0)
        return trained
    (trunk,) = trunks(experiment, joined(experiment, root, output), output)
    return trunk
