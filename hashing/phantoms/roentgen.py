"""Chest radiographs as Computed Radiography and Digital X-Ray images."""

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from hashing.phantoms.body.anatomy import Anatomy
from hashing.phantoms.body.person import Person
from hashing.phantoms.dicom_header import code_item
from hashing.phantoms.image import add_pixels
from hashing.phantoms.radiograph import Exposure, radiograph
from hashing.phantoms.schedule import Series

_VIEWS = {
    "PA": (["L", "F"], Code("399348003", "SCT", "postero-anterior")),
    "LL": (["P", "F"], Code("399198007", "SCT", "Right to left lateral")),
}
"""Directions of rows and columns (PS3.3 C.7.6.1.1.1) and code of the view (CID 4010), for each View Position."""


def add_roentgen(dataset: Dataset, person: Person, series: Series, anatomy: Anatomy) -> None:
    """Add the pixels of a radiograph, with the modules of Computed Radiography (PS3.3 A.2) or Digital X-Ray (A.26)."""
    random = person.random(20, series.number)
    lateral = series.protocol == "LL"
    spacing = round(float(random.uniform(1.04, 1.2)) * anatomy.width_mm / 1024, 3)
    shift = (float(random.normal(0, 5)), float(random.normal(-14, 6)) * person.scale)
    contrast = float(random.uniform(23, 37)) * (1.5 if lateral else 1.0) * (0.45 + 0.55 * person.scale)
    darker = 0.4 * contrast * float(random.normal())
    exposure = Exposure(lateral, 1024, spacing, shift, contrast, darker, series.bits, series.inverted)
    add_pixels(dataset, radiograph(anatomy, exposure, random), series.bits, inverted=series.inverted)
    orientation, view = _VIEWS[series.protocol]
    dataset.ImageType = ["ORIGINAL", "PRIMARY"] if series.modality == "CR" else ["ORIGINAL", "PRIMARY", ""]
    dataset.ImagerPixelSpacing = [spacing, spacing]
    dataset.ViewPosition, dataset.PatientOrientation = series.protocol, orientation
    dataset.WindowCenter, dataset.WindowWidth = 2 ** (series.bits - 1), 2**series.bits
    dataset.KVP = 120
    if series.modality == "DX":
        _add_digital(dataset, series, view)


def _add_digital(dataset: Dataset, series: Series, view: Code) -> None:
    """Add the modules that Digital X-Ray has and Computed Radiography has not (PS3.3 C.8.11)."""
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.PixelIntensityRelationship = "LOG"
    dataset.PixelIntensityRelationshipSign = 1 if series.inverted else -1
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = 0, 1, "US"
    dataset.PresentationLUTShape = "INVERSE" if series.inverted else "IDENTITY"
    dataset.LossyImageCompression, dataset.BurnedInAnnotation = "00", "NO"
    dataset.DetectorType, dataset.PositionerType = "SCINTILLATOR", "NONE"
    dataset.ImageLaterality = "U"
    dataset.AcquisitionContextSequence = []
    dataset.AnatomicRegionSequence = [code_item(Code("816094009", "SCT", "Chest"))]
    dataset.ViewCodeSequence = [code_item(view)]
    dataset.ViewCodeSequence[0].ViewModifierCodeSequence = []
