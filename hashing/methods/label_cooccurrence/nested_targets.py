"""Class targets that a graph of labels moves, for every leading part of a code at once, and over sets."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hashing.methods.base import HeadOutputs, Objective, Targets
from hashing.methods.label_cooccurrence.label_graph import Cooccurrence, adjacency, edge_weights, similarity
from hashing.methods.label_cooccurrence.target_generator import TargetGenerator, straight_through, target_spread
from hashing.methods.orthogonal import signs, spread_targets

UNKNOWN = -1e4
"""Logit of a class of which nothing is known: it takes no part in the softmax."""


class NestedGraphTargets(Objective):
    """Cross-entropy to class targets of which each leading part serves the codes of its length.

    As `hashing.methods.label_cooccurrence.objective.LabelCooccurrence`, but for three things. Targets begin far apart
    at every length instead of orthogonal at one, since a Hadamard matrix of 16 rows has no targets for more classes.
    `Targets.labels` are shares, with rows that sum to one. A class that an image's set does not know takes no part, so
    that no image is pushed away from a label that it may have.

    Parameters
    ----------
    graph
        Co-occurrence of the classes in training images.
    code_lengths
        Nested code lengths, bits, ascending.
    seed
        Seed of the targets and of the generator's weights.
    threshold, neighbour_share
        As for `edge_weights`, with mutual information, and for `adjacency`.
    smoothing
        Share of the mass of each image that all classes known of it get alike.
    guard, attraction
        mu and kappa of `target_spread`.
    rest_from
        Share of the training after which targets rest.
    scale, margin
        s and m of softmax(s (cos(h, t_c) - m y_c)); Hoe et al., NeurIPS 2021, eq. 6 and 7.
    """

    def __init__(
        self,
        graph: Cooccurrence,
        code_lengths: tuple[int, ...],
        seed: int,
        *,
        threshold: float = 0.1,
        neighbour_share: float = 0.2,
        smoothing: float = 0.1,
        guard: float = 0.1,
        attraction: float = 0.3,
        rest_from: float = 0.8,
        scale: float = 4.0,
        margin: float = 0.2,
    ) -> None:
        super().__init__()
        self.code_lengths, self.smoothing = tuple(code_lengths), smoothing
        self.guard, self.attraction, self.rest_from = guard, attraction, rest_from
        self.scale, self.margin = scale, margin
        weights = edge_weights(graph, threshold, "pmi")
        base = signs(spread_targets(len(weights), self.code_lengths, np.random.default_rng(seed)))
        mixing = torch.from_numpy(adjacency(weights, neighbour_share)).float()
        self.generator = TargetGenerator(base, mixing, seed, learned_inputs=False)
        self.register_buffer("similarity", torch.from_numpy(similarity(weights)).float())
        self.similarity: Tensor

    def forward(self, outputs: HeadOutputs, targets: Targets) -> Tensor:
        """Loss of a batch: a scalar."""
        # an optimizer leaves parameters without a gradient as they are: without one, the targets rest
        with torch.set_grad_enabled(torch.is_grad_enabled() and targets.progress < self.rest_from):
            binary = straight_through(self.generator())  # (n_classes, code_length)
        known = targets.known * (targets.known.sum(dim=1, keepdim=True) > 0)
        wanted = (1 - self.smoothing) * targets.labels + self.smoothing * known / known.sum(dim=1, keepdim=True).clamp(
            min=1
        )
        losses = [
            self._cross_entropy(outputs.relaxed[:, :length], binary[:, :length], wanted, targets)
            for length in self.code_lengths
        ]
        return torch.stack(losses).mean() + self.guard * target_spread(binary, self.similarity, self.attraction)

    def _cross_entropy(self, relaxed: Tensor, binary: Tensor, wanted: Tensor, targets: Targets) -> Tensor:
        """Mean over the images that have a label; 0 where none has."""
        cosines = functional.normalize(relaxed) @ functional.normalize(binary).T  # (batch, n_classes)
        has = targets.labels > 0
        logits = self.scale * (cosines - self.margin * has)
        logits = torch.where((targets.known > 0) | has, logits, UNKNOWN)
        losses = -torch.where(wanted > 0, wanted * logits.log_softmax(dim=1), 0.0).sum(dim=1)
        labelled = has.any(dim=1).to(losses.dtype)
        return (losses * labelled).sum() / labelled.sum().clamp(min=1)
