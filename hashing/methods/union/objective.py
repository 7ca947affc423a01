"""The loss of the union of the three published methods, for the bench.

Likelihoods of pairs weigh pairs by the Jaccard overlap of their labels, class targets are moved by the graph of labels
(`hashing.methods.label_cooccurrence`), and every leading part of a code is a code of its own that carries the loss.
"""

from torch import Tensor

from hashing.methods.base import HeadOutputs, Nested, Objective, Setting, Sum, Targets
from hashing.methods.classification import ShareCrossEntropy
from hashing.methods.known_pairs import KnownPairLikelihood
from hashing.methods.label_cooccurrence.label_graph import Cooccurrence
from hashing.methods.label_cooccurrence.nested_targets import NestedGraphTargets
from hashing.methods.relation import Relation

CODE_LENGTHS = (16, 32, 48, 64, 128)
"""Leading parts of a code that are codes of their own, as far as a code is long enough."""
RELATION_LENGTH = 64
"""Code length at which distances of codes follow those of features."""


class UnionLoss(Objective):
    """Pairs, class targets, likeness of features and classes together: the loss of the union in the bench.

    Weights are the best of four settings by validation images of `nih_logits` at 32 bits: codes whose distances follow
    those of features, and pairs that are balanced by label, found less there.

    Parameters
    ----------
    setting
        Code length, and the labels of the training set.
    nested
        Whether the leading parts of a code carry the loss, too; without them a code serves its own length alone.
    pairs, targets, relation, classes
        Weights of `KnownPairLikelihood` with Jaccard overlap, `NestedGraphTargets`, `Relation`, and of the
        cross-entropy of the shares of the labels.
    balance
        Of `KnownPairLikelihood`: 0 where each pair weighs the same, 1 where each label does.
    """

    def __init__(
        self,
        setting: Setting,
        *,
        nested: bool = True,
        pairs: float = 1.0,
        targets: float = 0.1,
        relation: float = 0.0,
        classes: float = 1.0,
        balance: float = 0.0,
    ) -> None:
        super().__init__()
        lengths = nested_lengths(setting.code_length) if nested else (setting.code_length,)
        graph = Cooccurrence.of_labels(setting.labels)
        makers: list[tuple[float, Objective]] = [
            (pairs, Nested(lambda length: KnownPairLikelihood(length, 0, balance=balance, graded=True), lengths)),
            (targets, NestedGraphTargets(graph, lengths, setting.seed)),
            (relation, Nested(lambda _: Relation(), (min(RELATION_LENGTH, setting.code_length),))),
            (classes, ShareCrossEntropy()),
        ]
        self.parts = Sum([(weight, part) for weight, part in makers if weight])

    def forward(self, outputs: HeadOutputs, targets: Targets) -> Tensor:
        """Loss of a batch: a scalar. The cross-entropies read labels as shares."""
        loss: Tensor = self.parts(outputs, targets._replace(labels=shares_of(targets.labels)))
        return loss


def shares_of(labels: Tensor) -> Tensor:
    """Share of each label in images with labels (batch, n_labels): rows sum to one, or to 0 for images without any."""
    return labels / labels.sum(dim=1, keepdim=True).clamp(min=1e-9)


def nested_lengths(code_length: int) -> tuple[int, ...]:
    """The lengths of the leading parts of a code, itself last."""
    return (*(length for length in CODE_LENGTHS if length < code_length), code_length)
