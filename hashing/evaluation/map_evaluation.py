"""Maps that explain matches, judged by radiologists' boxes and by what hiding their highest part does to codes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashing.codes import hamming_distance
from hashing.data import datasets
from hashing.data.boxes import FindingBox, mean_mask, read_boxes
from hashing.data.datasets import Dataset
from hashing.data.pictures import SIDE
from hashing.evaluation.localisation import (
    best_overlap,
    centre_prior,
    energy_in_region,
    highest_part,
    pointing_hit,
)
from hashing.evaluation.uncertainty import Difference, Estimate, Resampling
from hashing.model.encoder import Encoder
from hashing.model.explain import HIDDEN_GREY, Explainer
from hashing.model.overlay import enlarged
from hashing.progress import progress

SET, MODALITY = "nih14k", "DX"
MAX_SEARCHED = 2000
"""Training images that are searched for matches."""
HIDDEN_SHARE = 0.1
"""Share of the image that is hidden in the deletion test."""
NEAREST = 10
"""Former neighbours whose distances the deletion test watches."""
RANDOM_MASKS = 5
CENTRE, MEAN_BOX, RANDOM = "centre prior", "mean box of the finding", "the same masks, moved at random"
MEASURES = {"energy in box": energy_in_region, "pointing game": pointing_hit, "best IoU": best_overlap}


@dataclass(frozen=True, slots=True)
class BoxScore:
    """One measure of one kind of map over all boxes.

    Attributes
    ----------
    name
        Kind of map, or the control.
    measure
        Name in `MEASURES`.
    boxes
        Number of boxes.
    estimate
        Mean over boxes, with its 95 % interval over patients.
    above
        Paired difference to the centre prior and to the mean box; None for controls.
    """

    name: str
    measure: str
    boxes: int
    estimate: Estimate
    above: dict[str, Difference] | None


@dataclass(frozen=True, slots=True)
class DeletionScore:
    """How far a code moves from its former neighbours where a tenth of the image is hidden.

    Attributes
    ----------
    name
        Kind of map that chose what to hide, or the control.
    images
        Number of images.
    estimate
        Mean rise of the Hamming distance to the former ten nearest, bits, with its 95 % interval over patients.
    above
        Paired difference to the control; None for the control.
    """

    name: str
    images: int
    estimate: Estimate
    above: Difference | None


class MapJudge:
    """Maps of the images that have boxes, beside the training images that they are compared with.

    Parameters
    ----------
    encoder, explainer
        Of one model and code length.
    dataset
        Images by `names`, its rows. Those that have boxes are held back.

    Raises
    ------
    ValueError
        An image with a box is a training image, or no image has a box.
    """

    def __init__(
        self, encoder: Encoder, explainer: Explainer, dataset: Dataset, names: list[str], boxes: list[FindingBox]
    ) -> None:
        row_of = {name: row for row, name in enumerate(names)}
        self.encoder, self.explainer, self.dataset = encoder, explainer, dataset
        self.boxes = [box for box in boxes if box.image in row_of]
        self.rows = [row_of[box.image] for box in self.boxes]
        if not self.boxes:
            raise ValueError("no image of the set has a box")
        if set(self.rows) & set(dataset.part("train").tolist()):
            raise ValueError("images with boxes are training images: maps over them would be flattered")
        train = dataset.part("train")
        self.searched = train[:: max(1, len(train) // MAX_SEARCHED)]
        self.codes = self._codes(np.stack([dataset.images[row] for row in self.searched]))
        self.groups = dataset.groups[self.rows]

    def maps(self, number: int) -> dict[str, NDArray[np.float32]]:
        """Maps over the image of a box, at the image's resolution.

        The match is the nearest training image that has the box's finding, so that the finding is what they share.
        """
        image, box = self._image(number), self.boxes[number]
        having = self.dataset.labels[self.searched, self.dataset.names.index(box.finding)]
        distances = np.where(having, hamming_distance(self._codes(image[None])[0], self.codes).astype(int), 1 << 16)
        pair = self.explainer.explain(image, np.asarray(self.dataset.images[self.searched[distances.argmin()]]))
        found = {"shared attention" if pair.shared is not None else "occlusion": pair.reason, "gradient": pair.gradient}
        classes = self.explainer.model.classes
        if pair.shared is not None and box.finding in classes:
            found["attention of the finding"] = self.explainer.class_maps(image)[classes.index(box.finding)]
        return {name: enlarged(np.maximum(one, 0), (SIDE, SIDE)) for name, one in found.items()}

    def controls(self, number: int) -> dict[str, NDArray[np.float64]]:
        """Maps that see no pixel: the middle, and where the finding's boxes of other patients are."""
        finding, patient = self.boxes[number].finding, self.groups[number]
        others = [
            box
            for box, group in zip(self.boxes, self.groups, strict=True)
            if box.finding == finding and group != patient
        ]
        return {CENTRE: centre_prior(SIDE), MEAN_BOX: mean_mask(others, SIDE)}

    def rises(self, number: int, relevance: NDArray[np.float32], rng: np.random.Generator) -> tuple[float, float]:
        """Rise of the mean distance to the former nearest, bits: with a map's highest part hidden, and at random.

        The masks of the control have the shape of the map's, moved around the image.
        """
        image = self._image(number)
        mask = highest_part(relevance, HIDDEN_SHARE)
        moves = rng.integers(SIDE, size=(RANDOM_MASKS, 2)).tolist()
        masks = [mask, *(np.roll(mask, move, axis=(0, 1)) for move in moves)]
        codes = self._codes(np.stack([image, *(np.where(hidden, np.uint8(HIDDEN_GREY), image) for hidden in masks)]))
        nearest = self.codes[np.argsort(hamming_distance(codes[0], self.codes), kind="stable")[:NEAREST]]
        before, ours, *moved = (float(hamming_distance(code, nearest).mean()) for code in codes)
        return ours - before, float(np.mean(moved)) - before

    def _image(self, number: int) -> NDArray[np.uint8]:
        return np.asarray(self.dataset.images[self.rows[number]])

    def _codes(self, images: NDArray[np.uint8]) -> NDArray[np.uint64]:
        return self.encoder.encode(images, [MODALITY] * len(images)).codes


