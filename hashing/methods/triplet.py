"""Losses over triplets of an anchor, a positive and a negative: DTSH, and a margin with a choice of triplets."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from hashing.methods.base import Setting, Targets
from hashing.methods.pairs import mean_over, pairs, product, quantization

Selection = Literal["semi-hard", "random"]
MIN_POSITIVE_OVERLAP = 0.5
"""Jaccard overlap of labels from which on `triplet_pairs` calls a pair positive."""


class DeepTripletSupervisedHashing(nn.Module):
    """DTSH: likelihood that a positive is nearer than a negative (Wang et al., ACCV 2016, eq. 6 and 8).

    -log sigmoid(t_ap - t_an - alpha) with t_ij = u_i u_j / 2; for each anchor one positive, drawn from another
    patient, and all negatives of the batch. The margin alpha is `margin` K, at most K / 2.
    """

    def __init__(self, setting: Setting, margin: float = 0.25, eta: float = 0.1) -> None:
        super().__init__()
        self.margin, self.eta = margin * setting.code_length, eta

    def forward(self, relaxed: Tensor, labels: Tensor, patients: Tensor) -> Tensor:
        """Loss of a batch."""
        likeness = pairs(labels, patients)
        positive = likeness.similar * likeness.counted
        usable = positive.any(dim=1)
        closeness = product(relaxed)[usable] / 2
        chosen = torch.multinomial(positive[usable], 1) if usable.any() else positive.new_zeros((0, 1)).long()
        gap = closeness.gather(1, chosen) - closeness - self.margin  # (anchors, batch)
        losses = -functional.logsigmoid(gap)
        negatives = ((1 - likeness.similar) * likeness.counted)[usable]
        return mean_over(losses, negatives) + self.eta * quantization(relaxed)


class TripletPairs(NamedTuple):
    """Which pairs of a batch may stand in a triplet, as two tensors (batch, batch) bool.

    Attributes
    ----------
    positive
        The Jaccard overlap of the labels is at least 0.5, and the patients differ.
    negative
        The two images share no label, and the patients differ.
    """

    positive: Tensor
    negative: Tensor


def triplet_pairs(targets: Targets) -> TripletPairs:
    """Positive and negative pairs of a batch; all others are ignored.

    Where each image has one label, pairs of equal labels are positive and all others negative. A label that is not
    known of an image speaks for neither: a pair is positive only if its overlap is large enough whatever the unknown
    labels are, and negative only if it shares no label whatever they are. An image without any label is no anchor, but
    may be a negative.
    """
    present = (targets.labels > 0).to(targets.known.dtype) * targets.known  # (batch, n_labels)
    possible = torch.maximum(present, 1 - targets.known)
    shared = present @ present.T
    sizes, shared_at_most = possible.sum(dim=1), possible @ possible.T
    largest_union = sizes[:, None] + sizes[None] - shared_at_most  # (batch, batch)
    positive = (shared > 0) & (shared >= MIN_POSITIVE_OVERLAP * largest_union)
    different = targets.patients[:, None] != targets.patients[None]
    return TripletPairs(positive & different, (shared_at_most == 0) & different)


def code_distances(codes: Tensor) -> Tensor:
    """Distances (K - u_i u_j) / (2 K) of all pairs of relaxed codes (batch, K) in [-1, 1]: (batch, batch) in [0, 1]."""
    return (1 - product(codes) / codes.shape[1]) / 2


def triplet_loss(codes: Tensor, pairs: TripletPairs, margin: float, selection: Selection) -> Tensor:
    """Mean of max(0, d(anchor, positive) - d(anchor, negative) + margin) over one triplet of each anchor.

    An anchor is an image that has a positive and a negative in the batch. Without any the loss is 0.

    Parameters
    ----------
    codes : (batch, code_length)
        Relaxed codes in (-1, 1).
    margin
        Share of the code length.
    selection
        "semi-hard", as `semi_hard_triplets` chooses; or "random": any positive and any negative.

    """
    anchors = pairs.positive.any(dim=1) & pairs.negative.any(dim=1)
    distances = code_distances(codes)[anchors]  # (anchors, batch)
    positive, negative = pairs.positive[anchors], pairs.negative[anchors]
    if selection == "random":
        chosen = random_columns(positive), random_columns(negative)
    else:
        chosen = semi_hard_triplets(distances.detach(), positive, negative)
    to_positive, to_negative = (distances.gather(1, columns[:, None]) for columns in chosen)
    losses = torch.relu(to_positive - to_negative + margin)
    return losses.sum() / max(1, len(losses))


def semi_hard_triplets(distances: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    """The farthest positive of each anchor, and its nearest negative that is farther than this positive.

    Where no negative is farther, the farthest negative is taken: nearer ones draw all codes into a single one early in
    training (Schroff et al., CVPR 2015, section 3.2).

    Parameters
    ----------
    distances : (anchors, batch)
    positive, negative : (anchors, batch) bool
        Each row has at least one of either.

    Returns
    -------
    Columns of the positives, (anchors,), and of the negatives, (anchors,).
    """
    nowhere = distances.new_tensor(torch.inf)
    to_positive, hardest = torch.where(positive, distances, -nowhere).max(dim=1)
    farther = negative & (distances > to_positive[:, None])
    semi_hard = torch.where(farther, distances, nowhere).argmin(dim=1)
    farthest = torch.where(negative, distances, -nowhere).argmax(dim=1)
    return hardest, torch.where(farther.any(dim=1), semi_hard, farthest)


def random_columns(mask: Tensor) -> Tensor:
    """One column of each row at random, (rows,), among those that are True; every row has such a column."""
    return torch.rand(mask.shape, device=mask.device).masked_fill(~mask, -1).argmax(dim=1)
