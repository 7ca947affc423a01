"""Coded concepts of result objects: those of DICOM, and ours, which no standard has (PS3.16)."""

from typing import Final

from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

SCHEME: Final = "99LOOKALIKE"
"""Coding Scheme Designator of our own concepts; it is local, which 99 at its beginning says (PS3.16 section 8)."""

SIMILAR_IMAGE: Final = CodedConcept("similar-image", SCHEME, "Similar image of another patient")
SIMILARITY_RANK: Final = CodedConcept("rank", SCHEME, "Similarity rank")
SIMILARITY_SCORE: Final = CodedConcept("score", SCHEME, "Similarity score")
HAMMING_DISTANCE: Final = CodedConcept("hamming-distance", SCHEME, "Hamming distance in bits")
CHANCE_EXPECTATION: Final = CodedConcept("chance", SCHEME, "Number of images that chance would put as near")
NO_UNITS: Final = CodedConcept("1", "UCUM", "no units")
BITS: Final = CodedConcept("bit", "UCUM", "bit")
OF_INTEREST: Final = codes.DCM.OfInterest

MODALITIES: Final[dict[str, Code]] = {
    code.value: code for name in codes.CID29.dir() if (code := getattr(codes.CID29, name)).scheme_designator == "DCM"
}
"""Acquisition modalities by their code value, which is that of Modality (PS3.16 CID 29)."""


def coding_scheme_identification() -> Dataset:
    """Describe our own coding scheme: an item of Coding Scheme Identification Sequence (PS3.3 C.12.1.1.1)."""
    item = Dataset()
    item.CodingSchemeDesignator = SCHEME
    item.CodingSchemeName = "Concepts of Lookalike"
    item.CodingSchemeResponsibleOrganization = "Lookalike"
    return item
