"""Cases as results show them: from the database, without anything that names their patients."""

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from node.query.retriever import Match
from node.results.cases import age_decade, may_show_identity, similar_cases
from node.results.contact_sheet import contact_sheets
from node.results.key_objects import key_objects
from node.results.report import report
from storage.database.database import Item
from storage.record import Level
from tests.support.answers import CT, answer
from tests.support.storage.databases import create
from tests.support.storage.invented import item

PLANTED = ("Planted^Name", "PLANTED-ID", "19610203", "20170809", "PLANTED-ACC", "Planted^Physician", "Planted Hospital")


def planted_item(number: int, **instance: str) -> Item:
    """An instance whose attributes name a patient."""
    name, patient_id, born, day, accession, physician, hospital = PLANTED
    return item(
        number,
        patient={"PatientName": name, "PatientID": patient_id, "PatientBirthDate": born, "PatientSex": "F"},
        study={
            "StudyDate": day, "AccessionNumber": accession, "ReferringPhysicianName": physician,
            "InstitutionName": hospital,
        },
        series={"Modality": "CT", "Laterality": "R"},
        instance={"SOPClassUID": CT, "InstanceNumber": "1", "ImageOrientationPatient": "1\\0\\0\\0\\1\\0", **instance},
    )  # fmt: skip


def cases_of(path: Path, stored: Item, example_patients: tuple[str, ...] = ("EXAMPLE\\",)) -> list[Any]:
    with create(path) as database:
        database.append([stored])
        with database.snapshot() as snapshot:
            image = snapshot.entity(Level.IMAGE, stored.record.sop_instance_uid)
            assert image is not None
            match = Match(1, 5, 59 / 64, image, image, 0)
            return list(similar_cases(snapshot, [match], example_patients))


def test_a_case_tells_decade_sex_year_side_and_directions(tmp_path: Path) -> None:
    (case,) = cases_of(tmp_path, planted_item(0))

    assert (case.age_decade, case.sex, case.year, case.laterality) == ("50-59", "F", "2017", "R")
    assert (case.edges.left, case.edges.top, case.edges.right, case.edges.bottom) == ("R", "A", "L", "P")
    assert case.is_patient_known
    assert case.preview is not None
    assert case.image.frame is None


def test_no_result_holds_anything_that_names_the_patient_of_a_look_alike(tmp_path: Path) -> None:
    made = answer(cases=tuple(cases_of(tmp_path, planted_item(0))))

    objects = [report(made), report(made, three_dimensional=False), key_objects(made), *contact_sheets(made)]

    for result in objects:
        file = BytesIO()
        result.save_as(file, enforce_file_format=True)
        assert [text for text in PLANTED if text.encode() in file.getvalue()] == []


def test_a_frame_is_named_only_of_an_image_that_has_several(tmp_path: Path) -> None:
    (case,) = cases_of(tmp_path, planted_item(0, NumberOfFrames="12"))

    assert case.image.frame == 1


def test_patients_without_an_id_are_not_known_to_differ(tmp_path: Path) -> None:
    (of_nobody,) = cases_of(tmp_path, planted_item(0), ("\\\\2.25.3",))

    assert not of_nobody.is_patient_known


@pytest.mark.parametrize(
    ("attributes", "risk"),
    [
        ({"Modality": "CT"}, False),
        ({"Modality": "US"}, True),
        ({"Modality": "XA", "BurnedInAnnotation": "NO"}, False),
        ({"Modality": "CT", "BurnedInAnnotation": "YES"}, True),
        ({"Modality": "MR", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, True),
        ({"Modality": "OT", "BurnedInAnnotation": ""}, True),
        ({}, False),
    ],
)
def test_text_in_the_pixels_is_expected_where_it_is_declared_or_usual(attributes: dict[str, str], risk: bool) -> None:
    assert may_show_identity(attributes) is risk


def test_an_age_is_told_by_its_decade_only() -> None:
    assert [age_decade(years) for years in (-1, 0, 9, 57, 89, 104)] == ["", "0-9", "0-9", "50-59", "80-89", "90+"]
