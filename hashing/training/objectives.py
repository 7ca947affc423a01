"""The loss of a recipe, put together from its weights."""

from collections.abc import Callable

from hashing.data.examples import KINDS
from hashing.methods.base import Nested, Objective, Sum
from hashing.methods.classification import Classification
from hashing.methods.known_pairs import Agreement, KnownPairLikelihood
from hashing.methods.orthogonal import nested_target_cross_entropy
from hashing.methods.relation import Relation
from hashing.model.model_file import Architecture
from hashing.training.recipe import LossWeights

RELATION_LENGTH = 64
"""Code length at which distances of codes shall follow those of features."""


def weighted_objective(weights: LossWeights, architecture: Architecture, n_classes: int, seed: int) -> Objective:
    """The sum of the losses that have a weight.

    Parameters
    ----------
    seed
        Seed of class targets.
    """
    lengths = tuple(map(architecture.learned_bits_of, architecture.code_lengths))
    far = [architecture.learned_bits_of(min(RELATION_LENGTH, max(architecture.code_lengths)))]
    makers: dict[str, Callable[[], Objective]] = {
        "classes": Classification,
        "targets": lambda: nested_target_cross_entropy(n_classes, lengths, seed),
        "pairs": lambda: Nested(lambda length: KnownPairLikelihood(length, len(KINDS)), lengths),
        "relation": lambda: Nested(lambda _: Relation(), far),
        "agreement": Agreement,
    }
    chosen = [(getattr(weights, name), make) for name, make in makers.items() if getattr(weights, name)]
    return Sum([(weight, make()) for weight, make in chosen])
