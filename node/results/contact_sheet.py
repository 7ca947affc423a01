"""The contact sheet: look-alikes as a picture in the example's study, for displays without reports (PS3.3 A.8.1)."""

from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from node.results.answer import Answer, ImageReference, SimilarCase
from node.results.drawing import TILES, draw_sheet
from node.results.header import finish, study_header

SECONDARY_CAPTURE: Final = "1.2.840.10008.5.1.4.1.1.7"
SOURCE_IMAGE_PURPOSE: Final[Code] = codes.DCM.SourceImageForImageProcessingOperation
LINE: Final = 46
"""Characters of a line in place of the cases."""

BurnedIn = Literal["mask", "omit"]
"""What becomes of a case whose picture may show a name: a tile without its picture, or no tile."""


def contact_sheets(answer: Answer, burned_in: BurnedIn = "mask") -> Iterator[FileDataset]:
    """Yield the sheets of an answer, as Secondary Capture objects of one series; one that says why if it has no cases.

    No sheet shows a name, an ID, a date or an accession number, neither of the example nor of a look-alike.
    """
    shown = [case for case in answer.cases if burned_in == "mask" or not case.may_show_identity]
    omitted = len(answer.cases) - len(shown)
    pages = [shown[start : start + TILES] for start in range(0, len(shown), TILES)] or [[]]
    for number, cases in enumerate(pages, start=1):
        page = f"sheet {number} of {len(pages)}" + (f", {omitted} left out" if omitted else "")
        yield _sheet(answer, cases, number, page)


def _sheet(answer: Answer, cases: Sequence[SimilarCase], number: int, page: str) -> FileDataset:
    notes = [] if cases else ["No similar cases are shown.", *wrap(f"{answer.reason} {answer.note}", LINE)]
    sheet = study_header(answer)
    sheet.SOPClassUID, sheet.SOPInstanceUID = SECONDARY_CAPTURE, answer.uid("sheet", number)
    sheet.SeriesInstanceUID, sheet.Modality = answer.uid("sheet series"), "OT"
    sheet.InstanceNumber, sheet.ConversionType = str(number), "WSD"
    sheet.ImageType = ["DERIVED", "SECONDARY"]
    sheet.PatientOrientation = sheet.Laterality = None  # a sheet of several pictures has none
    sheet.BurnedInAnnotation = "YES"
    sheet.DerivationDescription = f"Similar cases by model {answer.model}, index {answer.snapshot}"[:1024]
    sheet.ImageComments = "OTHER PATIENTS, NOT THIS EXAMINATION"
    sheet.SourceImageSequence = [_source(image) for image in answer.examples if image.sop_class_uid]
    _set_pixels(sheet, draw_sheet(answer, cases, page, notes))
    return finish(sheet, answer, "sheet")


def _set_pixels(sheet: Dataset, pixels: NDArray[np.uint8]) -> None:
    """Fill the Image Pixel module (PS3.3 C.7.6.3)."""
    sheet.SamplesPerPixel, sheet.PhotometricInterpretation, sheet.PlanarConfiguration = 3, "RGB", 0
    sheet.Rows, sheet.Columns = pixels.shape[:2]
    sheet.BitsAllocated, sheet.BitsStored, sheet.HighBit, sheet.PixelRepresentation = 8, 8, 7, 0
    sheet.PixelData = pixels.tobytes()


def _source(image: ImageReference) -> Dataset:
    """Name an image of the example as source; the look-alikes are none: they would lead to other patients."""
    item, purpose = Dataset(), Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = image.sop_class_uid, image.sop_instance_uid
    purpose.CodeValue, purpose.CodingSchemeDesignator = SOURCE_IMAGE_PURPOSE.value, "DCM"
    purpose.CodeMeaning = SOURCE_IMAGE_PURPOSE.meaning
    item.PurposeOfReferenceCodeSequence = [purpose]
    return item
