"""How far codes of a model move when the same image comes otherwise: reduced, compressed, turned, of another window.

A model that reads sharpness instead of content moves as far as to another image. Codes of held-back images should move
less than a fourth of the distance between different images.
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hashing.codes import unpack
from hashing.data import datasets
from hashing.data.examples import modality_of
from hashing.model.encoder import Encoder

MAX_IMAGES = 200
"""Held-back images of a set that are encoded."""


@dataclass(frozen=True, slots=True)
class Drift:
    """Distances that the codes of a set move under one change of its images.

    Attributes
    ----------
    change
        Name in `CHANGES`.
    images
        Number of images that were changed.
    moved
        Mean number of bits that differ between an image and the changed image.
    between
        Mean number of bits that differ between two different images.
    """

    dataset: str
    change: str
    images: int
    moved: float
    between: float

    @property
    def share(self) -> float:
        """`moved` as a share of `between`; infinite where all codes are equal."""
        return self.moved / self.between if self.between else float("inf")


def reduced(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The image at a resolution of `side` pixels, enlarged to its size again."""
    picture = Image.fromarray(image)
    small = picture.resize((side, side), Image.Resampling.LANCZOS)
    return np.asarray(small.resize(picture.size, Image.Resampling.BILINEAR))


def compressed(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """The image through JPEG."""
    encoded = io.BytesIO()
    Image.fromarray(image).save(encoded, "jpeg", quality=quality)
    with Image.open(encoded) as decoded:
        return np.array(decoded)


def turned(image: NDArray[np.uint8], degrees: float) -> NDArray[np.uint8]:
    """The image turned about its middle, black where nothing is known."""
    return np.asarray(Image.fromarray(image).rotate(degrees, Image.Resampling.BILINEAR))


def shifted(image: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
    """The image moved to the right and down by a share of its side, black where nothing is known."""
    pixels = round(share * image.shape[0])
    moved = np.zeros_like(image)
    moved[pixels:, pixels:] = image[: image.shape[0] - pixels, : image.shape[1] - pixels]
    return moved


def windowed(image: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """The image in a window that is wider by a factor, about the same centre."""
    grey = (image.astype(np.float64) - 127.5) / factor + 127.5
    return np.asarray(np.rint(grey.clip(0, 255)), np.uint8)


def bordered(image: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
    """The image smaller, in a black border whose width is a share of the side."""
    side, width = image.shape[0], round(share * image.shape[0])
    framed = np.zeros_like(image)
    small = Image.fromarray(image).resize((side - 2 * width, side - 2 * width), Image.Resampling.BILINEAR)
    framed[width : side - width, width : side - width] = np.asarray(small)
    return framed


CHANGES: dict[str, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    "reduced to 128 pixels": lambda image: reduced(image, 128),
    "reduced to 64 pixels": lambda image: reduced(image, 64),
    "JPEG of quality 90": lambda image: compressed(image, 90),
    "JPEG of quality 50": lambda image: compressed(image, 50),
    "window 10 % wider": lambda image: windowed(image, 1.1),
    "turned by 5 degrees": lambda image: turned(image, 5.0),
    "shifted by 3 %": lambda image: shifted(image, 0.03),
    "border of 5 %": lambda image: bordered(image, 0.05),
    "inverted": lambda image: 255 - image,
}
"""Changes that another machine, archive or viewer makes to an image; inverted as where MONOCHROME1 is said wrongly."""


def evaluate_drift(encoder: Encoder, names: tuple[str, ...], root: Path, cache: Path) -> Iterator[Drift]:
    """Drift of test images of each set under each of `CHANGES`; parameters as for `hashing.evaluation.evaluate`."""
    for name in names:
        dataset = datasets.load(name, root, cache)
        rows = np.random.default_rng(0).permutation(dataset.part("test"))[:MAX_IMAGES]
        images = np.stack([dataset.images[row] for row in rows])
        modalities = [modality_of(dataset.kind_names[dataset.kinds[row]]) for row in rows]

        def bits(pictures: NDArray[np.uint8], families: list[str] = modalities) -> NDArray[np.bool_]:
            """Codes of pictures, (n, code_length)."""
            return unpack(encoder.encode(pictures, families).codes, encoder.code_length)

        as_they_are = bits(images)
        distances = (as_they_are[:, None] != as_they_are[None]).sum(axis=2)
        between = float(distances[~np.eye(len(rows), dtype=bool)].mean())
        for change, apply in CHANGES.items():
            moved = float((bits(np.stack([apply(image) for image in images])) != as_they_are).sum(axis=1).mean())
            yield Drift(name, change, len(rows), moved, between)


def table(results: list[Drift]) -> str:
    """Results as a Markdown table."""
    lines = [
        "| set | change | images | bits moved | bits between different images | share |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row.dataset} | {row.change} | {row.images:,} | {row.moved:.1f} | {row.between:.1f} | {row.share:.2f} |"
        for row in results
    ]
    return "\n".join(lines)
