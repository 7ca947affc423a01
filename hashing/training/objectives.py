"""The loss of a recipe, put together from its weights."""

from collections.abc import Callable

from hashing.data.examples import KINDS
from hashing.methods.base import Nested, Objective, Sum
from hashing.methods.classification import Classification, ShareCrossEntropy
from hashing.methods.known_pairs import Agreement, KnownPairLikelihood
from hashing.methods.label_cooccurrence.label_graph import Cooccurrence
from hashing.methods.label_cooccurrence.nested_targets import NestedGraphTargets
from hashing.methods.orthogonal import nested_target_cross_entropy
from hashing.methods.relation import Relation
from hashing.methods.union.level_order import LevelOrder
from hashing.model.model_file import Architecture
from hashing.training.recipe import LossWeights

RELATION_LENGTH = 64
"""Code length at which distances of codes shall follow those of features."""


def weighted_objective(
    weights: LossWeights, architecture: Architecture, n_classes: int, seed: int, graph: Cooccurrence | None = None
) -> Objective:
    """The sum of the losses that have a weight.

    Parameters
    ----------
    seed
        Seed of class targets.
    graph
        Co-occurrence of the classes in training images, for targets that a graph moves.
    """
    lengths, kinds = tuple(map(architecture.learned_bits_of, architecture.code_lengths)), len(KINDS)
    far = [architecture.learned_bits_of(min(RELATION_LENGTH, max(architecture.code_lengths)))]

    def graph_targets() -> Objective:
        if graph is None:
            raise ValueError("graph targets come from labels of training images: the trunk is trained without them")
        return NestedGraphTargets(graph, lengths, seed)

    makers: dict[str, Callable[[], Objective]] = {
        "classes": Classification,
        "shares": ShareCrossEntropy,
        "targets": lambda: nested_target_cross_entropy(n_classes, lengths, seed),
        "graph": graph_targets,
        "pairs": lambda: Nested(lambda length: KnownPairLikelihood(length, kinds), lengths),
        "graded_pairs": lambda: Nested(lambda length: KnownPairLikelihood(length, kinds, graded=True), lengths),
        "levels": lambda: Nested(lambda length: LevelOrder(length, kinds), lengths),
        "relation": lambda: Nested(lambda _: Relation(), far),
        "agreement": Agreement,
    }
    chosen = [(getattr(weights, name), make) for name, make in makers.items() if getattr(weights, name)]
    return Sum([(weight, make()) for weight, make in chosen])
