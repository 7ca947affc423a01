"""Small images in memory, for tests."""

from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, SecondaryCaptureImageStorage


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
    if pixels.dtype.kind == "f":
        setattr(dataset, "FloatPixelData" if pixels.dtype.itemsize == 4 else "DoubleFloatPixelData", pixels.tobytes())
    else:
        dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
        dataset.BitsStored = dataset.BitsAllocated
        dataset.HighBit = dataset.BitsStored - 1
        swapped = transfer_syntax_uid == ExplicitVRBigEndian
        written = (pixels.byteswap() if swapped else pixels).tobytes()
        dataset.PixelData = written + b"\0" * (len(written) % 2)
        dataset["PixelData"].VR = "OB" if dataset.BitsAllocated == 8 else "OW"
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
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def scene(rows: int, columns: int, levels: int) -> NDArray[np.int64]:
    """Smooth, without symmetry, from 0 to ``levels`` - 1, and all of it."""
    y, x = np.mgrid[0:rows, 0:columns] / max(rows, columns)
    wave = np.sin(5 * x + 2 * y) + np.cos(7 * y * y - x) + x
    return np.asarray(np.rint((wave - wave.min()) / np.ptp(wave) * (levels - 1)), np.int64)
