"""Class scores, learned on features of a finished trunk."""

import torch

from hashing.model.network import FEATURES
from hashing.training.classifier import Classifier, train_classifier
from hashing.training.heads import Material

CLASSIFIER = Classifier(steps=150, batch=32, learning_rate=1e-2, weight_decay=1e-2, noise=0.1, seed=3)


def three_kinds(each: int) -> Material:
    """Raw features in distant clusters; images of the third are half of one class, half of another."""
    generator = torch.Generator().manual_seed(0)
    middle = torch.randn(3, FEATURES, generator=generator).repeat_interleave(each, dim=0)
    features = 5 + 3 * (middle + 0.3 * torch.randn(3 * each, FEATURES, generator=generator))
    weights = torch.tensor([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0.5, 0.5]]).repeat_interleave(each, dim=0)
    return Material(features, weights, torch.full((3 * each,), 1 / (3 * each), dtype=torch.float64))


def test_scores_of_raw_features_become_the_shares_of_classes() -> None:
    known = three_kinds(each=20)

    layer = train_classifier(known, CLASSIFIER)

    assert (layer(known.features).softmax(dim=1) - known.weights).abs().max() < 0.1


def test_one_seed_gives_one_classifier_whatever_was_drawn_before() -> None:
    known = three_kinds(each=20)

    first = train_classifier(known, CLASSIFIER)
    torch.rand(1)
    second = train_classifier(known, CLASSIFIER)

    assert torch.equal(first.weight, second.weight)
    assert torch.equal(first.bias, second.bias)
