"""The graph of labels that occur together."""

import csv
import gzip
from math import log
from pathlib import Path

import numpy as np
import pytest

from hashing.data.examples import FINDINGS
from hashing.methods.label_cooccurrence.label_graph import Cooccurrence, adjacency, edge_weights, similarity

LABELS = np.array(
    [
        [1, 1, 0, 0],
        [1, 1, 0, 0],
        [1, 0, 0, 0],
        [1, 0, 1, 0],
        [0, 0, 0, 1],
        [0, 0, 0, 1],
        [0, 0, 0, 1],
        [0, 0, 0, 0],
    ],
    bool,
)  # labels 0 and 1 twice together, 0 and 2 once; 3 is always alone, as No Finding is
COOCCURRENCE = Cooccurrence.of_labels(LABELS)


def test_counts_are_of_images_that_have_both_labels() -> None:
    assert COOCCURRENCE.counts.tolist() == [[4, 2, 1, 0], [2, 2, 0, 0], [1, 0, 1, 0], [0, 0, 0, 3]]
    assert COOCCURRENCE.n_images == 8


def test_conditional_shares_and_mutual_information_are_those_computed_by_hand() -> None:
    assert COOCCURRENCE.conditional[0].tolist() == [1, 0.5, 0.25, 0]
    assert COOCCURRENCE.conditional[2].tolist() == [1, 0, 1, 0]
    # P(0, 1) = 2/8 over 4/8 * 2/8, and P(0, 2) = 1/8 over 4/8 * 1/8
    assert COOCCURRENCE.positive_pmi[0].tolist() == pytest.approx([0, log(2), log(2), 0])


def test_an_edge_goes_to_a_label_that_often_accompanies_another() -> None:
    equal = edge_weights(COOCCURRENCE, 0.4, "equal")
    weighted = edge_weights(COOCCURRENCE, 0.25, "pmi")

    assert equal.tolist() == [[0, 1, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert np.count_nonzero(weighted) == 4
    assert weighted[0].tolist() == pytest.approx([0, log(2), log(2), 0])


def test_labels_that_meet_less_often_than_by_chance_have_no_edge_by_mutual_information() -> None:
    labels = np.repeat(np.array([[1, 0], [0, 1], [1, 1]], bool), [3, 3, 2], axis=0)

    assert np.count_nonzero(edge_weights(Cooccurrence.of_labels(labels), 0.1, "equal")) == 2
    assert not edge_weights(Cooccurrence.of_labels(labels), 0.1, "pmi").any()


def test_a_label_shares_a_fifth_among_its_neighbours_and_a_lonely_one_keeps_all_for_itself() -> None:
    mixing = adjacency(edge_weights(COOCCURRENCE, 0.25, "equal"), 0.2)

    assert mixing[0].tolist() == pytest.approx([0.8, 0.1, 0.1, 0])
    assert mixing[1].tolist() == pytest.approx([0.2, 0.8, 0, 0])
    assert mixing[3].tolist() == pytest.approx([0, 0, 0, 1])


def test_single_labels_have_the_identity_and_a_label_without_an_image_divides_by_nothing() -> None:
    single = Cooccurrence.of_labels(np.eye(4, dtype=bool)[[0, 1, 1, 2]])  # label 3 has no image

    weights = edge_weights(single, 0.1, "pmi")

    assert np.allclose(adjacency(weights, 0.2), np.eye(4))
    assert not similarity(weights).any()
    assert single.conditional[3].tolist() == [0, 0, 0, 0]


def test_likeness_is_symmetric_from_zero_to_one() -> None:
    likeness = similarity(edge_weights(COOCCURRENCE, 0.4, "equal"))

    assert np.array_equal(likeness, likeness.T)
    assert likeness[0].tolist() == [0, 1, 0.5, 0]  # two edges, and one
    assert not np.diag(likeness).any()


def test_another_order_of_labels_gives_the_same_graph_in_that_order() -> None:
    order = np.array([2, 0, 3, 1])
    permuted = edge_weights(Cooccurrence.of_labels(LABELS[:, order]), 0.25, "pmi")

    assert np.allclose(permuted, edge_weights(COOCCURRENCE, 0.25, "pmi")[order][:, order])


def test_thresholds_shares_and_weightings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        edge_weights(COOCCURRENCE, 0.0, "pmi")
    with pytest.raises(ValueError, match="choose of pmi, equal"):
        edge_weights(COOCCURRENCE, 0.1, "lift")
    with pytest.raises(ValueError, match="below 1"):
        adjacency(np.zeros((2, 2)), 1.0)


def training_labels(path: Path, split: str, part: str) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """Labels of the images of one part of ChestX-ray14."""
    with gzip.open(path, "rt", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row[split] == part]
    return np.array([[row[name] == "1" for name in FINDINGS] for row in rows])


@pytest.mark.shared
@pytest.mark.parametrize(
    ("split", "part", "edges"),
    [
        ("split_official", "train_val", {0.05: 80, 0.1: 48, 0.15: 28, 0.4: 1}),
        ("split_chexnet", "train", {0.05: 89, 0.1: 48, 0.15: 31, 0.4: 2}),
    ],
)
def test_the_usual_threshold_leaves_the_graph_of_chest_radiographs_without_edges(
    split: str, part: str, edges: dict[float, int], shared_data: Path
) -> None:
    found = Cooccurrence.of_labels(training_labels(shared_data / "chestxray14/labels.csv.gz", split, part))

    assert {limit: np.count_nonzero(edge_weights(found, limit, "equal")) for limit in edges} == edges


def test_labels_that_sets_do_not_know_of_each_other_are_counted_where_both_are_known() -> None:
    labels = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 1]], bool)
    known = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1], [0, 0, 1]], bool)

    found = Cooccurrence.of_known(labels, known)

    assert found.counts.tolist() == [[2, 1, 0], [1, 1, 0], [0, 0, 2]]
    assert found.positive_pmi[0, 1] == pytest.approx(log(2 * 1 / (2 * 1)))  # of the two images that know both
    assert Cooccurrence.of_labels(labels).positive_pmi[0, 1] == pytest.approx(log(4 * 1 / (2 * 1)))


def test_a_label_left_out_occurs_with_no_other_and_keeps_its_number() -> None:
    found = Cooccurrence.of_labels(np.array([[1, 1, 1], [1, 0, 1]], bool))

    assert found.without([2]).counts.tolist() == [[2, 1, 0], [1, 1, 0], [0, 0, 2]]
    assert found.counts[0, 2] == 2


@pytest.mark.shared
def test_the_graph_of_chest_radiographs_has_the_published_counts(shared_data: Path) -> None:
    folder = shared_data / "chestxray14"
    with (folder / "cooccurrence_train_val.csv").open(newline="") as file:
        published = np.array([[int(row[name]) for name in FINDINGS] for row in csv.DictReader(file)])

    found = Cooccurrence.of_labels(training_labels(folder / "labels.csv.gz", "split_official", "train_val"))

    assert np.array_equal(found.counts, published)
    lift = np.exp(found.positive_pmi)
    assert lift[FINDINGS.index("Edema"), FINDINGS.index("Pneumonia")] == pytest.approx(11.7, rel=0.1)
