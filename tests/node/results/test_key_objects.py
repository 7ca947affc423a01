"""The key object selection: it marks the example, and nothing of another patient."""

import subprocess
from pathlib import Path

import pytest

from node.results.key_objects import key_objects
from tests.node.results.test_report import validated, written
from tests.support.answers import answer
from tests.support.running import program


def test_a_selection_marks_the_example_only_in_its_own_study() -> None:
    document = written(key_objects(answer(5)))

    marked = [item.ReferencedSOPSequence[0] for item in document.ContentSequence if item.ValueType == "IMAGE"]
    assert [item.ReferencedSOPInstanceUID for item in marked] == ["2.25.1"]
    assert [study.StudyInstanceUID for study in document.CurrentRequestedProcedureEvidenceSequence] == ["2.25.3"]
    assert document.StudyInstanceUID == "2.25.3"
    assert document.ConceptNameCodeSequence[0].CodeValue == "113000"
    assert "2.25.9" not in str(document)


def test_a_marked_image_has_no_purpose_of_reference() -> None:
    document = written(key_objects(answer()))

    assert all("ConceptNameCodeSequence" not in item for item in document.ContentSequence if item.ValueType == "IMAGE")


@pytest.mark.peers
def test_an_iod_verifier_finds_no_error_in_a_selection(tmp_path: Path) -> None:
    path = tmp_path / "selection.dcm"
    key_objects(answer()).save_as(path, enforce_file_format=True)

    verdict = subprocess.run([program("dciodvfy"), "-new", path], capture_output=True, text=True, check=False)

    assert "Error" not in verdict.stderr


@pytest.mark.slow
@pytest.mark.peers
def test_a_validator_of_templates_finds_no_error_in_a_selection(tmp_path: Path) -> None:
    path = tmp_path / "selection.dcm"
    key_objects(answer()).save_as(path, enforce_file_format=True)

    found = validated(path)

    assert "Root Template Validation Complete" in found
    assert "Error" not in found
