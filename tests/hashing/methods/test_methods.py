"""Objectives of the baselines: against hand-computed values, and on toy codes that can be told apart."""

from collections.abc import Callable
from math import cosh, exp, log, log1p, sqrt

import numpy as np
import pytest
import torch
from torch import Tensor

from hashing.codes import pack
from hashing.evaluation.judgement import judge
from hashing.evaluation.protocol import GroundTruth, by_codes, task
from hashing.methods.base import HeadOutputs, Setting, Targets
from hashing.methods.catalogue import PROJECTIONS, TRAINED, trained
from hashing.methods.centres import CentralSimilarityQuantization, OrthoHash, class_targets, hadamard
from hashing.methods.heads import PlainHead
from hashing.methods.label_cooccurrence.variants import OPTIONS
from hashing.methods.pairs import balanced_weights, pairs, similar_share
from hashing.training.loop import Learner, Schedule, TrainingBatch, fit

LABELS = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])  # 0 and 1 share a label, so do 1 and 2
GROUPS = torch.tensor([1, 2, 3])
CODES = torch.tensor([[2.0, 0.0], [1.0, -1.0], [0.0, 1.0]])
SETTING = Setting(2, np.array([[True, False], [False, True]]), 0)  # half of its pairs are similar


def loss_of(method: str, setting: Setting, **options: float) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """The loss of a method as a function of codes, labels and patients."""
    objective = trained(method).objective(setting, **options)

    def loss(codes: Tensor, labels: Tensor, patients: Tensor) -> Tensor:
        value: Tensor = objective(HeadOutputs(codes), Targets(labels, torch.ones_like(labels), patients))
        return value

    return loss


def softplus(value: float) -> float:
    return log1p(exp(value))


def of_pairs(method: str, **options: float) -> float:
    """Value without the quantisation term, on three images of three patients."""
    return float(loss_of(method, SETTING, **options)(CODES, LABELS, GROUPS).detach())


def test_dsh_draws_similar_codes_together_and_keeps_others_a_margin_apart() -> None:
    # squared distances 2, 5 (similar) and 5 (not; margin 4: no loss); each pair occurs twice of six
    assert of_pairs("DSH", alpha=0.0) == pytest.approx((2 / 2 + 5 / 2 + 0) / 3)
    assert of_pairs("DSH", alpha=1.0) - of_pairs("DSH", alpha=0.0) == pytest.approx((1 + 1 + 0 + 0 + 1 + 0) / 6)


def test_dpsh_is_the_likelihood_of_half_the_inner_product() -> None:
    expected = (softplus(-1.0) + softplus(0.5) + softplus(0.0)) / 3  # products 2 and -1 (similar), 0 (not)
    assert of_pairs("DPSH", eta=0.0) == pytest.approx(expected, rel=1e-6)
    assert of_pairs("DPSH", eta=1.0) - expected == pytest.approx((1 + 1 + 0 + 0 + 1 + 0) / 6, rel=1e-5)


def tanh_products(factor: float = 1.0) -> tuple[float, float, float]:
    codes = np.tanh(factor * CODES.numpy())
    return float(codes[0] @ codes[1]), float(codes[1] @ codes[2]), float(codes[0] @ codes[2])


def test_dhn_weighs_pairs_by_overlap_and_rarity_and_wants_two_modes() -> None:
    one, two, three = tanh_products()
    # similar pairs weigh overlap 1/2 over share 1/2, the other 1 over 1/2; scale 10 / K = 5
    expected = (softplus(-5 * one) + softplus(-5 * two) + 2 * softplus(5 * three)) / 4
    modes = np.mean([log(cosh(abs(value) - 1)) for value in np.tanh(CODES.numpy()).ravel()])

    assert of_pairs("DHN", prior=0.0) == pytest.approx(expected, rel=1e-5)
    assert of_pairs("DHN", prior=1.0) - of_pairs("DHN", prior=0.0) == pytest.approx(modes, rel=1e-4)


def test_hashnet_sharpens_codes_by_the_share_of_training_that_is_done() -> None:
    loss = trained("HashNet").objective(SETTING, final=4.0)
    targets = Targets(LABELS, torch.ones_like(LABELS), GROUPS)
    values = [float(loss(HeadOutputs(CODES), targets._replace(progress=done))) for done in (0.0, 0.2, 1.0)]

    def expected(factor: float) -> float:
        one, two, three = tanh_products(factor)
        return (softplus(-5 * one) + softplus(-5 * two) + 2 * softplus(5 * three)) / 4

    assert values == pytest.approx([expected(1.0), expected(2.0), expected(4.0)], rel=1e-5)


