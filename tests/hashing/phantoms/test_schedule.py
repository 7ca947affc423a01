"""What is done to each patient."""

from hashing.phantoms.schedule import schedule

HUNDRED = [series for patient in range(100) for series in schedule(patient)]


def test_every_patient_has_two_ct_two_radiographs_and_mr() -> None:
    for patient in range(30):
        plan = schedule(patient)

        assert [s.visit for s in plan if s.modality == "CT"] == [0, 1]
        assert {s.visit for s in plan if s.protocol == "PA"} == {0, 1}
        assert len([s for s in plan if s.modality == "MR"]) == 2
        assert [s.number for s in plan] == list(range(1, len(plan) + 1))


def test_radiographs_come_in_every_depth_and_both_polarities() -> None:
    radiographs = [s for s in HUNDRED if s.modality in ("CR", "DX")]

    assert {s.bits for s in radiographs} == {8, 10, 12, 14, 16}
    assert {s.inverted for s in radiographs} == {False, True}
    assert {s.protocol for s in radiographs} == {"PA", "LL"}
    assert {s.modality for s in radiographs if s.inverted} == {"CR", "DX"}


def test_six_transfer_syntaxes_are_used_and_most_instances_are_not_compressed() -> None:
    plain = sum(s.images for s in HUNDRED if not s.transfer_syntax.is_compressed)

    assert len({s.transfer_syntax for s in HUNDRED}) == 6
    assert plain > 0.5 * sum(s.images for s in HUNDRED)
