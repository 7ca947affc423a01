"""The image pixel and image plane modules of the phantoms."""

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from hashing.phantoms.body.person import Person
from hashing.phantoms.dicom_header import uid
from hashing.phantoms.schedule import Series
from hashing.phantoms.section import Plane


def add_pixels(dataset: Dataset, pixels: NDArray[np.integer], bits: int, *, inverted: bool = False) -> None:
    """Add the image pixel module (PS3.3 C.7.6.3) for (rows, columns) uint8, uint16 or int16, uncompressed."""
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME1" if inverted else "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8 * pixels.itemsize, bits, bits - 1
    dataset.PixelRepresentation = int(np.issubdtype(pixels.dtype, np.signedinteger))
    dataset.PixelData = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    dataset["PixelData"].VR = "OB" if pixels.itemsize == 1 else "OW"


def add_plane(dataset: Dataset, person: Person, series: Series, plane: Plane, thickness_mm: float) -> None:
    """Add the frame of reference and image plane modules (PS3.3 C.7.4.1, C.7.6.2) of an axial section."""
    corner = -(plane.size - 1) / 2 * plane.spacing_mm
    dataset.FrameOfReferenceUID = uid(person.seed, person.number, "frame", series.visit, series.modality)
    dataset.PositionReferenceIndicator = ""
    dataset.PatientPosition = "HFS"
    dataset.PixelSpacing = [plane.spacing_mm, plane.spacing_mm]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.ImagePositionPatient = [round(corner, 4), round(corner + plane.centre_y_mm, 4), plane.z_mm]
    dataset.SliceLocation = plane.z_mm
    dataset.SliceThickness = thickness_mm
    dataset.AcquisitionNumber = 1
