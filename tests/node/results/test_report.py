"""The structured report: content, references, and what other programs say of it."""

import os
import subprocess
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset

from node.results.key_objects import key_objects
from node.results.report import report
from tests.support.answers import STUDY, answer, similar_case
from tests.support.running import program

COMPREHENSIVE_3D, COMPREHENSIVE = "1.2.840.10008.5.1.4.1.1.88.34", "1.2.840.10008.5.1.4.1.1.88.33"


def written(result: FileDataset) -> Dataset:
    """The object as its receiver reads it."""
    file = BytesIO()
    result.save_as(file, enforce_file_format=True)
    file.seek(0)
    return dcmread(file)


def evidence(sequence: list[Dataset]) -> dict[str, list[str]]:
    """SOP Instance UIDs by Study Instance UID."""
    return {
        study.StudyInstanceUID: [
            image.ReferencedSOPInstanceUID
            for series in study.ReferencedSeriesSequence
            for image in series.ReferencedSOPSequence
        ]
        for study in sequence
    }


def test_a_report_lies_in_the_example_s_study_and_says_whose_the_images_are() -> None:
    document = written(report(answer(2)))

    assert document.SOPClassUID == COMPREHENSIVE_3D
    assert (document.StudyInstanceUID, document.SeriesDescription) == ("2.25.3", "Similar cases (other patients)")
    assert (document.CompletionFlag, document.VerificationFlag) == ("COMPLETE", "UNVERIFIED")
    assert evidence(document.CurrentRequestedProcedureEvidenceSequence) == {"2.25.3": ["2.25.1"]}
    assert evidence(document.PertinentOtherEvidenceSequence) == {"2.25.71": ["2.25.91"], "2.25.72": ["2.25.92"]}
    assert document.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99LOOKALIKE"


def test_a_report_keeps_the_example_s_name_in_any_script() -> None:
    document = written(report(answer()))

    assert (document.SpecificCharacterSet, document.PatientName) == ("ISO_IR 192", STUDY["PatientName"])


def test_a_report_leaves_out_what_its_sender_wrote_against_the_standard() -> None:
    odd = {"StudyDate": "last week", "PatientSex": "woman", "AccessionNumber": "x" * 100, "StudyTime": "10:11:12"}

    document = written(report(answer(study=STUDY | odd)))

    assert [str(document[keyword].value or "") for keyword in odd] == [""] * 4
    assert document.PatientID == "EXAMPLE-ID"


def test_the_same_answer_is_the_same_object_and_another_snapshot_another() -> None:
    first, again = BytesIO(), BytesIO()
    report(answer()).save_as(first, enforce_file_format=True)
    report(answer()).save_as(again, enforce_file_format=True)

    assert first.getvalue() == again.getvalue()
    assert report(answer(snapshot="database.8.100")).SOPInstanceUID != report(answer()).SOPInstanceUID
    assert report(answer(), three_dimensional=False).SOPInstanceUID != report(answer()).SOPInstanceUID


def test_a_report_says_what_chance_would_give_and_which_cases_are_no_closer() -> None:
    cases = tuple(similar_case(number, expectation=expectation) for number, expectation in ((1, 0.02), (2, 3.14159)))

    told, untold = written(report(answer(cases=cases))), written(report(answer(2)))

    assert [item.NumericValue for item in measured(told, "chance")] == [0.02, 3.14]
    comments = [item.TextValue for item in tree(told) if item.get("TextValue", "").startswith("The images")]
    assert ["No closer than chance would put some image: rank 2." in text for text in comments] == [True]
    assert list(measured(untold, "chance")) == []
    assert not any("chance" in item.get("TextValue", "") for item in tree(untold))
    assert told.SOPInstanceUID != untold.SOPInstanceUID


def measured(document: Dataset, concept: str) -> list[Dataset]:
    """Measured values of a concept, in the order of the cases."""
    return [
        item.MeasuredValueSequence[0]
        for item in tree(document)
        if item.ValueType == "NUM" and item.ConceptNameCodeSequence[0].CodeValue == concept
    ]


def tree(item: Dataset) -> list[Dataset]:
    """A content item and all below it."""
    return [item, *(below for child in item.get("ContentSequence") or [] for below in tree(child))]


@pytest.mark.peers
@pytest.mark.parametrize("n_cases", [1, 20])
@pytest.mark.parametrize("three_dimensional", [True, False])
def test_an_iod_verifier_finds_no_error_and_a_reader_the_ranks(
    tmp_path: Path, n_cases: int, three_dimensional: bool
) -> None:
    path = tmp_path / "report.dcm"
    report(answer(n_cases), three_dimensional=three_dimensional).save_as(path, enforce_file_format=True)

    verdict = subprocess.run([program("dciodvfy"), "-new", path], capture_output=True, text=True, check=False)
    dump = subprocess.run([program("dsrdump"), path], capture_output=True, text=True, check=True).stdout

    assert "Error" not in verdict.stderr
    assert dump.count("Similar image of another patient") == dump.count("Similarity rank") == n_cases


@pytest.mark.slow
@pytest.mark.peers
def test_a_validator_of_templates_finds_no_error(tmp_path: Path) -> None:
    cases = tuple(similar_case(number, expectation=number / 2) for number in (1, 2, 3))
    made = {
        "3D": report(answer(cases=cases)),
        "2D": report(answer(cases=cases), three_dimensional=False),
        "KO": key_objects(answer(3)),
    }

    found = {}
    for name, one in made.items():
        one.save_as(tmp_path / name, enforce_file_format=True)
        found[name] = validated(tmp_path / name)

    assert all("Root Template Validation Complete" in text for text in found.values())
    assert [line for text in found.values() for line in text.splitlines() if line.startswith("Error")] == []


def validated(path: Path) -> str:
    """What PixelMed's validator says; Debian's needs the limits of XPath lifted."""
    limits = " ".join(f"-Djdk.xml.xpath{name}=0" for name in ("ExprOpLimit", "TotalOpLimit", "ExprGrpLimit"))
    command = [program("DicomSRValidator"), str(path)]
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"JAVA_TOOL_OPTIONS": limits}
    )
    return done.stdout + done.stderr
