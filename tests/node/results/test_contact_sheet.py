"""The contact sheet: what each tile says, what it withholds, and that it can be read without colour."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from node.results.answer import EdgeLabels
from node.results.contact_sheet import contact_sheets
from node.results.drawing import BANNER, HEADER, PICTURE, SIDE, TILE_HEIGHT, TILE_WIDTH, YELLOW, caption
from tests.node.results.test_report import written
from tests.support.answers import STUDY, answer, similar_case
from tests.support.running import program


def test_a_sheet_lies_in_the_example_s_study_and_declares_its_text() -> None:
    (sheet,) = map(written, contact_sheets(answer(6)))

    assert (sheet.StudyInstanceUID, sheet.Modality, sheet.BurnedInAnnotation) == ("2.25.3", "OT", "YES")
    assert list(sheet.ImageType) == ["DERIVED", "SECONDARY"]
    assert "model 1a2b" in sheet.DerivationDescription
    assert "database.7.100" in sheet.DerivationDescription
    assert (sheet.Rows, sheet.Columns, sheet.PhotometricInterpretation) == (1024, 1024, "RGB")


def test_more_cases_than_a_sheet_holds_make_more_sheets_of_one_series() -> None:
    sheets = list(contact_sheets(answer(13)))

    assert [sheet.InstanceNumber for sheet in sheets] == [1, 2, 3]
    assert len({sheet.SeriesInstanceUID for sheet in sheets}) == 1
    assert len({sheet.SOPInstanceUID for sheet in sheets}) == 3


def test_each_tile_has_a_banner_that_stands_out_without_colour() -> None:
    pixels = next(contact_sheets(answer(6))).pixel_array
    red, green, blue = (component / 255 for component in YELLOW)
    luminance = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2

    banners = [
        pixels[HEADER + row * (TILE_HEIGHT + 8) + 4 : HEADER + row * (TILE_HEIGHT + 8) + BANNER - 2][
            :, 8 + column * (TILE_WIDTH + 8) + 4 : 8 + column * (TILE_WIDTH + 8) + TILE_WIDTH - 4
        ]
        for row in range(2)
        for column in range(3)
    ]

    assert len({banner.tobytes() for banner in banners}) == 1  # the same words on each
    assert 0.05 < np.mean(np.all(banners[0] == 0, axis=2)) < 0.5  # black letters
    assert (luminance + 0.05) / 0.05 > 12  # contrast with black, as WCAG 2.1 counts it


def test_a_caption_says_rank_distance_modality_decade_sex_and_year_and_no_more() -> None:
    lines = caption(similar_case(2))

    assert lines == ("#2  6 bits apart", "CT L AP", "age 50-59, F, 2019")
    assert caption(similar_case(2, is_patient_known=False))[0] == "#2  6 bits apart, no ID"
    assert caption(similar_case(2, laterality="U"))[1] == "CT AP"


def test_a_caption_says_if_chance_would_give_as_much() -> None:
    by_chance, nearer = similar_case(2, expectation=1.0, is_patient_known=False), similar_case(2, expectation=0.99)

    assert caption(by_chance) == ("#2  6 bits, as by chance", "CT L AP", "age 50-59, F, 2019, no ID")
    assert caption(nearer) == caption(similar_case(2))


def test_a_picture_that_may_show_a_name_is_withheld_or_its_case_left_out() -> None:
    secret = np.full((224, 224), 255, np.uint8)
    risky = similar_case(1, preview=secret, may_show_identity=True)
    shown = answer(cases=(risky,))

    masked = next(contact_sheets(shown, "mask")).pixel_array
    omitted = next(contact_sheets(shown, "omit")).pixel_array

    assert not _has_white_square(masked)
    assert not _has_white_square(omitted)
    assert _has_white_square(next(contact_sheets(answer(cases=(similar_case(1, preview=secret),)))).pixel_array)
    assert not np.any(np.all(omitted[HEADER:] == YELLOW, axis=2))  # no tile at all


def _has_white_square(pixels: np.ndarray) -> bool:
    return bool((pixels.min(axis=2) == 255).mean() > 0.8 * PICTURE**2 / SIDE**2)


def test_no_sheet_depends_on_who_the_example_or_the_look_alike_is() -> None:
    renamed = STUDY | {
        "PatientName": "Other^Name",
        "PatientID": "OTHER",
        "AccessionNumber": "O",
        "StudyDate": "19990909",
    }
    elsewhere = similar_case(1, image=answer().examples[0])

    pictures = {
        next(contact_sheets(one)).PixelData for one in (answer(1), answer(1, study=renamed), answer(cases=(elsewhere,)))
    }

    assert len(pictures) == 1


def test_letters_at_the_edges_follow_the_picture_s_orientation() -> None:
    plain = next(contact_sheets(answer(cases=(similar_case(1, edges=EdgeLabels()),)))).pixel_array
    marked = next(contact_sheets(answer(cases=(similar_case(1, edges=EdgeLabels(right="L")),)))).pixel_array

    changed = np.argwhere(np.any(plain != marked, axis=2))
    middle = 8 + TILE_WIDTH // 2
    assert changed.size
    assert changed[:, 1].min() > middle + PICTURE // 4  # the letter stands at the right edge


def test_a_sheet_without_cases_says_why() -> None:
    empty, reason = answer(0), answer(0, reason="No image of another patient is indexed.")

    assert next(contact_sheets(empty)).PixelData != next(contact_sheets(reason)).PixelData


@pytest.mark.peers
@pytest.mark.parametrize("n_cases", [0, 6])
def test_an_iod_verifier_finds_no_error_in_a_sheet(tmp_path: Path, n_cases: int) -> None:
    path = tmp_path / "sheet.dcm"
    next(contact_sheets(answer(n_cases))).save_as(path, enforce_file_format=True)

    verdict = subprocess.run([program("dciodvfy"), "-new", path], capture_output=True, text=True, check=False)

    assert "Error" not in verdict.stderr
