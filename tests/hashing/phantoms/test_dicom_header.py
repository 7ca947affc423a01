"""Attributes of the phantoms."""

import pytest

from hashing.phantoms.body.person import Person, person
from hashing.phantoms.dicom_header import character_set, header, uid
from hashing.phantoms.schedule import schedule


def people_named(wanted: str) -> Person:
    return next(who for who in (person(number, 0) for number in range(500)) if wanted in who.name)


@pytest.mark.parametrize(
    ("given", "expected"), [("Ada", None), ("Jürgen", "ISO_IR 100"), ("Łucja", "ISO_IR 192"), ("太郎", "ISO_IR 192")]
)
def test_the_character_set_is_the_narrowest_that_holds_the_name(given: str, expected: str | None) -> None:
    who = people_named(given)

    dataset = header(who, schedule(who.number)[0], 1)

    assert dataset.get("SpecificCharacterSet") == expected == character_set(who.name)


def test_the_age_is_that_of_the_study_date() -> None:
    who = person(5, 0)
    for series in schedule(5):
        dataset = header(who, series, 1)

        whole = (int(dataset.StudyDate) - int(dataset.PatientBirthDate)) // 10_000
        assert dataset.PatientAge == f"{whole:03d}Y"


def test_nobody_can_take_a_phantom_for_a_patient() -> None:
    dataset = header(person(0, 0), schedule(0)[0], 1)

    assert dataset.PatientID == "PHANTOM-0000"
    assert dataset.PatientName.family_name == "Phantom"
    assert "phantom" in dataset.InstitutionName.lower()
    assert "phantom" in dataset.Manufacturer.lower()
    assert dataset.ImageComments == "Computed phantom, not a patient"


def test_a_uid_is_one_of_2_25_and_follows_from_its_names() -> None:
    one = uid(0, 1, "study")

    assert one == uid(0, 1, "study") != uid(0, 1, "series")
    assert one.is_valid
    assert one.startswith("2.25.")
    assert int(one.removeprefix("2.25.")) < 2**128
