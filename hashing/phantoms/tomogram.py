"""CT sections of a chest."""

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from hashing.phantoms.body.anatomy import Anatomy
from hashing.phantoms.body.loops import Floats
from hashing.phantoms.body.person import Person
from hashing.phantoms.body.shape import Part, ellipsoid
from hashing.phantoms.body.tissue import TISSUES
from hashing.phantoms.image import add_pixels, add_plane
from hashing.phantoms.noise import noise_patch
from hashing.phantoms.schedule import Series
from hashing.phantoms.section import Plane, section

PADDING = -2000
"""Stored value outside the scanned circle, in the series that have such a circle."""

_ENHANCED = {"blood": 190.0, "heart": 105.0, "liver": 95.0, "spleen": 120.0, "lesion": 75.0}
"""CT numbers of tissues after contrast medium, in HU."""


def add_tomogram(dataset: Dataset, person: Person, series: Series, anatomy: Anatomy, level: float) -> None:
    """Add the pixels of a section at a level, with the CT image module and its companions (PS3.3 C.8.2.1)."""
    plane = Plane(round(anatomy.height(level), 2), 512, round(1.07 * anatomy.width_mm / 512, 4), 10.0)
    sharp = bool(person.random(22, series.number).random() < 0.5)
    hounsfield = _hounsfield(person, series, anatomy, plane)
    random = person.random(20, series.number, int(dataset.InstanceNumber))
    hounsfield += np.float32(24.0 if sharp else 11.0) * noise_patch(1.4 if sharp else 2.6, hounsfield.shape, random)
    padded = series.bits == 16
    stored = np.clip(np.rint(hounsfield + 1024.0), 0, 4095).astype(np.int16 if padded else np.uint16)
    if padded:
        stored[_outside(plane.size)] = PADDING
    add_pixels(dataset, stored, series.bits)
    if padded:
        dataset.PixelPaddingValue = PADDING
    add_plane(dataset, person, series, plane, 5.0)
    _add_acquisition(dataset, series, sharp)


def _hounsfield(person: Person, series: Series, anatomy: Anatomy, plane: Plane) -> Floats:
    enhanced = _ENHANCED if series.protocol == "contrast" else {}

    def value(tissue: str) -> float:
        """Attenuation of a tissue in Hounsfield units."""
        return enhanced.get(tissue, TISSUES[tissue].hounsfield)

    return section((*_table(anatomy), *anatomy.parts), plane, value, -1000.0, person.number)


def _table(anatomy: Anatomy) -> tuple[Part, ...]:
    """The curved table under the back: an ellipse of which only the lower rim is left."""
    wide, back = 0.5 * anatomy.width_mm + 30.0, anatomy.back_mm
    rim = ellipsoid("table", (0.0, back - 42.0, 0.0), (wide, 60.0, 4000.0))
    return rim, ellipsoid("air", (0.0, back - 58.0, 0.0), (wide + 4.0, 71.0, 4000.0))


def _outside(size: int) -> NDArray[np.bool_]:
    """True for the pixels outside the circle that fills the square, (size, size)."""
    square = (np.arange(size) - (size - 1) / 2) ** 2
    return np.asarray(square[:, None] + square[None, :] > (size / 2) ** 2)


def _add_acquisition(dataset: Dataset, series: Series, sharp: bool) -> None:
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = -1024, 1, "HU"
    dataset.WindowCenter, dataset.WindowWidth = ([-600, 40], [1500, 400]) if sharp else ([40, -600], [400, 1500])
    dataset.WindowCenterWidthExplanation = ["LUNG", "SOFT TISSUE"] if sharp else ["SOFT TISSUE", "LUNG"]
    dataset.KVP, dataset.XRayTubeCurrent, dataset.ExposureTime = 120, 160, 500
    dataset.ConvolutionKernel = "LUNG" if sharp else "STANDARD"
    if series.protocol == "contrast":
        dataset.ContrastBolusAgent = "COMPUTED CONTRAST"
