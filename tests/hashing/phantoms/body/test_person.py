"""The invented people."""

from datetime import date

from pydicom.valuerep import PersonName

from hashing.phantoms.body.person import FINDINGS, person


def test_a_person_is_fixed_by_number_and_seed() -> None:
    assert person(7, 3) == person(7, 3)
    assert person(7, 3) != person(7, 4)


def test_people_are_of_both_sexes_many_ages_and_all_findings() -> None:
    people = [person(number, 0) for number in range(200)]

    assert {who.sex for who in people} == {"F", "M"}
    assert min(who.age_years(0) for who in people) < 10
    assert max(who.age_years(0) for who in people) > 80
    assert {finding for who in people for finding in who.findings} == set(FINDINGS)
    assert any(not who.findings for who in people)


def test_children_are_smaller_than_grown_ups() -> None:
    people = [person(number, 0) for number in range(200)]

    assert max(who.scale for who in people if who.age_years(0) < 10) < min(
        who.scale for who in people if who.age_years(0) >= 20
    )


def test_every_name_says_phantom_in_a_valid_form() -> None:
    for number in range(200):
        name = PersonName(person(number, 0).name)

        assert name.family_name == "Phantom"
        assert 1 <= len(name.components) <= 3
        assert all(len(group) <= 64 for group in name.components)


def test_age_counts_whole_years() -> None:
    who = person(0, 0)
    birthday = who.birth_date

    years = who.age_years(0)

    assert date(birthday.year + years, birthday.month, min(birthday.day, 28)) <= who.visits[0]
    assert date(birthday.year + years + 1, birthday.month, min(birthday.day, 28)) >= who.visits[0].replace(day=1)


def test_each_purpose_has_its_own_random_numbers() -> None:
    who = person(0, 0)

    assert who.random(1).random() == who.random(1).random()
    assert who.random(1).random() != who.random(2).random()
