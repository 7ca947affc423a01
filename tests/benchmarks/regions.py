"""Does a region query find its lesion? python -m tests.benchmarks.regions [--quick] [--patients N] [--json FILE].

Sections of the phantom hospital that show a nodule, a mass or a brain tumour ask for look-alikes of other patients: by
the whole image, by the region of the lesion cut out and enlarged, and by the features at that region, as the node does:
compared with whole images, or with `region_codes` also with the parts of images. Counted is how many of the first
answers, one of each patient, show a lesion of that kind; chance is the part of the candidates of that modality that do.
Intervals resample patients.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from hashing.evaluation.uncertainty import Resampling
from hashing.images.pixels import decode, preprocess
from hashing.model.encoder import Encoder, Encoding
from hashing.model.region_encoder import PARTS, RegionEncoder
from hashing.phantoms.body.anatomy import Anatomy
from hashing.phantoms.body.chest import chest
from hashing.phantoms.body.head import head
from hashing.phantoms.body.person import person
from hashing.phantoms.body.shape import Solid
from hashing.phantoms.instance import instance
from hashing.phantoms.schedule import schedule
from node.examples.crop import cropped, region_of_input
from node.examples.regions import Region
from tests.benchmarks.report import Row, parser, publish

LESIONS: Final = {"nodule": "lesion", "mass": "lesion", "brain tumour": "tumour"}
"""Tissue of each kind of lesion."""
MARGIN: Final = 0.5
"""What a reader draws beyond a lesion, in its size, on both sides together."""
FIRST: Final = 5
SIZE: Final = 224


@dataclass(frozen=True, slots=True)
class Section:
    """One section with what it shows.

    Attributes
    ----------
    kinds
        Lesions that it shows.
    box
        Region of its lesion; None without one, or where it is too small to be drawn.
    inputs : (n, SIZE, SIZE)
        The whole image, and if there is a lesion what is cut out of it.
    lesion
        `box` in the whole image as network input.
    """

    patient: int
    modality: str
    kinds: frozenset[str]
    box: Region | None
    inputs: NDArray[np.uint8]
    lesion: Region | None


def main() -> None:
    """Print and write all rows."""
    options = parser(__doc__)
    options.add_argument("--patients", type=int, help="number of patients")
    options.add_argument("--seed", type=int, default=7)
    given = options.parse_args()
    patients = given.patients or (16 if given.quick else 80)
    publish(list(rows(*encoded(patients, given.seed), given.seed)), given.json)


def encoded(patients: int, seed: int) -> tuple[list[Section], list[Encoding]]:
    """Sections of a hospital, and of each the encoding of the whole, its parts, and of its lesion in three ways."""
    sections, encodings, encoder = list[Section](), list[Encoding](), Encoder.load(device="cpu")
    regional = RegionEncoder.load(device="cpu")
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for made in pool.map(partial(sections_of, seed), range(patients)):
            for one in made:
                whole, cut_out = encoder.encode(one.inputs, [one.modality] * len(one.inputs)).split([1])
                image, lesion = one.inputs[0], [one.lesion] if one.lesion else []
                widened = [regional.encode(image, lesion, one.modality)] if lesion else []
                fine = regional.encode(image, [*PARTS, *lesion], one.modality, is_fine=True)
                encodings.append(Encoding.joined([whole, cut_out, *widened, *fine.split([len(PARTS)])[::-1]]))
                sections.append(one)
    return sections, encodings


def sections_of(seed: int, number: int) -> list[Section]:
    """All cross-sections of a patient."""
    return list(_sections(seed, number))


def _sections(seed: int, number: int) -> Iterator[Section]:
    who = person(number, seed)
    for series in schedule(number):
        if series.modality not in ("CT", "MR"):
            continue
        anatomy = head(who) if series.body_part == "HEAD" else chest(who, series.visit)
        for index in range(series.images):
            dataset, level = instance(who, series, index, anatomy)
            kinds = frozenset(anatomy.findings_at(level)) & frozenset(LESIONS)
            box = lesion_box(dataset, anatomy, next(iter(kinds))) if kinds else None
            picture = decode(dataset)
            lesion = region_of_input(picture, box, SIZE) if box else None
            inputs = [preprocess(picture, SIZE), *([cropped(picture, box, SIZE)] if box else [])]
            yield Section(number, series.modality, kinds, box, np.stack(inputs), lesion)


def lesion_box(dataset: Dataset, anatomy: Anatomy, kind: str) -> Region | None:
    """Region that a reader would draw around the lesion in an axial section; None if it is hardly seen there."""
    z = float(dataset.ImagePositionPatient[2])
    solids = [part for part in anatomy.parts if isinstance(part, Solid) and part.tissue == LESIONS[kind]]
    cut = [part.at(z)[:, 0] for part in solids if part.heights[0] < z < part.heights[-1]]
    if not cut:
        return None
    low = np.min([ellipse[:2] - ellipse[2:] for ellipse in cut], axis=0)
    high = np.max([ellipse[:2] + ellipse[2:] for ellipse in cut], axis=0)
    spacing, corner = float(dataset.PixelSpacing[0]), np.array(dataset.ImagePositionPatient[:2], float)
    first, last = (low - corner) / spacing, (high - corner) / spacing
    if min(last - first) < 8:
        return None
    margin = MARGIN / 2 * (last - first)
    sides = np.array([dataset.Columns, dataset.Rows])
    first, last = (
        np.clip(first - margin, 0, sides - 1).astype(int) + 1,
        np.clip(last + margin, 0, sides - 1).astype(int) + 1,
    )
    return int(first[0]), int(first[1]), int(last[0]), int(last[1])


def rows(sections: Sequence[Section], encodings: Sequence[Encoding], seed: int) -> Iterator[Row]:
    """Rates of each way to ask, and their differences from the whole image."""
    queries = [index for index, one in enumerate(sections) if one.box is not None]
    groups = np.array([str(sections[index].patient) for index in queries])
    draws = Resampling(groups, np.random.default_rng(seed))
    whole, parts = [0], [0, *range(-len(PARTS), 0)]
    found = {("whole image", "whole images"): _rates(sections, encodings, queries, 0, whole)}
    found["region, cut out", "whole images"] = _rates(sections, encodings, queries, 1, whole)
    found["region, pooled and widened", "whole images"] = _rates(sections, encodings, queries, 2, whole)
    found["region, pooled from the doubled image", "whole images"] = _rates(sections, encodings, queries, 3, whole)
    found["region, pooled from the doubled image", "images and parts"] = _rates(sections, encodings, queries, 3, parts)
    chance = np.array([_chance(sections, sections[index]) for index in queries])
    kinds = np.array([next(iter(sections[index].kinds)) for index in queries])
    for kind in (*LESIONS, "any lesion"):
        which = np.ones(len(queries), bool) if kind == "any lesion" else kinds == kind
        if not which.any():
            continue
        yield from _rows_of(kind, which, found, chance, draws, len(set(groups[which])))


def _rates(
    sections: Sequence[Section], encodings: Sequence[Encoding], queries: Sequence[int], row: int, parts: list[int]
) -> NDArray[np.float64]:
    """Part of the first answers of each query that show its kind of lesion; ordered as the node does."""
    codes = np.stack([encoding.relaxed[parts] >= 0 for encoding in encodings])  # (sections, parts, bits)
    patients = np.array([one.patient for one in sections])
    rates = []
    for query in queries:
        kind, relaxed = next(iter(sections[query].kinds)), encodings[query].relaxed[row]
        differs = codes != (relaxed >= 0)
        distance = differs.sum(axis=2) + (differs * np.abs(relaxed)).sum(axis=2) / 1e4  # ties by the weighted distance
        nearest = distance.min(axis=1)
        nearest[patients == patients[query]] = np.inf
        answers = list[int]()
        for one in np.argsort(nearest, kind="stable"):
            if patients[one] not in patients[answers]:
                answers.append(int(one))
            if len(answers) == FIRST:
                break
        rates.append(np.mean([kind in sections[one].kinds for one in answers]))
    return np.array(rates)


def _chance(sections: Sequence[Section], query: Section) -> float:
    """Part of the other patients' sections of the query's modality that show its kind of lesion."""
    kind = next(iter(query.kinds))
    others = [one for one in sections if one.patient != query.patient and one.modality == query.modality]
    return float(np.mean([kind in one.kinds for one in others]))


def _rows_of(
    kind: str,
    which: NDArray[np.bool_],
    found: dict[tuple[str, str], NDArray[np.float64]],
    chance: NDArray[np.float64],
    draws: Resampling,
    patients: int,
) -> Iterator[Row]:
    whole = np.where(which, found["whole image", "whole images"], np.nan)
    expected = 100 * float(chance[which].mean())
    for (asked, among), values in found.items():
        rate, gain = (
            draws.estimate(np.where(which, values, np.nan)),
            draws.estimate(np.where(which, values, np.nan) - whole),
        )
        work = f"{kind}: {asked} among {among}, {int(which.sum())} queries of {patients} patients"
        interval = (
            f"95 % {100 * rate.low:.1f} to {100 * rate.high:.1f}; gain {100 * gain.low:+.1f} to {100 * gain.high:+.1f}"
        )
        yield Row(
            f"{work} ({interval})",
            "% of first 5",
            100 * rate.value,
            {"chance": expected},
            ratio=100 * rate.value / expected,
        )


if __name__ == "__main__":
    main()
