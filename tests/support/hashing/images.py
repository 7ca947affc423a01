"""Small images in memory, for tests."""
# mypy: untyped-calls-exclude=SimpleITK

from io import BytesIO
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from hashing.images.frames import quiet
from hashing.images.pixels import decode


def image(pixels: NDArray[Any], transfer_syntax_uid: str = ExplicitVRLittleEndian, **attributes: Any) -> Dataset:
    """Wrap pixels (rows, columns), (rows, columns, 3) or (frames, rows, columns); attributes by keyword."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = "2.25.1"
    colour = pixels.ndim == 3 and pixels.shape[-1] == 3
    dataset.SamplesPerPixel = 3 if colour else 1
    dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        dataset.PlanarConfiguration = 0
    elif pixels.ndim == 3:
        dataset.NumberOfFrames = len(pixels)
    dataset.Rows, dataset.Columns = pixels.shape[:2] if colour else pixels.shape[-2:]
    dataset.BitsAllocated = 8 * pixels.dtype.itemsize
    written = (pixels.byteswap() if transfer_syntax_uid == ExplicitVRBigEndian else pixels).tobytes()
    if pixels.dtype.kind == "f":
        setattr(dataset, "FloatPixelData" if pixels.dtype.itemsize == 4 else "DoubleFloatPixelData", written)
    else:
        dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
        dataset.BitsStored = attributes.get("BitsStored", dataset.BitsAllocated)
        dataset.HighBit = dataset.BitsStored - 1
        dataset.PixelData = written + b"\0" * (len(written) % 2)
        dataset["PixelData"].VR = "OB" if dataset.BitsAllocated == 8 else "OW"
    with quiet():  # odd values are wanted
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)
    return dataset


def sent(dataset: Dataset) -> Dataset:
    """Write it and read it again, as by a network node."""
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return dcmread(BytesIO(file.getvalue()))


def item(**attributes: Any) -> Dataset:
    """Make an item of a sequence; attributes by keyword."""
    dataset = Dataset()
    with quiet():
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)
    return dataset


def encapsulated(dataset: Dataset, frames: list[bytes], transfer_syntax_uid: str) -> Dataset:
    """Give a data set compressed frames in place of its pixels."""
    dataset.file_meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    dataset.PixelData = encapsulate(frames)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return dataset


def jpeg(pixels: NDArray[np.uint8], **options: Any) -> bytes:
    """Baseline JPEG of (rows, columns) or (rows, columns, 3), chrominance not subsampled; Pillow's options by name."""
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", **({"quality": 97, "subsampling": 0} | options))
    return stream.getvalue()


def shown(dataset: Dataset, frame: int = 0) -> NDArray[np.int64]:
    """Picture of a frame, (rows, columns)."""
    return np.asarray(sitk.GetArrayFromImage(decode(dataset, frame)), np.int64)


def scene(rows: int, columns: int, levels: int) -> NDArray[np.int64]:
    """Smooth, without symmetry, from 0 to ``levels`` - 1, and all of it."""
    y, x = np.mgrid[0:rows, 0:columns] / max(rows, columns)
    wave = np.sin(5 * x + 2 * y) + np.cos(7 * y * y - x) + x
    return np.asarray(np.rint((wave - wave.min()) / np.ptp(wave) * (levels - 1)), np.int64)
