"""What the edges of a picture point to: Left, Right, Anterior, Posterior, Head, Feet (PS3.3 C.7.6.1.1.1)."""

from typing import Final

OPPOSITE: Final = {"L": "R", "R": "L", "A": "P", "P": "A", "H": "F", "F": "H"}
AXES: Final = (("L", "R"), ("P", "A"), ("H", "F"))
"""Letters of the positive and the negative direction of the patient's axes x, y and z (PS3.3 C.7.6.2.1.1)."""
UNCLEAR: Final = 0.1
"""A component below this is left out, of a unit vector: it is no direction that a reader would name."""


def edge_letters(patient_orientation: str, image_orientation: str) -> tuple[str, str, str, str]:
    r"""Letters at the left, top, right and bottom edge; all empty where neither attribute tells.

    Parameters
    ----------
    patient_orientation
        Patient Orientation (0020,0020): directions of rows and columns, joined by a backslash, as in ``L\F``.
    image_orientation
        Image Orientation (Patient) (0020,0037): six direction cosines, joined by a backslash. It decides if both are
        there, being a measurement.
    """
    right, bottom = _from_cosines(image_orientation) or _from_letters(patient_orientation)
    return _opposite(right), _opposite(bottom), right, bottom


def _from_cosines(text: str) -> tuple[str, str] | None:
    try:
        values = [float(part) for part in text.split("\\")]
    except ValueError:
        return None
    if len(values) != 6:
        return None
    right, bottom = _letters(values[:3]), _letters(values[3:])
    return (right, bottom) if right and bottom else None


def _letters(direction: list[float]) -> str:
    """Letters of a direction, that of its largest component first."""
    if not 0.9 < sum(part * part for part in direction) < 1.1:
        return ""
    largest_first = sorted(zip(direction, AXES, strict=True), key=lambda pair: -abs(pair[0]))
    return "".join(names[part < 0] for part, names in largest_first if abs(part) > UNCLEAR)


def _from_letters(text: str) -> tuple[str, str]:
    parts = text.split("\\")
    if len(parts) != 2 or not all(part and set(part) <= set(OPPOSITE) for part in parts):
        return "", ""
    return parts[0], parts[1]


def _opposite(letters: str) -> str:
    return "".join(OPPOSITE[letter] for letter in letters)
