"""How well codes tell patients apart."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from hashing.__main__ import app
from hashing.codes import hamming_distance, pack
from hashing.evaluation.same_patient import patient_rate
from hashing.model.model_file import DEFAULT_MODEL

BITS = 16


def test_codes_that_are_the_patient_always_name_him() -> None:
    codes = pack(np.repeat(np.eye(4, BITS, dtype=bool), 2, axis=0))

    rate = patient_rate(codes, np.repeat(list("abcd"), 2), BITS)

    assert (rate.queries, rate.precision, rate.auc) == (8, 1.0, 1.0)
    assert rate.chance == pytest.approx(1 / 7)


def test_equal_codes_say_nothing_of_the_patient() -> None:
    rate = patient_rate(pack(np.zeros((6, BITS), bool)), np.array(list("aabbbc")), BITS)

    assert rate.queries == 5, "the patient with one image asks nothing"
    assert rate.precision == pytest.approx(rate.chance)
    assert rate.auc == 0.5


def test_images_of_patients_who_come_once_are_refused() -> None:
    with pytest.raises(ValueError, match="no patient has two images"):
        patient_rate(pack(np.zeros((2, BITS), bool)), np.array(["a", "b"]), BITS)


@given(st.lists(st.tuples(st.integers(0, 255), st.sampled_from("abc")), min_size=4, max_size=12))
def test_the_area_is_the_share_of_pairs_in_the_right_order(images: list[tuple[int, str]]) -> None:
    numbers, patients = zip(*images, strict=True)
    codes = pack(np.array([[number >> bit & 1 for bit in range(BITS)] for number in numbers], bool))
    areas = []
    for row, mine in enumerate(patients):
        of = [
            (int(hamming_distance(codes[row], codes[[other]])[0]), patients[other] == mine)
            for other in range(len(codes))
            if other != row
        ]
        pairs = [(near, far) for near, same in of if same for far, other in of if not other]
        if any(same for _, same in of) and not pairs:
            return  # all images are of one patient
        if pairs:
            areas.append(np.mean([(near < far) + (near == far) / 2 for near, far in pairs]))
    if areas:
        assert patient_rate(codes, np.array(patients), BITS).auc == pytest.approx(np.mean(areas))


def test_one_command_prints_the_rates_of_a_model(nih: Path, tmp_path: Path) -> None:
    options = ["--data", str(nih), "--output", str(tmp_path), "--dataset", "chestxray14:nih"]

    done = CliRunner().invoke(app, ["patients", str(DEFAULT_MODEL), *options])

    assert done.exit_code == 0, done.output
    assert "| 64 |" in done.output
