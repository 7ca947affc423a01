"""The contact sheet as a picture: tiles that say, each by itself, that they show another patient.

Everything stands out by its brightness alone, for displays without colour; the text is large enough to be read when
1024 pixels of the sheet are shown on half of them.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from node.results.answer import Answer, SimilarCase

SIDE: Final = 1024
"""Side of a sheet, pixels."""
COLUMNS, ROWS = 3, 2
TILES: Final = COLUMNS * ROWS
"""Cases on one sheet."""
HEADER: Final = 92
GAP: Final = 8
TILE_WIDTH: Final = (SIDE - GAP) // COLUMNS - GAP
TILE_HEIGHT: Final = (SIDE - HEADER - GAP) // ROWS - GAP
BANNER: Final = 58
CAPTION: Final = 88
PICTURE: Final = min(TILE_WIDTH - 4, TILE_HEIGHT - BANNER - CAPTION - 4)
BANNER_LINES: Final = ("OTHER PATIENT,", "NOT THIS EXAMINATION")
BLACK, WHITE, GREY, DARK = (0, 0, 0), (255, 255, 255), (150, 150, 150), (40, 40, 40)
YELLOW: Final = (255, 224, 64)
"""Luminance 0.74: black text on it keeps a contrast of 15 to 1 also where only the grey is shown."""
WITHHELD: Final = ("PICTURE WITHHELD:", "it may show a name")
NO_PICTURE: Final = ("NO PICTURE KEPT",)

Box = tuple[int, int, int, int]


def draw_sheet(answer: Answer, cases: Sequence[SimilarCase], page: str, notes: Sequence[str]) -> NDArray[np.uint8]:
    """Draw at most `TILES` cases.

    Parameters
    ----------
    page
        Such as "1 of 2".
    notes
        Lines in place of the cases, where there are none.

    Returns
    -------
    (SIDE, SIDE, 3) uint8
        RGB.
    """
    image = Image.new("RGB", (SIDE, SIDE), BLACK)
    draw = ImageDraw.Draw(image)
    _write(draw, (GAP, 6), "SIMILAR CASES: OTHER PATIENTS", 34, YELLOW)
    _write(draw, (SIDE - GAP, 10), page, 26, WHITE, anchor="ra")
    _write(
        draw, (GAP, 50), f"Found by the model {answer.model[:24]} for an image of this study. No diagnosis.", 24, WHITE
    )
    for number, case in enumerate(cases):
        left = GAP + number % COLUMNS * (TILE_WIDTH + GAP)
        top = HEADER + number // COLUMNS * (TILE_HEIGHT + GAP)
        _draw_tile(image, draw, case, (left, top, left + TILE_WIDTH, top + TILE_HEIGHT))
    for number, line in enumerate(notes):
        _write(draw, (SIDE // 2, SIDE // 2 - 40 + 44 * number), line, 32, WHITE, anchor="ma")
    return np.asarray(image)


def caption(case: SimilarCase) -> tuple[str, str, str]:
    """Lines below a picture: rank, distance and whether chance gives as much; modality, side and view; the person."""
    no_id = "" if case.is_patient_known else "no ID"
    side = "" if case.laterality == "U" else case.laterality  # unpaired: it says nothing to a reader
    person = [f"age {case.age_decade}" if case.age_decade else "", case.sex, case.year]
    near = f"#{case.rank}  {case.distance:g} bits, as by chance" if case.is_chance else ""
    return (
        near or ", ".join(filter(None, (f"#{case.rank}  {case.distance:g} bits apart", no_id))),
        " ".join(filter(None, (case.image.modality, side, case.view))) or "modality unknown",
        ", ".join(filter(None, [*person, no_id if near else ""])) or "age, sex, year unknown",
    )


def _draw_tile(image: Image.Image, draw: ImageDraw.ImageDraw, case: SimilarCase, box: Box) -> None:
    left, top, right, bottom = box
    draw.rectangle(box, fill=DARK, outline=YELLOW, width=3)
    draw.rectangle((left, top, right, top + BANNER), fill=YELLOW)
    middle = (left + right) // 2
    for number, line in enumerate(BANNER_LINES):
        _write(draw, (middle, top + 2 + 27 * number), line, 24, BLACK, anchor="ma")
    corner = (middle - PICTURE // 2, top + BANNER + 3)
    if case.may_show_identity or case.preview is None:
        for number, line in enumerate(WITHHELD if case.may_show_identity else NO_PICTURE):
            _write(draw, (middle, corner[1] + PICTURE // 2 - 30 + 32 * number), line, 24, WHITE, anchor="ma")
    else:
        image.paste(_picture(case.preview), corner)
        _draw_edges(draw, case, corner)
    for number, line in enumerate(caption(case)):
        _write(draw, (left + 10, bottom - CAPTION + 28 * number), line, 24, WHITE)


def _picture(preview: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(preview).resize((PICTURE, PICTURE), Image.Resampling.BICUBIC).convert("RGB")


def _draw_edges(draw: ImageDraw.ImageDraw, case: SimilarCase, corner: tuple[int, int]) -> None:
    """Say what the edges of the picture point to, with an outline that is seen on any grey."""
    x, y, middle, end, edges = *corner, PICTURE // 2, PICTURE - 4, case.edges
    for text, place, anchor in (
        (edges.left, (x + 4, y + middle), "lm"),
        (edges.right, (x + end, y + middle), "rm"),
        (edges.top, (x + middle, y + 4), "ma"),
        (edges.bottom, (x + middle, y + end), "md"),
    ):
        draw.text(place, text, WHITE, _font(24), anchor, stroke_width=2, stroke_fill=BLACK)


def _write(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    text: str,
    size: int,
    colour: tuple[int, int, int],
    anchor: str = "la",
) -> None:
    draw.text(place, text, colour, _font(size), anchor)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)  # it comes with Pillow: no font of the system is needed