def test_dtsh_wants_the_positive_nearer_by_a_margin() -> None:
    # anchor 0: positive 1, negative 2; anchor 2: positive 1, negative 0; anchor 1 has no negative; margin 0.25 K = 0.5
    expected = (softplus(-(1.0 - 0.0 - 0.5)) + softplus(-(-0.5 - 0.0 - 0.5))) / 2

    assert of_pairs("DTSH", eta=0.0) == pytest.approx(expected, rel=1e-6)


def test_dch_has_a_cauchy_density_over_distances() -> None:
    gamma = 2.0  # of two bits: 64 in the option
    distance = [1 - 1 / sqrt(2), 1 + 1 / sqrt(2), 1.0]  # K (1 - cos) / 2 with K = 2
    losses = [log(d / gamma) + log1p(gamma / d) for d in distance[:2]] + [log1p(gamma / distance[2])]
    to_ones = [1 - 1 / sqrt(2), 0.0, 1 - 1 / sqrt(2)]

    assert of_pairs("DCH", gamma=64.0, prior=0.0) == pytest.approx(
        (losses[0] + losses[1] + 2 * losses[2]) / 4, rel=1e-5
    )
    assert of_pairs("DCH", gamma=64.0, prior=1.0) - of_pairs("DCH", gamma=64.0, prior=0.0) == pytest.approx(
        np.mean([log1p(max(d, 1e-3) / gamma) for d in to_ones]), rel=1e-4
    )


def test_idhn_takes_partly_similar_pairs_by_squares_and_others_by_likelihood() -> None:
    one, two, three = tanh_products()
    degree = 1 / sqrt(2)  # cosine of (1, 0) and (1, 1)
    squares = [10 * ((product / 2 + 1) / 2 - degree) ** 2 for product in (one, two)]

    assert of_pairs("IDHN", eta=0.0) == pytest.approx((sum(squares) + softplus(5 * three / 2)) / 3, rel=1e-5)


def test_csq_classifies_bits_towards_the_majority_of_centres() -> None:
    loss = CentralSimilarityQuantization(Setting(2, np.ones((1, 1), bool), 0), eta=0.0)
    loss.centres = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
    loss.tie = torch.tensor([-1.0, -1.0])
    # centres: (1, 1); both labels (1, tie = -1); (1, -1)
    expected = [softplus(-4), softplus(0), softplus(-2), softplus(-2), softplus(0), softplus(2)]

    assert float(loss(CODES, LABELS, GROUPS)) == pytest.approx(np.mean(expected), rel=1e-5)


def test_orthohash_is_a_cross_entropy_of_cosines_with_a_margin() -> None:
    loss = OrthoHash(Setting(2, np.ones((1, 1), bool), 0))
    loss.targets = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
    logits = 8 * np.array([1 / sqrt(2) - 0.2, 1 / sqrt(2)])  # image 0

    value = float(loss(CODES[:1], LABELS[:1], GROUPS[:1]))
    nothing = float(loss(torch.cat([CODES[:1]] * 2), torch.cat([LABELS[:1], torch.zeros(1, 2)]), GROUPS[:2]))

    assert value == pytest.approx(log(np.exp(logits).sum()) - logits[0], rel=1e-5)
    assert nothing == pytest.approx(value, rel=1e-6)  # an image without labels divides by nothing


def test_the_jaccard_method_makes_distance_follow_overlap() -> None:
    torch.manual_seed(0)
    one, two, three = tanh_products()
    squares = [((1 - product / 2) / 2 - wanted) ** 2 for product, wanted in ((one, 0.5), (two, 0.5), (three, 1.0))]

    assert of_pairs("AHDL-like", classifying=0.0, eta=0.0) == pytest.approx(np.mean(squares), rel=1e-5)


def test_pairs_of_one_patient_never_count() -> None:
    same = torch.tensor([1, 1, 2])

    assert pairs(LABELS, same).counted.tolist() == [[0, 0, 1], [0, 0, 1], [1, 1, 0]]
    for method in ("DSH", "DPSH", "DHN", "HashNet", "DTSH", "DCH", "IDHN"):
        alone = loss_of(method, SETTING)(CODES[:2], LABELS[:2], same[:2])
        assert torch.isfinite(alone), method


