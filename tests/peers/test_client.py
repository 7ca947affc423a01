"""The small client for notebooks and viewers, against a running node."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
from lookalike.client import Client, NodeError
from PIL import Image
from pydicom import dcmread

from tests.support.running import REPOSITORY, RunningNode, free_port


@pytest.fixture(scope="module")
def node(hospital: RunningNode) -> Client:
    return Client(hospital.settings.url)


@pytest.fixture(scope="module")
def radiograph(phantoms: Path) -> Path:
    """A chest radiograph of the hospital."""
    headers = ((path, dcmread(path, stop_before_pixels=True)) for path in sorted(phantoms.rglob("*.dcm")))
    return next(path for path, header in headers if header.Modality == "CR")


def uid_of(path: Path) -> str:
    return str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)


def test_similar_cases_are_those_of_other_patients_each_once(node: Client, radiograph: Path) -> None:
    cases = node.similar(uid_of(radiograph), limit=9)

    patients = [case.data_set["00100020"]["Value"][0] for case in cases]
    assert [case.rank for case in cases][:1] == [1]
    assert [case.distance for case in cases] == sorted(case.distance for case in cases)
    assert len(set(patients)) == len(patients) >= 2
    assert str(dcmread(radiograph).PatientID) not in patients
    assert {case.code_length for case in cases} == {64}
    assert all(case["Modality"] and case.likeness and case.study_instance_uid for case in cases)


def test_keys_and_levels_narrow_the_answer(node: Client, radiograph: Path) -> None:
    of_women = node.similar(uid_of(radiograph), PatientSex="F", distinct="NONE", exclude=("SELF",), limit=50)
    studies = node.similar(uid_of(radiograph), level="study", limit=2)

    assert {case["PatientSex"] for case in of_women} <= {"F"}
    assert len({case.study_instance_uid for case in studies}) == len(studies) == 2
    assert all(case.sop_instance_uid and case.series_instance_uid for case in studies)
    assert len(node.find("series", Modality="CR")) >= 1


def test_a_file_is_asked_about_by_name_or_as_bytes(node: Client, radiograph: Path, tmp_path: Path) -> None:
    by_uid = [case.sop_instance_uid for case in node.similar(uid_of(radiograph))]
    by_file = [case.sop_instance_uid for case in node.similar_to_file(radiograph)]
    by_bytes = [case.sop_instance_uid for case in node.similar_to_file(radiograph.read_bytes())]
    picture = io.BytesIO()
    Image.fromarray(dcmread(radiograph).pixel_array >> 4).convert("L").save(picture, "PNG")

    assert by_uid == by_file == by_bytes
    assert len(node.similar_to_file(picture.getvalue(), Modality="CR", exclude=("SELF",))) >= 1


def test_a_case_has_a_picture_and_a_reason(node: Client, radiograph: Path) -> None:
    case = node.similar(uid_of(radiograph), limit=1)[0]

    with Image.open(io.BytesIO(node.thumbnail(case))) as picture:
        assert picture.size == (224, 224)
    why = node.why(uid_of(radiograph), case)

    assert "not disease" in why["meaning"]
    for name in ("query", "match"):
        values = [value for row in why[name] for value in row]
        assert len(values) >= 25
        assert 0 <= min(values) <= max(values) == 1


def test_a_refusal_says_what_the_node_says(node: Client) -> None:
    with pytest.raises(NodeError, match="store it first") as refused:
        node.similar("9.9.9")

    assert (refused.value.status, refused.value.dimse_status) == (404, "C101")


def test_what_cannot_be_asked_is_said_before_anything_is_sent() -> None:
    with pytest.raises(ValueError, match="no address"):
        Client("file:///etc/passwd")
    client = Client(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(ValueError, match="level is one of"):
        client.similar("1.2", level="patient")
    with pytest.raises(NodeError, match="does not answer"):
        client.similar("1.2")


def test_the_client_needs_no_other_package() -> None:
    script = "import lookalike.client, sys; print(sorted({'torch', 'numpy', 'pydicom', 'node'} & set(sys.modules)))"

    result = subprocess.run(
        [sys.executable, "-S", "-c", script], cwd=REPOSITORY / "client", capture_output=True, text=True
    )

    assert result.stdout.strip() == "[]", result.stderr
