"""Labelled images for training and evaluation, read once through the serving preprocessing and kept in memory maps."""

import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread

from hashing.data.bundled import READERS, TABLES, read_table
from hashing.data.examples import FINDINGS, KINDS, NO_FINDING, Example, with_validation
from hashing.data.published import FORMATS, WHERE
from hashing.images.pixels import network_input, preprocess
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
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.bool_]
    kinds: NDArray[np.int64]
    groups: NDArray[np.str_]
    splits: NDArray[np.str_]
    names: tuple[str, ...] = LABELS
    kind_names: tuple[str, ...] = KINDS

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
    return Dataset(
        images=_cached_images(name, root, cache, examples),
        labels=np.array([[label in example.labels for label in names] for example in examples]),
        kinds=np.array([kinds.index(example.kind) for example in examples]),
        groups=np.array([example.group for example in examples]),
        splits=np.array([example.split for example in examples]),
        names=tuple(names),
        kind_names=tuple(kinds),
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
    for one, other in (("train", "test"), ("validation", "test"), ("train", "validation")):
        shared = sorted(parts[one] & parts[other])
        if shared:
            raise ValueError(f"{name}: in both {one} and {other}: {', '.join(shared[:10])} ({len(shared)} in all)")


def _cached_images(name: str, root: Path, cache: Path, examples: Sequence[Example]) -> NDArray[np.uint8]:
    path = cache / f"{name.replace(':', '-').replace('/', '-')}-{len(examples)}.npy"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npy")
        images = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=(len(examples), 224, 224))
        for row, image in enumerate(progress(_images(root, examples), f"reading {name}", len(examples))):
            images[row] = image
        images.flush()
        partial.rename(path)
    cached: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    return cached


def _images(root: Path, examples: Sequence[Example]) -> Iterator[NDArray[np.uint8]]:
    archives = {example.archive for example in examples}
    zips = {name: zipfile.ZipFile(root / name) for name in archives if name.endswith(".zip")}
    arrays = {name: np.load(root / name) for name in archives if name.endswith(".npz")}
    parts = {
        (name, part): file[part] for name, file in arrays.items() for part in file.files if part.endswith("images")
    }
    for example in examples:
        if example.archive in arrays:
            part, number = example.member.split("/")
            pixels = parts[example.archive, part][int(number)]
            yield _from_picture(Image.fromarray(pixels))
        elif example.archive in zips:
            yield _from_bytes(zips[example.archive].read(example.member))
        else:
            yield _from_bytes((root / example.archive / example.member).read_bytes())


def _from_bytes(content: bytes) -> NDArray[np.uint8]:
    if content[128:132] == b"DICM":
        return network_input(dcmread(io.BytesIO(content)))
    with Image.open(io.BytesIO(content)) as image:
        return _from_picture(image)


def _from_picture(image: Image.Image) -> NDArray[np.uint8]:
    return preprocess(sitk.GetImageFromArray(np.asarray(image.convert("L"))))