def load_judge(encoder: Encoder, explainer: Explainer, root: Path, cache: Path) -> MapJudge:
    """The judge on the held-back images of `nih14k` that have boxes; errors as for `hashing.data.datasets.load`."""
    names = [Path(example.member).stem for example in datasets.read(SET, root)]
    return MapJudge(encoder, explainer, datasets.load(SET, root, cache), names, read_boxes(root))


def evaluate_maps(judge: MapJudge) -> tuple[list[BoxScore], list[DeletionScore]]:
    """Every map of every box by every measure, beside its controls; and the deletion test."""
    rng, resampling = np.random.default_rng(0), Resampling(judge.groups, np.random.default_rng(0))
    scores: dict[tuple[str, str], list[float]] = {}
    rises: dict[str, list[tuple[float, float]]] = {}
    for number in progress(range(len(judge.boxes)), "judging maps", len(judge.boxes)):
        region, maps = judge.boxes[number].mask(SIDE), judge.maps(number)
        for name, relevance in (maps | judge.controls(number)).items():
            for measure, compute in MEASURES.items():
                scores.setdefault((name, measure), []).append(compute(relevance, region))
        for name, relevance in maps.items():
            rises.setdefault(name, []).append(judge.rises(number, relevance, rng))
    return list(_box_scores(scores, resampling)), list(_deletion_scores(rises, resampling))


def table(boxes: list[BoxScore], deletions: list[DeletionScore]) -> str:
    """Results as Markdown tables."""
    lines = ["| map | measure | boxes | mean | above centre prior | above mean box |", "| --- " * 6 + "|"]
    for row in boxes:
        above = ["" if row.above is None else _interval(row.above[control]) for control in (CENTRE, MEAN_BOX)]
        lines.append(
            f"| {row.name} | {row.measure} | {row.boxes} | {_interval(row.estimate)} | " + " | ".join(above) + " |"
        )
    lines += ["", "| hidden tenth | images | rise of distance, bits | above random |", "| --- " * 4 + "|"]
    for one in deletions:
        above_random = _interval(one.above) if one.above else ""
        lines.append(f"| {one.name} | {one.images} | {_interval(one.estimate)} | {above_random} |")
    return "\n".join(lines)


def _box_scores(scores: dict[tuple[str, str], list[float]], resampling: Resampling) -> Iterator[BoxScore]:
    values = {key: np.array(some) for key, some in scores.items()}
    for (name, measure), some in values.items():
        controls = {control: values[control, measure] for control in (CENTRE, MEAN_BOX)}
        above = {control: resampling.difference(some, theirs) for control, theirs in controls.items()}
        yield BoxScore(name, measure, len(some), resampling.estimate(some), None if name in controls else above)


def _deletion_scores(rises: dict[str, list[tuple[float, float]]], resampling: Resampling) -> Iterator[DeletionScore]:
    for name, pairs in rises.items():
        ours, moved = np.array(pairs).T
        yield DeletionScore(name, len(ours), resampling.estimate(ours), resampling.difference(ours, moved))
        yield DeletionScore(f"{name}: {RANDOM}", len(ours), resampling.estimate(moved), None)


def _interval(one: Estimate | Difference) -> str:
    return f"{one.value:.3f} ({one.low:.3f} to {one.high:.3f})"
