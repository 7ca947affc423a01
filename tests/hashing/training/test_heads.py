"""The hash layer and the classifier, learned on features of a finished trunk."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hashing.data.datasets import LABELS, Dataset
from hashing.data.examples import KINDS
from hashing.methods.relation import relation_loss
from hashing.model.model_file import Architecture
from hashing.model.network import FEATURES, EfficientNetLite0
from hashing.training.augmentation import roughen
from hashing.training.heads import DrawnFeatures, draw_features, train_classifier, train_hash_layer
from hashing.training.recipe import ClassifierRecipe, HashLayerRecipe, LossWeights
from hashing.training.sampling import rarity

LOSS = LossWeights(targets=1.0, relation=1.0)
HEAD = HashLayerRecipe(("set",), (), 6, 2, 1, 64, steps=150, batch=32, learning_rate=2e-3, noise=0.1, loss=LOSS, seed=3)
CLASSIFIER = ClassifierRecipe(steps=150, batch=32, learning_rate=1e-2, weight_decay=1e-2, noise=0.1, seed=3)


def clusters(centres: int, each: int) -> DrawnFeatures:
    """Raw features in distant clusters, each of its own class, with offsets and scales of their own."""
    generator = torch.Generator().manual_seed(0)
    middle = torch.randn(centres, FEATURES, generator=generator).repeat_interleave(each, dim=0)
    features = 5 + 3 * (middle + 0.3 * torch.randn(centres * each, FEATURES, generator=generator))
    shares = torch.eye(centres).repeat_interleave(each, dim=0)
    chances = torch.full((centres * each,), 1 / (centres * each), dtype=torch.float64)
    varied = features + 0.3 * torch.randn(features.shape, generator=generator)
    return DrawnFeatures(
        torch.stack([features, varied]), shares, torch.ones_like(shares), torch.arange(len(shares)), chances
    )


def test_images_of_a_class_come_together_and_others_stay_apart() -> None:
    known = clusters(centres=4, each=20)

    head = train_hash_layer(known, HEAD, Architecture())

    with torch.no_grad():
        bits = head((known.views[0],)).relaxed >= 0  # raw features: the standardisation is folded into the layer
    distances = (bits[:, None] != bits[None]).float().mean(dim=2)
    same = (known.shares @ known.shares.T).bool()
    assert distances[same].max() < 0.1
    assert distances[~same].min() > 0.3


def test_a_variation_moves_a_code_by_less_than_a_fourth_of_the_distance_between_images() -> None:
    plain = clusters(centres=20, each=8)
    sharpness = 8 * torch.randn(FEATURES, generator=torch.Generator().manual_seed(1))
    known = replace(plain, views=torch.stack([plain.views[0], plain.views[0] - sharpness]))  # as in a lower resolution

    share = {}
    for name, loss in {
        "plain": LossWeights(relation=1.0),
        "agreeing": LossWeights(relation=1.0, agreement=5.0),
    }.items():
        head = train_hash_layer(known, replace(HEAD, loss=loss, steps=300), Architecture())
        with torch.no_grad():
            sharp, soft = (head((view,)).relaxed >= 0 for view in known.views)
        between = (sharp[::8, None] != sharp[None, ::8]).float().mean() * 20 / 19  # images of different clusters
        share[name] = float((sharp != soft).float().mean() / between)

    assert share["agreeing"] < 0.25 < share["plain"], share


def test_one_seed_gives_one_hash_layer_and_one_classifier_whatever_was_drawn_before() -> None:
    known, short = clusters(centres=3, each=20), replace(HEAD, steps=5)

    first = train_hash_layer(known, short, Architecture()), train_classifier(known, replace(CLASSIFIER, steps=5))
    torch.rand(1)
    second = train_hash_layer(known, short, Architecture()), train_classifier(known, replace(CLASSIFIER, steps=5))

    assert torch.equal(first[0]((known.views[0],)).relaxed, second[0]((known.views[0],)).relaxed)
    assert torch.equal(first[1](known.views[0]), second[1](known.views[0]))


def test_scores_of_raw_features_become_the_shares_of_classes() -> None:
    known = clusters(centres=3, each=20)
    shares = torch.tensor([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0.5, 0.5]]).repeat_interleave(20, dim=0)

    layer = train_classifier(replace(known, shares=shares), CLASSIFIER)

    assert (layer(known.views[0]).softmax(dim=1) - shares).abs().max() < 0.1


def test_codes_as_far_apart_as_their_features_cost_nothing() -> None:
    features = torch.randn(6, 8, generator=torch.Generator().manual_seed(1))

    assert relation_loss(torch.atanh(0.5 * features / features.norm(dim=1, keepdim=True)), features) < 1e-10
    assert relation_loss(-features[torch.arange(5, -1, -1)], features) > 0.01


@pytest.fixture
def ten_radiographs_and_four_sections() -> Dataset:
    """Ten adult chest radiographs, five of them with a finding, and four sections of heads, one of them for testing."""
    kinds = np.repeat([0, 2], [10, 4])
    labels = np.zeros((14, len(LABELS)), bool)
    labels[:5, 3] = True
    images = np.random.default_rng(0).integers(0, 256, (14, 224, 224), np.uint8)
    splits = np.array(["train"] * 13 + ["test"])
    return Dataset(images, labels, kinds, np.arange(14).astype(str), splits)


def test_of_each_kind_at_most_so_many_images_are_taken_with_shares_that_sum_to_one(
    ten_radiographs_and_four_sections: Dataset,
) -> None:
    taken = draw_features(EfficientNetLite0(), [ten_radiographs_and_four_sections], HEAD, 0.5, np.random.default_rng(0))

    assert taken.views.shape == (3, 6 + 3, FEATURES)
    assert torch.allclose(taken.shares.sum(dim=1), torch.ones(9))
    assert torch.isclose(taken.chances.sum(), torch.tensor(1.0, dtype=torch.float64))
    assert taken.shares[:, len(LABELS) + 2].tolist() == [0] * 6 + [1] * 3
    assert taken.known[:, : len(LABELS)].sum(dim=0).nonzero().flatten().tolist() == [3], "the set has no other label"


def test_each_draw_shows_the_same_images_varied_anew(ten_radiographs_and_four_sections: Dataset) -> None:
    taken = draw_features(EfficientNetLite0(), [ten_radiographs_and_four_sections], HEAD, 0.5, np.random.default_rng(0))

    assert not torch.equal(taken.views[0], taken.views[1])
    assert not torch.equal(taken.views[1], taken.views[2])


def test_a_kind_of_a_set_can_be_left_out(ten_radiographs_and_four_sections: Dataset) -> None:
    head = replace(HEAD, omitted=("set: adult chest radiograph", "another: head MR"))

    taken = draw_features(EfficientNetLite0(), [ten_radiographs_and_four_sections], head, 0.5, np.random.default_rng(0))

    assert taken.shares[:, len(LABELS) + 2].tolist() == [1] * 3


def test_roughened_images_keep_their_size_and_range() -> None:
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (60, 1, 64, 64)).astype(np.float32))

    rough = roughen(images, np.resize(np.arange(len(KINDS)), 60), rng)

    assert rough.shape == images.shape
    assert rough.min() >= 0
    assert rough.max() <= 255
    assert not torch.equal(rough, images)


def test_rare_labels_weigh_more_and_images_without_any_share_one() -> None:
    labels = np.array([[True, False]] * 4 + [[False, True]] + [[False, False]])

    weights = rarity(labels)

    assert weights.tolist() == [0.5, 0.5, 0.5, 0.5, 1.0, 1.0]
