"""Words of reports, as a reader of the object would find them."""

import io
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ComprehensiveSRStorage, CTImageStorage, EncapsulatedPDFStorage, ExplicitVRLittleEndian

from node.errors import NO_PIXELS
from node.ingest.outcome import Unusable
from node.ingest.preparation import prepare
from node.ingest.report_reading import report_of
from node.results.coding import coding_scheme_identification
from storage.objects.report_table import Report
from storage.record import patient_key
from tests.support.running import run_peer

PDF = b"%PDF-1.7\n%%EOF\n"


def code(meaning: str) -> list[Dataset]:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "1", "99TEST", meaning
    return [item]


def content(kind: str, name: str, children: list[Dataset] | None = None, **values: Any) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType, item.ConceptNameCodeSequence = "CONTAINS", kind, code(name)
    if kind == "CONTAINER":
        item.ContinuityOfContent = "SEPARATE"
    for keyword, value in values.items():
        setattr(item, keyword, value)
    if children:
        item.ContentSequence = children
    return item


def length(number: str, unit: str) -> list[Dataset]:
    measured = Dataset()
    measured.NumericValue, measured.MeasurementUnitsCodeSequence = number, code(unit)
    return [measured]


def document(sop_class: str, **values: Any) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(sop_class), UID("2.25.1.1.9")
    dataset = FileDataset(io.BytesIO(), Dataset(), preamble=bytes(128), file_meta=meta)
    usual: dict[str, Any] = {
        "SOPClassUID": sop_class, "SOPInstanceUID": "2.25.1.1.9", "SeriesInstanceUID": "2.25.1.1",
        "StudyInstanceUID": "2.25.1", "PatientID": "P1", "ContentDate": "20210304",
        "SpecificCharacterSet": "ISO_IR 192",
    }  # fmt: skip
    for keyword, value in {**usual, **values}.items():
        setattr(dataset, keyword, value)
    return dataset


def written_report() -> FileDataset:
    finding = content("TEXT", "Finding", TextValue="Effusion on the left.\r\nHeart not enlarged: größer nicht.")
    size = content("NUM", "Thickness", MeasuredValueSequence=length("23", "mm"))
    place = content("CODE", "Laterality", ConceptCodeSequence=code("Left"))
    findings = content("CONTAINER", "Findings", [finding, size, place])
    return document(
        ComprehensiveSRStorage, ValueType="CONTAINER", ConceptNameCodeSequence=code("Radiology Report"),
        CompletionFlag="COMPLETE", VerificationFlag="VERIFIED", ContinuityOfContent="SEPARATE",
        ContentSequence=[findings, content("CONTAINER", "Nothing below")], Modality="SR",
    )  # fmt: skip


WORDS = """Findings
  Finding: Effusion on the left.
    Heart not enlarged: größer nicht.
  Thickness: 23 mm
  Laterality: Left"""


def test_a_structured_report_becomes_lines_of_names_and_values() -> None:
    report = report_of(written_report(), 100)

    assert report == Report(
        "2.25.1.1.9", "2.25.1", patient_key("P1", "", ""), "Radiology Report", "20210304", True, True, WORDS
    )


@pytest.mark.peers
def test_dcmtk_reads_the_same_words(tmp_path: Path) -> None:
    path = tmp_path / "report.dcm"
    written_report().save_as(path, enforce_file_format=True)

    shown = run_peer("dsrdump", "+U8", "+Pl", str(path)).stdout

    for value in ("Effusion on the left.", "Heart not enlarged: größer nicht.", "Findings", "Left", "23"):
        assert value in shown
        assert value in WORDS


def test_a_pdf_is_kept_without_its_padding_up_to_a_size() -> None:
    padded = document(EncapsulatedPDFStorage, EncapsulatedDocument=PDF + b"\0", DocumentTitle="Letter")
    padded.EncapsulatedDocumentLength = len(PDF)

    report = report_of(padded, 100)

    assert report is not None
    assert (report.title, report.pdf, report.words, report.is_verified) == ("Letter", PDF, "", False)
    assert report_of(padded, 4) is None
    assert report_of(document(EncapsulatedPDFStorage, EncapsulatedDocument=b"<html>"), 100) is None


def test_images_and_answers_of_such_a_node_are_no_reports() -> None:
    answer = written_report()
    answer.CodingSchemeIdentificationSequence = [coding_scheme_identification()]

    assert report_of(answer, 100) is None
    assert report_of(document(CTImageStorage), 100) is None


def test_a_report_is_read_only_where_reports_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "report.dcm"
    written_report().save_as(path, enforce_file_format=True)

    kept, other = (prepare(path, 1, 32, 8, max_report_bytes=size) for size in (100, 0))

    assert isinstance(kept, Unusable)
    assert isinstance(other, Unusable)
    assert (kept.reason, kept.keeps_bytes, other.report) == (NO_PIXELS, False, None)
    assert kept.report is not None
    assert kept.report.words == WORDS
