"""MR sections of a head."""

import numpy as np
from pydicom.dataset import Dataset

from hashing.phantoms.body.anatomy import Anatomy
from hashing.phantoms.body.loops import Floats
from hashing.phantoms.body.person import Person
from hashing.phantoms.body.tissue import TISSUES, spin_echo
from hashing.phantoms.image import add_pixels, add_plane
from hashing.phantoms.noise import noise_patch
from hashing.phantoms.schedule import Series
from hashing.phantoms.section import Plane, section

_SEQUENCES = {
    "T1": (480.0, 12.0, 0.0),
    "T1 contrast": (480.0, 12.0, 0.0),
    "T2": (4200.0, 98.0, 0.0),
    "FLAIR": (9000.0, 110.0, 2300.0),
}
"""Repetition, echo and inversion time of each protocol, in ms."""

_BRIGHTEST = {"T1": 0.62, "T1 contrast": 0.62, "T2": 0.62, "FLAIR": 0.30}
"""Signal of each protocol that the display window shows white."""

_ENHANCED = {"tumour": 0.55}
"""Signal of tissues after contrast medium."""


def add_resonance(dataset: Dataset, person: Person, series: Series, anatomy: Anatomy, level: float) -> None:
    """Add the pixels of a section at a level, with the MR image module and its companions (PS3.3 C.8.3.1)."""
    plane = Plane(round(anatomy.height(level), 2), 256, 0.86, 2.0)
    random = person.random(20, series.number, int(dataset.InstanceNumber))
    signal = _signal(person, series, anatomy, plane) * _coil(plane.size, random)
    noise = 0.018 * _BRIGHTEST[series.protocol]
    real = signal + np.float32(noise) * noise_patch(0.0, signal.shape, random)
    magnitude = np.hypot(real, np.float32(noise) * noise_patch(0.0, signal.shape, random))
    top = float(person.random(22, series.number).uniform(700, 2400))
    stored = np.clip(np.rint(magnitude * (top / _BRIGHTEST[series.protocol])), 0, 4095).astype(np.uint16)
    add_pixels(dataset, stored, series.bits)
    add_plane(dataset, person, series, plane, 5.0)
    _add_acquisition(dataset, series)
    dataset.WindowCenter, dataset.WindowWidth = round(top / 2), round(top)


def _signal(person: Person, series: Series, anatomy: Anatomy, plane: Plane) -> Floats:
    repetition, echo, inversion = _SEQUENCES[series.protocol]
    enhanced = _ENHANCED if series.protocol == "T1 contrast" else {}

    def value(tissue: str) -> float:
        """Signal of a tissue in this sequence."""
        return enhanced.get(tissue, spin_echo(TISSUES[tissue], repetition, echo, inversion))

    return section(anatomy.parts, plane, value, 0.0, person.number)


def _coil(size: int, random: np.random.Generator) -> Floats:
    """Sensitivity of the receiving coil, (size, size): it changes slowly, within a tenth of 1."""
    along = np.linspace(-1.0, 1.0, size)
    x, y, xx, yy = random.uniform(-0.06, 0.06, 4)
    return np.asarray(1.0 + x * along + xx * along**2 + (y * along + yy * along**2)[:, None], np.float32)


def _add_acquisition(dataset: Dataset, series: Series) -> None:
    repetition, echo, inversion = _SEQUENCES[series.protocol]
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    dataset.ScanningSequence = ["SE", "IR"] if inversion else "SE"
    dataset.SequenceVariant, dataset.ScanOptions, dataset.MRAcquisitionType = "NONE", "", "2D"
    dataset.RepetitionTime, dataset.EchoTime, dataset.EchoTrainLength = repetition, echo, 1
    if inversion:
        dataset.InversionTime = inversion
    dataset.MagneticFieldStrength = 1.5
    if series.protocol == "T1 contrast":
        dataset.ContrastBolusAgent = "COMPUTED CONTRAST"
