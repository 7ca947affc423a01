"""Hash targets from the label co-occurrence graph: the objective of Wang, Xu and Zhou (2024).

The paper states: codes are pulled to binary targets of classes, a graph network over the co-occurrence of positive
labels generates these targets dynamically, and a cross-entropy with label smoothing ties codes to them. We infer the
base (OrthoHash: Hoe et al., NeurIPS 2021) and the form of the graph (ML-GCN: Chen et al., CVPR 2019). The paper says
nothing of our choices: the residual generator, the weights of the graph, the collapse guard, and targets that rest at
the end of the training.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from hashing.methods.base import HeadOutputs, Objective, Setting, Targets
from hashing.methods.centres import class_targets
from hashing.methods.label_cooccurrence.label_graph import Cooccurrence, adjacency, edge_weights, similarity
from hashing.methods.label_cooccurrence.target_generator import (
    TargetGenerator,
    TargetHistory,
    image_targets,
    straight_through,
    target_spread,
)
from hashing.methods.orthogonal import signs

TARGETS = ("random", "orthogonal", "graph", "learned graph")
"""Class targets: fixed fair coins; fixed rows of a Hadamard matrix; these bent by the graph; by a graph with learned
inputs."""


class LabelCooccurrence(Objective):
    """L = L_ce + eta L_img + mu L_guard: cross-entropy to class targets that a graph of labels moves.

    L_ce is `smoothed_cross_entropy`; L_img = mean_i (1 - cos(h_i, T_i)) pulls a code to its image's own target T_i
    (`image_targets`); L_guard is `target_spread`. Targets are binary, with the gradient of tanh. Images without a label
    have no loss; labels that are not known count as absent.

    Parameters
    ----------
    setting
        The graph comes from its labels, which are of training images only.
    targets
        "random", "orthogonal", "graph" or "learned graph".
    threshold, weighting, neighbour_share
        As for `edge_weights` and `adjacency`.
    smoothing
        epsilon: share of the mass of each image that all classes get alike, negative ones too.
    eta
        Weight of L_img. With 0 "dynamic" means class targets that move; with 1 each image has a target, too.
    guard, attraction
        mu and the kappa of `target_spread`.
    rest_from
        Share of the training after which targets rest, so that codes can settle; 1 lets them move to the end.
    scale, margin
        s and m of `smoothed_cross_entropy`.

    Raises
    ------
    ValueError
        There is no such kind of targets, or there are more classes than orthogonal targets of the code length.
    """

    def __init__(
        self,
        setting: Setting,
        targets: str = "graph",
        *,
        threshold: float = 0.1,
        weighting: str = "pmi",
        neighbour_share: float = 0.2,
        smoothing: float = 0.1,
        eta: float = 0.0,
        guard: float = 0.1,
        attraction: float = 0.3,
        rest_from: float = 0.8,
        scale: float = 8.0,
        margin: float = 0.2,
    ) -> None:
        super().__init__()
        self.smoothing, self.eta, self.guard, self.attraction = smoothing, eta, guard, attraction
        self.rest_from, self.scale, self.margin = rest_from, scale, margin
        self.cooccurrence = Cooccurrence.of_labels(setting.labels)
        weights = edge_weights(self.cooccurrence, threshold, weighting)
        base, tie = fixed_targets(setting, random=targets == "random")
        self.register_buffer("base", base)
        self.register_buffer("tie", tie)
        self.register_buffer("similarity", torch.from_numpy(similarity(weights)).float())
        self.base: Tensor
        self.tie: Tensor
        self.similarity: Tensor
        self.generator = _generator(targets, base, adjacency(weights, neighbour_share), setting.seed)
        self.history = TargetHistory(base)

    def class_targets(self) -> Tensor:
        """Real-valued targets t_c of the classes, (n_labels, code_length); their signs are the binary targets."""
        return self.base if self.generator is None else self.generator()

    def forward(self, outputs: HeadOutputs, targets: Targets) -> Tensor:
        """Loss of a batch: a scalar."""
        # an optimizer leaves parameters without a gradient as they are: without one, the targets rest
        with torch.set_grad_enabled(torch.is_grad_enabled() and targets.progress < self.rest_from):
            real = self.class_targets()
            binary = straight_through(real)
        if self.training:
            self.history.record(real, targets.progress)
        labels = targets.labels
        loss = smoothed_cross_entropy(outputs.relaxed, binary, labels, self.smoothing, self.scale, self.margin)
        if self.eta:
            loss = loss + self.eta * image_loss(outputs.relaxed, image_targets(real, labels, self.tie), labels)
        if self.generator is not None:
            loss = loss + self.guard * target_spread(binary, self.similarity, self.attraction)
        return loss


def fixed_targets(setting: Setting, *, random: bool) -> tuple[Tensor, Tensor]:
    """Targets (n_labels, code_length) before training, and signs for ties (code_length,), of -1 and 1.

    Parameters
    ----------
    random
        Targets are fair coins; otherwise they are orthogonal rows of a Hadamard matrix, without its constant row.
    """
    rng = np.random.default_rng(setting.seed)
    n_labels = setting.labels.shape[1]
    shape = n_labels, setting.code_length
    base = rng.random(shape) < 0.5 if random else class_targets(n_labels, setting.code_length, rng)
    return signs(base), signs(rng.random(setting.code_length) < 0.5)


def smoothed_cross_entropy(
    relaxed: Tensor, targets: Tensor, labels: Tensor, smoothing: float, scale: float, margin: float
) -> Tensor:
    """Cross-entropy of softmax(s (cos(h_i, t_c) - m y_ic)) with q_ic = (1 - epsilon) y_ic / |y_i| + epsilon / C.

    Parameters
    ----------
    relaxed : (batch, code_length)
        Relaxed codes h.
    targets : (n_labels, code_length)
        Class targets t_c.
    labels : (batch, n_labels)
        y: 1 where an image has a label, else 0; or shares of labels.
    smoothing
        epsilon.
    scale, margin
        s and m; only classes that an image has get the margin.

    Returns
    -------
    () scalar
        Mean over the images that have a label; 0 where none has.

    References
    ----------
    Hoe et al., NeurIPS 2021, eq. 6 and 7, with the smoothing of Szegedy et al., CVPR 2016, eq. 7.
    """
    counts = labels.sum(dim=1, keepdim=True)
    wanted = (1 - smoothing) * labels / counts.clamp(min=1e-9) + smoothing / labels.shape[1]  # (batch, n_labels)
    cosines = functional.normalize(relaxed) @ functional.normalize(targets).T  # (batch, n_labels)
    logits = scale * (cosines - margin * (labels > 0))
    return _mean_of_labelled(-(wanted * logits.log_softmax(dim=1)).sum(dim=1), labels)


def image_loss(relaxed: Tensor, targets: Tensor, labels: Tensor) -> Tensor:
    """Mean of 1 - cos(h_i, T_i) over the images that have a label; 0 where none has.

    Parameters
    ----------
    relaxed : (batch, code_length)
        Relaxed codes h.
    targets : (batch, code_length)
        Target T_i of each image.
    labels : (batch, n_labels)
    """
    return _mean_of_labelled(1 - functional.cosine_similarity(relaxed, targets), labels)


def _mean_of_labelled(losses: Tensor, labels: Tensor) -> Tensor:
    labelled = labels.any(dim=1).to(losses.dtype)
    return (losses * labelled).sum() / labelled.sum().clamp(min=1)


def _generator(targets: str, base: Tensor, mixing: NDArray[np.float64], seed: int) -> TargetGenerator | None:
    if targets not in TARGETS:
        raise ValueError(f"class targets are {targets!r}: choose of {', '.join(TARGETS)}")
    if targets in ("random", "orthogonal"):
        return None
    learned = targets == "learned graph"
    return TargetGenerator(base, torch.from_numpy(mixing).float(), seed, learned_inputs=learned)
