"""A posted file becomes the network's input; this runs in decode workers that may be killed, without torch."""

import hashlib
from pathlib import Path
from typing import Final

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from hashing.images.pixels import Limits, preprocess
from node.ingest.outcome import MEMORY_LIMIT, Outcome, Prepared, Unusable
from node.ingest.preparation import prepare
from storage.record import Record, patient_key

SUFFIXES: Final = {"application/dicom": ".dcm", "image/png": ".png", "image/jpeg": ".jpg"}
"""Suffix of the file by the media type that its sender names."""
FORMATS: Final = {".png": "PNG", ".jpg": "JPEG"}
NO_UID: Final = "2.25.0"
"""UID of a picture, which is no DICOM object; nothing indexed has it."""
PERCENTILES: Final = (0.5, 99.5)
"""What becomes black and white of a picture of more than 8 bits, as for DICOM images without a window."""


def prepare_example(path: Path, received_ns: int, size: int, max_frames: int, limits: Limits) -> Outcome:
    """Read, check and preprocess a posted file; its suffix says what it is.

    Parameters
    ----------
    received_ns, size, max_frames, limits
        As in `node.ingest.preparation.prepare`.
    """
    if path.suffix not in FORMATS:
        return prepare(path, received_ns, size, max_frames, limits)
    try:
        return _prepare_picture(path, size, limits)
    except MemoryError:
        return Unusable(MEMORY_LIMIT, "decoding takes more memory than decode_memory_bytes")
    except (UnidentifiedImageError, Image.DecompressionBombError):
        return Unusable("not-readable", "the file is not the picture that its media type says")
    except Exception as error:  # whatever a decoder raises for damaged data
        return Unusable("not-readable", f"{type(error).__name__} while reading the picture")


def _prepare_picture(path: Path, size: int, limits: Limits) -> Outcome:
    with Image.open(path, formats=[FORMATS[path.suffix]]) as picture:
        if picture.width * picture.height > limits.pixels:
            return Unusable("too-large", f"the picture has more than {limits.pixels} pixels")
        grey = _grey(ImageOps.exif_transpose(picture))
    image = preprocess(sitk.GetImageFromArray(grey), size)[None]
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
    return Prepared(record, image, int.from_bytes(digest[:8], "little"))


def _grey(picture: Image.Image) -> NDArray[np.uint8]:
    if not picture.mode.startswith(("I", "F")):
        return np.asarray(picture.convert("L"))
    values = np.asarray(picture, np.float64)
    low, high = np.percentile(values, PERCENTILES)
    scaled = (values - low) / max(high - low, 1)
    return np.asarray(np.rint(255 * scaled.clip(0, 1)), np.uint8)
