"""What rows are filtered by."""

import pytest

from storage.database.columns import age_years, body_part, modality, sex, study_date


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20240229", 20240229),
        ("2024.02.29", 20240229),
        (" 20240229 ", 20240229),
        ("20230229", 0),
        ("", 0),
        ("202402", 0),
        ("２０２４０２２９", 0),
        ("yesterday", 0),
    ],
)
def test_a_study_date_is_a_number_or_nothing(text: str, expected: int) -> None:
    assert study_date({"StudyDate": text}) == expected


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"PatientAge": "045Y"}, 45),
        ({"PatientAge": "018M"}, 1),
        ({"PatientAge": "003W"}, 0),
        ({"PatientAge": "800D"}, 2),
        ({"PatientAge": "000Y"}, 0),
        ({"PatientAge": "045"}, -1),
        ({"PatientAge": "0045Y"}, -1),
        ({"PatientBirthDate": "19800301", "StudyDate": "20200229"}, 39),
        ({"PatientBirthDate": "19800301", "StudyDate": "20200301"}, 40),
        ({"PatientBirthDate": "20210101", "StudyDate": "20200301"}, -1),
        ({"PatientAge": "oops", "PatientBirthDate": "19800301", "StudyDate": "20200301"}, 40),
        ({"PatientAge": "012Y", "PatientBirthDate": "19800301", "StudyDate": "20200301"}, 12),
        ({"PatientBirthDate": "19800301"}, -1),
        ({}, -1),
    ],
)
def test_age_is_as_stated_or_as_lived(attributes: dict[str, str], expected: int) -> None:
    assert age_years(attributes) == expected


def test_sex_is_one_of_the_standards_values() -> None:
    assert [sex({"PatientSex": value}) for value in ("", "M", "f ", "O", "X")] == [0, 1, 2, 3, 0]
    assert sex({}) == 0


def test_terms_are_upper_case_without_padding() -> None:
    attributes = {"Modality": "ct ", "BodyPartExamined": "Chest"}

    assert (modality(attributes), body_part(attributes)) == ("CT", "CHEST")
    assert (modality({}), body_part({})) == ("", "")
