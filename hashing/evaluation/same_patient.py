"""How well codes tell patients apart: whether the nearest image is of the same patient, and the area under the ROC.

Images of one patient look alike, so that codes are personal data though they hold no name.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes, hamming_distance, prefix
from hashing.data import datasets
from hashing.data.examples import modality_of
from hashing.model.encoder import Encoder, Encoding
from hashing.model.model_file import read_model
from hashing.progress import progress

BATCH = 64


@dataclass(frozen=True, slots=True)
class PatientRate:
    """How well codes of one length tell the patient: by the nearest image, and by distance.

    Attributes
    ----------
    queries
        Images whose patient has another one among `images`.
    precision
        Share of queries whose nearest other image is of the same patient; equally near ones count by their share.
    chance
        The same for a random order.
    auc
        Chance that an image of the same patient is nearer than one of another patient; equal distances count half.
    """

    code_length: int
    queries: int
    images: int
    precision: float
    chance: float
    auc: float


def evaluate_patients(model: Path, name: str, root: Path, cache: Path) -> Iterator[PatientRate]:
    """Rates on the test images of a set at each code length of a model.

    Parameters and errors are those of `hashing.evaluation.evaluate.evaluate`.
    """
    lengths = read_model(model).architecture.code_lengths
    encoder, dataset = Encoder.load(model, max(lengths)), datasets.load(name, root, cache)
    rows = dataset.part("test")
    modalities = [modality_of(dataset.kind_names[kind]) for kind in dataset.kinds[rows]]
    starts = range(0, len(rows), BATCH)
    parts = [
        encoder.encode(dataset.images[rows[start : start + BATCH]], modalities[start : start + BATCH])
        for start in progress(starts, f"encoding {name}", len(starts))
    ]
    codes, patients = Encoding.joined(parts).codes, np.array(dataset.groups)[rows]
    for length in lengths:
        yield patient_rate(prefix(codes, length), patients, length)


def patient_rate(codes: Codes, patients: NDArray[np.str_], code_length: int) -> PatientRate:
    """Rate of codes (n, words) whose patients (n,) are known.

    Raises
    ------
    ValueError
        No patient has two images.
    """
    hits, chances, aucs = [], [], []
    for row, code in enumerate(codes):
        others = np.arange(len(codes)) != row
        same = patients[others] == patients[row]
        if not same.any():
            continue
        distances = hamming_distance(code, codes)[others].astype(np.int64)
        hits.append(same[distances == distances.min()].mean())
        chances.append(same.mean())
        aucs.append(_area(distances, same, code_length))
    if not hits:
        raise ValueError("no patient has two images: nothing can be said of patients")
    values = (float(np.mean(some)) for some in (hits, chances, aucs))
    return PatientRate(code_length, len(hits), len(codes), *values)


def table(rates: list[PatientRate]) -> str:
    """Results as a Markdown table."""
    lines = [
        "| bits | queries | images | nearest is of the same patient | by chance | AUC |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {one.code_length} | {one.queries:,} | {one.images:,} "
        f"| {one.precision:.1%} | {one.chance:.2%} | {one.auc:.3f} |"
        for one in rates
    ]
    return "\n".join(lines)


def _area(distances: NDArray[np.int64], same: NDArray[np.bool_], code_length: int) -> float:
    """Area under the ROC curve from counts by distance (Mann-Whitney)."""
    of_same, of_others = (np.bincount(distances[some], minlength=code_length + 1) for some in (same, ~same))
    farther = of_others.sum() - np.cumsum(of_others)
    return float((of_same * (farther + of_others / 2)).sum() / (of_same.sum() * of_others.sum()))
