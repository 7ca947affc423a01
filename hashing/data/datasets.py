"""Labelled images for training and evaluation, read once through the serving preprocessing and cached."""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashing.data.bundled import READERS, TABLES, read_table
from hashing.data.examples import FINDINGS, KINDS, NO_FINDING, Example, with_validation
from hashing.data.pictures import SIDE, pictures
from hashing.data.published import FORMATS, WHERE
from hashing.progress import progress

__all__ = ["FINDINGS", "KINDS", "LABELS", "NO_FINDING", "Dataset", "load"]
LABELS = (
    *FINDINGS, NO_FINDING,
    "child_normal", "child_bacterial_pneumonia", "child_viral_pneumonia",
    "brain_glioma", "brain_meningioma", "brain_pituitary",
    "lung_malignant", "lung_benign", "lung_normal",
    "breast_malignant", "breast_benign", "breast_normal",
)  # fmt: skip
"""Labels that the shipped model tells apart."""
READING = 2
"""Version of the way pictures are read: another number makes caches anew."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Images with their labels.

    Attributes
    ----------
    images : (n, 224, 224) uint8, memory-mapped
    labels : (n, len(names)) bool
    names
        Names of the labels.
    kinds : (n,) int
        Index into `kind_names`: modality and body part.
    groups : (n,) str
        Patient where known, else the group of near-identical images.
    splits : (n,) str
        "train", "validation" (carved from train by group where a set has none) or "test".
    source_pixels : (n,) int
        Number of pixels that each image had before it became 224 x 224.
    sources : (n,) str
        File, collection or hospital that each image comes from.
    blocks : (n,) str
        Patient-like blocks for the estimation of intervals; `groups` where a set has none.
    levels : (n,) float
        Level of each section as a share of the length of its region, NaN where it is not known.
    digest
        Checksum of what was read and how: caches of what is computed from the images carry it in their names.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.bool_]
    kinds: NDArray[np.int64]
    groups: NDArray[np.str_]
    splits: NDArray[np.str_]
    names: tuple[str, ...] = LABELS
    kind_names: tuple[str, ...] = KINDS
    source_pixels: NDArray[np.int64] | None = None
    sources: NDArray[np.str_] | None = None
    blocks: NDArray[np.str_] | None = None
    levels: NDArray[np.float32] | None = None
    digest: str = ""

    def part(self, *splits: str) -> NDArray[np.int64]:
        """Row numbers of the named parts, ascending."""
        return np.flatnonzero(np.isin(self.splits, splits))


def load(name: str, root: Path, cache: Path, names: Sequence[str] = LABELS, kinds: Sequence[str] = KINDS) -> Dataset:
    """A set by name.

    Parameters
    ----------
    name
        Of `hashing.data.bundled`: "nih14k", "paediatric", "dafh" (without radiographs whose terms forbid shipping),
        "covid_normal", "hannover", "mednist", "tcia_ct", "nih_dx", "phantoms"; or "FORMAT:PATH" of
        `hashing.data.published`, as "chestxray14:nih" or "medmnist:chestmnist.npz".
    root
        Folder that holds `chestxray14/`, `other_cxr/` and `multimodality/`, or that PATH is relative to.
    cache
        Folder for the preprocessed images, made on the first call.
    names, kinds
        Labels and kinds that get a number, in this order; where empty, those that occur in the set.

    Raises
    ------
    FileNotFoundError
        The set is not under `root`; says where it comes from.
    ValueError
        There is no such set, or a group is in two parts of it.
    """
    examples = list(read(name, root))
    _check_disjoint(name, examples)
    names = names or _occurring(examples)
    kinds = kinds or sorted({example.kind for example in examples})
    unknown = sorted({example.kind for example in examples} - set(kinds))
    if unknown:
        raise ValueError(f"{name} has images of {', '.join(unknown)}: the model knows {', '.join(kinds)} only")
    digest = digest_of(examples)
    images, source_pixels = _cached_images(name, root, cache, examples, digest)
    return Dataset(
        images=images,
        labels=np.array([[label in example.labels for label in names] for example in examples]),
        kinds=np.array([kinds.index(example.kind) for example in examples]),
        groups=np.array([example.group for example in examples]),
        splits=np.array([example.split for example in examples]),
        names=tuple(names),
        kind_names=tuple(kinds),
        source_pixels=source_pixels,
        sources=np.array([example.source or example.archive for example in examples]),
        blocks=np.array([example.block or example.group for example in examples]),
        levels=np.array([example.level for example in examples], np.float32),
        digest=digest,
    )


def read(name: str, root: Path) -> Iterator[Example]:
    """The examples of a set; where it has no validation part, a tenth of its training groups becomes that."""
    examples = list(_reader(name, root))
    own = any(example.split == "validation" for example in examples)
    for example in examples:
        yield example if own else replace(example, split=with_validation(example.group, example.split))


def _reader(name: str, root: Path) -> Iterable[Example]:
    form, _, path = name.partition(":")
    try:
        if form in FORMATS and path:
            return list(FORMATS[form](root, path))
        if name in TABLES:
            return list(read_table(root, TABLES[name]))
        if name in READERS:
            return list(READERS[name](root))
    except FileNotFoundError as error:
        help_ = WHERE.get(form, "NOTICE says where sets come from")
        raise FileNotFoundError(f"{name} is not complete below {root}: {error}. {help_}") from error
    known = [*READERS, *TABLES, *(f"{form}:PATH" for form in FORMATS)]
    raise ValueError(f"no data set {name!r}: choose of {', '.join(known)}")


def _occurring(examples: Sequence[Example]) -> list[str]:
    """Labels that occur: findings in NIH's order, then others by name."""
    occurring = {label for example in examples for label in example.labels}
    nih = [name for name in (*FINDINGS, NO_FINDING) if name in occurring]
    return [*nih, *sorted(occurring.difference(nih))]


def _check_disjoint(name: str, examples: Sequence[Example]) -> None:
    parts = {
        split: {example.group for example in examples if example.split == split}
        for split in ("train", "validation", "test")
    }
    for first, second in (("train", "test"), ("validation", "test"), ("train", "validation")):
        shared = sorted(parts[first] & parts[second])
        if shared:
            raise ValueError(f"{name}: in both {first} and {second}: {', '.join(shared[:10])} ({len(shared)} in all)")


def digest_of(examples: Sequence[Example]) -> str:
    """Checksum, as eight hexadecimal digits, of the files of a set and of the way they are read."""
    lines = [f"{READING} {example.archive} {example.member} {example.max_side}" for example in examples]
    return f"{zlib.crc32(chr(10).join(lines).encode()):08x}"


def _cached_images(
    name: str, root: Path, cache: Path, examples: Sequence[Example], digest: str
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (n, 224, 224), and the number of pixels that each had before (n,)."""
    path = cache / f"{name.replace(':', '-').replace('/', '-')}-{digest}.npy"
    pixels_path = path.with_suffix(".pixels.npy")
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npy")
        images = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=(len(examples), SIDE, SIDE))
        pixels = np.empty(len(examples), np.int64)
        for row, picture in enumerate(progress(pictures(root, examples), f"reading {name}", len(examples))):
            images[row], pixels[row] = picture
        images.flush()
        np.save(pixels_path, pixels)
        partial.rename(path)
    cached: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    return cached, np.asarray(np.load(pixels_path))
