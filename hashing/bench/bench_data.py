"""What all methods of an experiment work on: cached features and maps, or the images themselves."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashing.bench import features
from hashing.bench.experiment import Experiment
from hashing.data.datasets import Dataset
from hashing.evaluation.judgement import truth_of
from hashing.evaluation.protocol import GroundTruth
from hashing.methods.catalogue import TRAINED
from hashing.model.network import LAST_STRIDE


@dataclass(frozen=True, slots=True)
class BenchData:
    """What all methods of an experiment work on.

    Attributes
    ----------
    truth
        What is known of all images.
    views : (views, n, n_features) float32
        Standardised pooled features, as in `hashing.bench.features.Features`; None where each method trains the
        trunk.
    dataset
        The images where each method trains the trunk, else None.
    maps
        Cached maps (views, n, channels, height, width) by stride, for methods whose heads read maps.
    mean, deviation : (n_features,) float32
        What the features were standardised by, if they are.
    key
        Checksum of what decided features or images.
    """

    truth: GroundTruth
    views: NDArray[np.float32] | None
    dataset: Dataset | None
    maps: dict[int, NDArray[np.floating]] = field(default_factory=dict)
    mean: NDArray[np.float32] | None = None
    deviation: NDArray[np.float32] | None = None
    key: str = ""

    @classmethod
    def load(cls, experiment: Experiment, root: Path, output: Path) -> "BenchData":
        """Features, and the maps that methods of the experiment read; or images where each method trains the trunk."""
        if experiment.trunk == "own":
            dataset = features.joined(experiment, root, output)
            return cls(truth_of(dataset), None, dataset, key=dataset.digest)
        methods = [TRAINED[name] for name in experiment.methods if name in TRAINED]
        strides = tuple(sorted({stride for method in methods for stride in method.head.strides}))
        of_stride: dict[int, NDArray[np.floating]] = {}
        if strides and experiment.trunk != "given":  # first: the pass that makes maps leaves the features behind
            of_stride |= zip(strides, features.load_maps(experiment, strides, root, output), strict=True)
        loaded = features.load(experiment, root, output)
        if experiment.trunk == "given":
            of_stride |= given_maps(experiment, strides, loaded.views)
        return cls(loaded.truth, loaded.views, None, of_stride, loaded.mean, loaded.deviation, loaded.key)

    def cached(self, strides: tuple[int, ...]) -> tuple[NDArray[np.floating], ...]:
        """What a head with these strides reads: arrays (views, n, ...).

        Raises
        ------
        ValueError
            Nothing is cached, since each method trains the trunk.
        """
        if self.views is None:
            raise ValueError("this method works on cached features: use another trunk than 'own'")
        return tuple(self.maps[stride] for stride in strides) if strides else (self.views,)

    @property
    def features(self) -> NDArray[np.float32]:
        """Standardised pooled features (n, n_features) of the images as they are; errors as for `cached`."""
        return np.asarray(self.cached(())[0][0])


def given_maps(
    experiment: Experiment, strides: tuple[int, ...], views: NDArray[np.float32]
) -> dict[int, NDArray[np.floating]]:
    """Given features as last maps of a single position, for heads that take a mean over positions.

    Heads that attend to positions find nothing to choose from there: experiments do not name them.

    Parameters
    ----------
    views : (views, n, n_features)

    Raises
    ------
    ValueError
        A method reads maps of several depths: there are no images to make them of.
    """
    if not set(strides) <= {LAST_STRIDE}:
        raise ValueError(
            f"{experiment.title} has features but no images: maps of several depths need a set with images"
        )
    return dict.fromkeys(strides, views[:, :, :, None, None])
