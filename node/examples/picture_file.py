"""A PNG or JPEG as an example: read in decode workers that may be killed, without torch."""

import hashlib
from pathlib import Path
from typing import Final

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from hashing.images.pixels import Limits, PixelError, preprocess
from node.examples.crop import region_of_input
from node.examples.regions import Region
from node.ingest.outcome import Prepared
from storage.record import Record, patient_key
from storage.vault import CLEAR, Vault

FORMATS: Final = {".png": "PNG", ".jpg": "JPEG"}
"""Format of a picture by the suffix of its file."""
NO_UID: Final = "2.25.0"
"""UID of a picture, which is no DICOM object; nothing indexed has it."""
PERCENTILES: Final = (0.5, 99.5)
"""What becomes black and white of a picture of more than 8 bits, as for DICOM images without a window."""


def prepare_picture(path: Path, region: Region | None, size: int, limits: Limits, vault: Vault = CLEAR) -> Prepared:
    """Read and preprocess a picture, and find where a region of it lies then.

    Raises
    ------
    PixelError
        ``undecodable``, ``too large``, ``region outside``.
    """
    try:
        with vault.open(path) as file, Image.open(file, formats=[FORMATS[path.suffix]]) as picture:
            if picture.width * picture.height > limits.pixels:
                raise PixelError("too large", f"the picture has more than {limits.pixels} pixels")
            grey = sitk.GetImageFromArray(_grey(ImageOps.exif_transpose(picture)))
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise PixelError("undecodable", "the file is not the picture that its media type says") from error
    within = None if region is None else region_of_input(grey, region, size)
    image = preprocess(grey, size)[None]
    digest = hashlib.sha256(image.tobytes()).digest()
    record = Record(
        sop_instance_uid=NO_UID,
        series_instance_uid=NO_UID,
        study_instance_uid=NO_UID,
        patient_key=patient_key("", "", NO_UID),
        patient={},
        study={},
        series={},
        instance={},
        frames=(0,),
        content_digest=digest,
        received_ns=1,
    )
    return Prepared(record, image, int.from_bytes(digest[:8], "little"), within)


def _grey(picture: Image.Image) -> NDArray[np.uint8]:
    if not picture.mode.startswith(("I", "F")):
        return np.asarray(picture.convert("L"))
    values = np.asarray(picture, np.float64)
    low, high = np.percentile(values, PERCENTILES)
    scaled = (values - low) / max(high - low, 1)
    return np.asarray(np.rint(255 * scaled.clip(0, 1)), np.uint8)
