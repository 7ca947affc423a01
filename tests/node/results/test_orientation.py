"""Letters at the edges of a picture, from either attribute."""

import pytest

from node.results.orientation import edge_letters


@pytest.mark.parametrize(
    ("patient_orientation", "image_orientation", "letters"),
    [
        ("", "1\\0\\0\\0\\1\\0", ("R", "A", "L", "P")),  # axial
        ("", "1\\0\\0\\0\\0\\-1", ("R", "H", "L", "F")),  # coronal
        ("", "0\\1\\0\\0\\0\\-1", ("A", "H", "P", "F")),  # sagittal
        ("", "0.8\\0.6\\0\\-0.6\\0.8\\0", ("RA", "AL", "LP", "PR")),  # oblique, the larger component first
        ("L\\F", "", ("R", "H", "L", "F")),
        ("AR\\F", "", ("PL", "H", "AR", "F")),
        ("L\\F", "0\\1\\0\\0\\0\\-1", ("A", "H", "P", "F")),  # measured directions decide
        ("L\\F", "1\\0\\0", ("R", "H", "L", "F")),
        ("", "", ("", "", "", "")),
        ("L", "", ("", "", "", "")),
        ("x\\y", "0\\0\\0\\0\\0\\0", ("", "", "", "")),
        ("", "nan\\0\\0\\0\\1\\0", ("", "", "", "")),
    ],
)
def test_edges_point_where_either_attribute_says(
    patient_orientation: str, image_orientation: str, letters: tuple[str, ...]
) -> None:
    assert edge_letters(patient_orientation, image_orientation) == letters
