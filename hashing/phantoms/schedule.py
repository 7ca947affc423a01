"""The series of each patient, which depend on the patient's number alone."""

from dataclasses import dataclass

from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)


@dataclass(frozen=True, slots=True)
class Series:
    """One series of a patient.

    Attributes
    ----------
    number
        Number among the patient's series, from 1; it also selects the stream of random numbers.
    modality
        CT, CR, DX or MR.
    visit
        0 for the patient's first date, 1 for the second.
    images
        Number of instances.
    protocol
        "native" or "contrast" (CT), "PA" or "LL" (CR, DX), "T1", "T1 contrast", "T2" or "FLAIR" (MR).
    bits
        Bits stored.
    inverted
        True for MONOCHROME1.
    transfer_syntax
        Transfer syntax of the instances.
    """

    number: int
    modality: str
    visit: int
    images: int
    protocol: str
    bits: int
    inverted: bool
    transfer_syntax: UID

    @property
    def body_part(self) -> str:
        """Body Part Examined (0018,0015)."""
        return "HEAD" if self.modality == "MR" else "CHEST"


_SECTION_SYNTAXES = (
    ExplicitVRLittleEndian,
    JPEGLSLossless,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    RLELossless,
)
_RADIOGRAPH_SYNTAXES = (ExplicitVRLittleEndian, JPEGLSLossless, ImplicitVRLittleEndian)
_HEAD_SYNTAXES = (JPEG2000Lossless, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless)


def schedule(patient: int) -> tuple[Series, ...]:
    """Series of a patient, in the order of their numbers."""
    rows: list[tuple[str, int, int, str]] = []
    for visit in (0, 1):
        view = ("CR", "DX")[(patient + visit) % 2]
        rows.append((view, visit, 1, "PA"))
        if (patient + visit) % 4 == 0:
            rows.append((view, visit, 1, "LL"))
        rows.append(("CT", visit, 7 + (patient + visit) % 3, ("native", "contrast")[(patient // 2) % 2]))
    weightings = [("T1", "T2"), ("T2", "FLAIR"), ("T1 contrast", "FLAIR")][patient % 3]
    rows += [("MR", 0, 3, weighting) for weighting in weightings]
    return tuple(_series(patient, number, *row) for number, row in enumerate(rows, start=1))


def _series(patient: int, number: int, modality: str, visit: int, images: int, protocol: str) -> Series:
    turn = patient + visit
    if modality == "CT":
        return Series(number, modality, visit, images, protocol, (12, 16)[turn % 2], False, _SECTION_SYNTAXES[turn % 6])
    if modality == "MR":
        return Series(number, modality, visit, images, protocol, 12, False, _HEAD_SYNTAXES[(patient + number) % 4])
    bits = (12, 10, 14, 16, 8)[turn % 5]
    return Series(number, modality, visit, images, protocol, bits, turn % 3 == 1, _RADIOGRAPH_SYNTAXES[turn % 3])