def test_weights_use_the_training_set_not_the_batch() -> None:
    labels = np.array([[True, False]] * 9 + [[False, True]])

    assert similar_share(labels) == pytest.approx(0.81 + 0.01)
    weights = balanced_weights(pairs(LABELS, GROUPS), 0.2)
    assert weights[0].tolist() == pytest.approx([0.0, 0.5 / 0.2, 1 / 0.8])


@pytest.mark.parametrize("order", [2, 4, 12, 16, 32, 48, 64, 128])
def test_hadamard_rows_are_orthogonal(order: int) -> None:
    signs = np.where(hadamard(order), -1, 1)

    assert np.array_equal(signs @ signs.T, order * np.eye(order, dtype=int))
    assert np.all(signs[0] == 1)


def test_class_targets_are_orthogonal_and_too_many_are_refused() -> None:
    signs = np.where(class_targets(15, 16, np.random.default_rng(0)), 1, -1)

    assert np.array_equal(signs @ signs.T, 16 * np.eye(15, dtype=int))
    with pytest.raises(ValueError, match="16 classes"):
        class_targets(16, 16, np.random.default_rng(0))
    with pytest.raises(ValueError, match="order 13 "):
        hadamard(52)


def toy() -> tuple[np.ndarray, GroundTruth]:
    """120 images of 4 classes, far apart in 16 features, each of its own patient."""
    rng = np.random.default_rng(0)
    classes = np.arange(120) % 4
    features = 4 * rng.standard_normal((4, 16))[classes] + 0.1 * rng.standard_normal((120, 16))
    truth = GroundTruth(
        labels=np.eye(4, dtype=bool)[classes],
        names=("a", "b", "c", "d"),
        groups=np.arange(120).astype(str),
        splits=np.repeat(["train", "test"], 60),
        kinds=np.repeat("CT", 120),
    )
    return features.astype(np.float32), truth


def mean_average_precision(relaxed: np.ndarray, truth: GroundTruth) -> float:
    test = task(truth, "P-A", "DB-seen", truth.part("test"), truth.part("train"))
    return float(judge(test, by_codes(pack(relaxed >= 0)))["MAP"].mean())


ABLATIONS = tuple(OPTIONS)[2:]
ON_ANY_FEATURES = [name for name, method in TRAINED.items() if method.head is PlainHead and not method.classifies]


@pytest.mark.parametrize(
    "method",
    [pytest.param(name, marks=pytest.mark.slow) if name in tuple(OPTIONS)[2:] else name for name in ON_ANY_FEATURES],
)
def test_a_few_steps_on_classes_far_apart_reach_a_perfect_ranking(method: str) -> None:
    features, truth = toy()
    train = truth.part("train")
    labels = torch.from_numpy(truth.labels[train]).float()
    torch.manual_seed(0)
    objective = trained(method).objective(Setting(16, truth.labels[train], 0))
    learner = Learner(torch.nn.Identity(), PlainHead((16,), 16), objective)
    targets = Targets(labels, torch.ones_like(labels), torch.arange(len(train)))
    batch = TrainingBatch((torch.from_numpy(features[train]),), targets)
    schedule = Schedule(epochs=1, learning_rate=0.05, trunk_rate=0.0, weight_decay=0.0, patience=0)

    fit(learner, schedule, 150, lambda epoch: [batch] * 150, lambda one: 0.0, 0)

    with torch.inference_mode():
        relaxed = learner((torch.from_numpy(features),)).relaxed
    assert mean_average_precision(relaxed.numpy(), truth) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("method", PROJECTIONS)
@pytest.mark.parametrize("code_length", [16, 32])
def test_projections_keep_classes_far_apart(method: str, code_length: int) -> None:
    features, truth = toy()
    project = PROJECTIONS[method](features[truth.part("train")], code_length, np.random.default_rng(0))

    assert mean_average_precision(project(features), truth) > 0.95
    assert project(features).shape == (120, code_length)


def test_itq_lies_nearer_to_the_corners_than_a_random_rotation() -> None:
    features = toy()[0]

    def gap(iterations: int) -> float:
        from hashing.methods.projections import iterative_quantization

        relaxed = iterative_quantization(features, 8, np.random.default_rng(0), iterations)(features)
        return float(((relaxed - np.where(relaxed >= 0, 1, -1)) ** 2).sum())

    assert gap(50) < gap(0)
