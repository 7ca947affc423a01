"""Instances: one image of one series of one person, as DICOM."""

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian

from node.phantoms.header import code_item, header, uid
from node.phantoms.noise import cut
from node.phantoms.person import Person
from node.phantoms.radiograph import Exposure, radiograph
from node.phantoms.schedule import Series
from node.phantoms.section import Plane, section
from node.phantoms.shape import Anatomy
from node.phantoms.tissue import spin_echo


def instance(person: Person, series: Series, index: int, anatomy: Anatomy) -> tuple[Dataset, float | None]:
    """Dataset number ``index`` (from 0) of a series, and its level: 0 at the head end, None for a projection."""
    dataset = header(person, series, index + 1)
    random = person.random(20, series.number, index)
    if series.modality in ("CR", "DX"):
        _add_radiograph(dataset, person, series, anatomy, random)
        level = None
    else:
        level = _level(person, series, index)
        {"CT": _add_ct, "MR": _add_mr}[series.modality](dataset, person, series, anatomy, level, random)
    if series.transfer_syntax.is_compressed and series.transfer_syntax.is_encapsulated:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.compress(series.transfer_syntax, generate_instance_uid=False)
    return dataset, level


def _level(person: Person, series: Series, index: int) -> float:
    """Level of a section: the series divides the body evenly, from a start of its own."""
    start = person.random(21, series.number).uniform(0.02, 0.07)
    end = 1.08 if series.modality == "CT" else 1.0
    return float(start + (end - start) * index / (series.images - 1))


def _add_pixels(dataset: Dataset, pixels: NDArray[np.generic], bits: int, photometric: str) -> None:
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = photometric
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated = 8 * pixels.itemsize
    dataset.BitsStored, dataset.HighBit = bits, bits - 1
    dataset.PixelRepresentation = int(np.issubdtype(pixels.dtype, np.signedinteger))
    dataset.PixelData = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    dataset["PixelData"].VR = "OB" if pixels.itemsize == 1 else "OW"


def _add_plane(dataset: Dataset, person: Person, series: Series, plane: Plane, z: float, thickness_mm: float) -> None:
    corner = -(plane.size - 1) / 2 * plane.spacing_mm
    dataset.FrameOfReferenceUID = uid(person.seed, person.number, "frame", series.visit, series.modality)
    dataset.PositionReferenceIndicator = ""
    dataset.PatientPosition = "HFS"
    dataset.PixelSpacing = [round(plane.spacing_mm, 6)] * 2
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.ImagePositionPatient = [round(corner, 3), round(corner + plane.centre_y_mm, 3), round(z, 3)]
    dataset.SliceLocation = round(z, 3)
    dataset.SliceThickness = thickness_mm
    dataset.AcquisitionNumber = 1


def _add_ct(
    dataset: Dataset, person: Person, series: Series, anatomy: Anatomy, level: float, random: np.random.Generator
) -> None:
    z = round(anatomy.height(level), 3)
    field = 2 * (165 * person.scale + person.girth_mm) * 1.06
    plane = Plane(512, round(field / 512, 4), 4.0)
    values = section(anatomy, z, plane, lambda tissue: tissue.hounsfield, person.number, -1000.0)
    values += 14.0 * cut(2.0, values.shape, random)
    stored = np.clip(np.rint(values), -1024, 3071).astype(np.int16)
    _add_pixels(dataset, stored, 16, "MONOCHROME2")
    _add_plane(dataset, person, series, plane, z, 5.0)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = 0, 1, "HU"
    dataset.WindowCenter, dataset.WindowWidth = [-600, 40], [1500, 400]
    dataset.WindowCenterWidthExplanation = ["LUNG", "SOFT TISSUE"]
    dataset.KVP = 120


_SEQUENCES = {"T1": (520.0, 12.0, 0.0), "T2": (4200.0, 98.0, 0.0), "FLAIR": (9000.0, 110.0, 2500.0)}


def _add_mr(
    dataset: Dataset, person: Person, series: Series, anatomy: Anatomy, level: float, random: np.random.Generator
) -> None:
    z = round(anatomy.height(level), 3)
    plane = Plane(256, 0.9375, 4.0)
    repetition, echo, inversion = _SEQUENCES[series.protocol]
    signal = spin_echo(repetition, echo, inversion)
    image = section(anatomy, z, plane, signal, person.number)
    noisy = np.hypot(image + 0.012 * cut(0.0, image.shape, random), 0.012 * cut(0.0, image.shape, random))
    stored = np.clip(np.rint(noisy * 2600), 0, 4095).astype(np.uint16)
    _add_pixels(dataset, stored, 12, "MONOCHROME2")
    _add_plane(dataset, person, series, plane, z, 5.0)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    dataset.ScanningSequence = ["SE", "IR"] if inversion else "SE"
    dataset.SequenceVariant, dataset.ScanOptions, dataset.MRAcquisitionType = "NONE", "", "2D"
    dataset.RepetitionTime, dataset.EchoTime, dataset.EchoTrainLength = repetition, echo, 1
    if inversion:
        dataset.InversionTime = inversion
    dataset.MagneticFieldStrength = 1.5
    dataset.WindowCenter, dataset.WindowWidth = 700, 1400


def _add_radiograph(
    dataset: Dataset, person: Person, series: Series, anatomy: Anatomy, random: np.random.Generator
) -> None:
    lateral = series.protocol == "LL"
    spacing = round(0.37 * min(person.scale + person.girth_mm / 400, 1.15), 3)
    shift = (float(random.normal(0, 5)), float(random.normal(-8, 5)))
    contrast = float(random.uniform(34, 44)) * (1.5 if lateral else 1.0)
    exposure = Exposure(lateral, 1024, spacing, shift, contrast, series.bits, series.inverted)
    photometric = "MONOCHROME1" if series.inverted else "MONOCHROME2"
    _add_pixels(dataset, radiograph(anatomy, exposure, random), series.bits, photometric)
    dataset.ImageType = ["ORIGINAL", "PRIMARY"] if series.modality == "CR" else ["ORIGINAL", "PRIMARY", ""]
    dataset.ImagerPixelSpacing = [spacing, spacing]
    dataset.ViewPosition = series.protocol
    dataset.PatientOrientation = ["P", "F"] if lateral else ["L", "F"]
    dataset.WindowCenter, dataset.WindowWidth = 2 ** (series.bits - 1), 2**series.bits
    dataset.KVP = 120
    if series.modality == "DX":
        _add_digital(dataset, series, lateral)


def _add_digital(dataset: Dataset, series: Series, lateral: bool) -> None:
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.PixelIntensityRelationship = "LOG"
    dataset.PixelIntensityRelationshipSign = 1 if series.inverted else -1
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = 0, 1, "US"
    dataset.PresentationLUTShape = "INVERSE" if series.inverted else "IDENTITY"
    dataset.LossyImageCompression = "00"
    dataset.BurnedInAnnotation = "NO"
    dataset.DetectorType = "SCINTILLATOR"
    dataset.PositionerType = "NONE"
    dataset.ImageLaterality = "U"
    dataset.AcquisitionContextSequence = []
    dataset.AnatomicRegionSequence = [code_item(Code("51185008", "SCT", "Chest"))]
    view = (
        Code("399198007", "SCT", "Right to left lateral") if lateral else Code("399348003", "SCT", "Postero-anterior")
    )
    dataset.ViewCodeSequence = [code_item(view)]
    dataset.ViewCodeSequence[0].ViewModifierCodeSequence = []
