"""Words of a report: of the content tree of a structured report, or the PDF within an object (PS3.3 A.35, A.45)."""

from collections.abc import Iterator
from typing import Final

from pydicom.dataset import Dataset
from pydicom.uid import (
    BasicTextSRStorage,
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    EncapsulatedPDFStorage,
    EnhancedSRStorage,
)

from hashing.images.attributes import read
from storage.objects.report_table import Report
from storage.record import patient_key

STRUCTURED: Final = frozenset({BasicTextSRStorage, EnhancedSRStorage, ComprehensiveSRStorage, Comprehensive3DSRStorage})
OWN_SCHEME: Final = "99LOOKALIKE"
"""Coding scheme of the answers of nodes such as this one: what lists look-alikes is no report on a study."""
MAX_CHARACTERS: Final = 100_000
INDENT: Final = "  "
VALUES: Final = {
    "TEXT": "TextValue",
    "DATE": "Date",
    "TIME": "Time",
    "DATETIME": "DateTime",
    "PNAME": "PersonName",
}
"""Attribute that holds the value of a content item, by its Value Type (PS3.3 table C.17.3-7)."""


def report_of(dataset: Dataset, max_bytes: int) -> Report | None:
    """The report that an object is, None if it is none, or none that is kept.

    Parameters
    ----------
    max_bytes
        Size above which a PDF is not kept.
    """
    sop_class = _text(dataset, "SOPClassUID")
    if sop_class in STRUCTURED and not _is_ours(dataset):
        words = "\n".join(_lines(dataset.get("ContentSequence") or [], 0))
        return _report(dataset, words[:MAX_CHARACTERS], b"")
    if sop_class == EncapsulatedPDFStorage:
        pdf = bytes(dataset.get("EncapsulatedDocument") or b"")
        length = dataset.get("EncapsulatedDocumentLength")
        pdf = pdf[:length] if isinstance(length, int) and length > 0 else pdf
        return _report(dataset, "", pdf) if pdf.startswith(b"%PDF-") and len(pdf) <= max_bytes else None
    return None


def _report(dataset: Dataset, words: str, pdf: bytes) -> Report:
    study = _text(dataset, "StudyInstanceUID")
    title = _meaning(dataset.get("ConceptNameCodeSequence")) or _text(dataset, "DocumentTitle")
    return Report(
        _text(dataset, "SOPInstanceUID"),
        study,
        patient_key(_text(dataset, "PatientID"), _text(dataset, "IssuerOfPatientID"), study),
        title,
        _text(dataset, "ContentDate"),
        _text(dataset, "CompletionFlag") != "PARTIAL",
        _text(dataset, "VerificationFlag") == "VERIFIED",
        words,
        pdf,
    )


def _lines(items: list[Dataset], depth: int) -> Iterator[str]:
    """A line for each content item that has words, and those of its children below it, indented."""
    for item in items:
        name, value = _meaning(item.get("ConceptNameCodeSequence")), _value(item)
        children = list(_lines(item.get("ContentSequence") or [], depth + 1))
        if value or (name and children):
            first, *more = (f"{name}: {value}" if name and value else name or value).splitlines()
            yield INDENT * depth + first
            yield from (INDENT * (depth + 1) + line for line in more)
        yield from children


def _value(item: Dataset) -> str:
    kind = _text(item, "ValueType")
    if kind == "CODE":
        return _meaning(item.get("ConceptCodeSequence"))
    if kind == "NUM":
        for measured in item.get("MeasuredValueSequence") or []:
            return f"{_text(measured, 'NumericValue')} {_meaning(measured.get('MeasurementUnitsCodeSequence'))}".strip()
    return _text(item, VALUES[kind]) if kind in VALUES else ""


def _meaning(codes: list[Dataset] | None) -> str:
    return _text(codes[0], "CodeMeaning") if codes else ""


def _is_ours(dataset: Dataset) -> bool:
    schemes = dataset.get("CodingSchemeIdentificationSequence") or []
    return any(_text(scheme, "CodingSchemeDesignator") == OWN_SCHEME for scheme in schemes)


def _text(dataset: Dataset, keyword: str) -> str:
    value = read(dataset, keyword)
    return "" if value is None else str(value).replace("\0", "").strip()
