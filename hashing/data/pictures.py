"""Pictures of a set, read from zip files, arrays and folders through the preprocessing that serves queries."""

import io
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread

from hashing.data.examples import Example
from hashing.images.pixels import network_input, preprocess

SIDE = 224
"""Side of the images that `preprocess` makes, pixels."""
JPEG_QUALITY = 87
"""Quality at which the files of 128 pixels of `nih14k` were encoded, and so are the reduced ones."""


def pictures(root: Path, examples: Sequence[Example]) -> Iterator[tuple[NDArray[np.uint8], int]]:
    """Each image as (224, 224), with the number of pixels that it had before."""
    archives = {example.archive for example in examples}
    zips = {name: zipfile.ZipFile(root / name) for name in archives if name.endswith(".zip")}
    arrays = {name: np.load(root / name) for name in archives if name.endswith(".npz")}
    parts = {
        (name, part): file[part] for name, file in arrays.items() for part in file.files if part.endswith("images")
    }
    for example in examples:
        if example.archive in arrays:
            part, number = example.member.split("/")
            yield _from_picture(Image.fromarray(parts[example.archive, part][int(number)]), example.max_side)
        elif example.archive in zips:
            yield picture_input(zips[example.archive].read(example.member), example.max_side)
        else:
            yield picture_input((root / example.archive / example.member).read_bytes(), example.max_side)


def reduced(picture: Image.Image, max_side: int) -> Image.Image:
    """The picture with a long side of at most `max_side`, through JPEG at `JPEG_QUALITY` if it was larger."""
    longest = max(picture.size)
    if longest <= max_side:
        return picture
    width, height = (max(1, round(side * max_side / longest)) for side in picture.size)
    encoded = io.BytesIO()
    picture.resize((width, height), Image.Resampling.LANCZOS).save(encoded, "jpeg", quality=JPEG_QUALITY)
    return Image.open(encoded)


def picture_input(content: bytes, max_side: int = 0) -> tuple[NDArray[np.uint8], int]:
    """The network's input (224, 224) of a DICOM object or a picture, and the number of pixels that it had before.

    Parameters
    ----------
    max_side
        As in `hashing.data.examples.Example`; it does not concern DICOM objects.
    """
    if content[128:132] == b"DICM":
        dataset = dcmread(io.BytesIO(content))
        return network_input(dataset), int(dataset.Rows) * int(dataset.Columns)
    with Image.open(io.BytesIO(content)) as picture:
        return _from_picture(picture, max_side)


def _from_picture(picture: Image.Image, max_side: int) -> tuple[NDArray[np.uint8], int]:
    grey = picture.convert("L")
    if max_side:
        grey = reduced(grey, max_side)
    return preprocess(sitk.GetImageFromArray(np.asarray(grey))), grey.width * grey.height
