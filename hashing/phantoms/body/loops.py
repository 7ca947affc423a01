"""Compiled loops over points, rays and pixels."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Loop = TypeVar("Loop", bound=Callable[..., Any])


def kernel(loop: Loop) -> Loop:
    """Compile a loop that runs without the interpreter lock, and cache its machine code if a folder can be written."""
    try:
        return cast("Loop", njit(nogil=True, cache=True)(loop))
    except RuntimeError:  # neither the package nor the user's cache folder can be written
        return cast("Loop", njit(nogil=True)(loop))


@kernel
def paint_discs(canvas: Floats, value: np.float32, columns: Floats, rows: Floats, radii: Floats) -> None:
    """Paint discs with soft edges over an image. Positions and radii are in pixels.

    A disc is painted only where it covers more than the discs before it, so that a chain of discs has no seams.
    """
    laid = np.zeros(canvas.shape, np.float32)
    for ball in range(len(radii)):
        radius = radii[ball]
        for row in range(max(int(rows[ball] - radius), 0), min(int(rows[ball] + radius) + 2, canvas.shape[0])):
            for column in range(
                max(int(columns[ball] - radius), 0), min(int(columns[ball] + radius) + 2, canvas.shape[1])
            ):
                distance = np.sqrt((row - rows[ball]) ** 2 + (column - columns[ball]) ** 2)
                share = min(max(radius - distance + 0.5, 0.0), 1.0)
                if share > laid[row, column]:
                    before = laid[row, column]
                    canvas[row, column] += (share - before) / (1.0 - before) * (value - canvas[row, column])
                    laid[row, column] = share


@kernel
def add_ball_shadows(canvas: Floats, columns: Floats, rows: Floats, radii: Floats, volumes: Floats) -> None:
    """Add the shadow of each ball to an image: its volume, spread over its disc. Positions and radii are in pixels."""
    for ball in range(len(radii)):
        radius = max(radii[ball], 0.75)
        peak = volumes[ball] * 1.5 / (np.pi * radius * radius)
        for row in range(max(int(rows[ball] - radius), 0), min(int(rows[ball] + radius) + 2, canvas.shape[0])):
            for column in range(
                max(int(columns[ball] - radius), 0), min(int(columns[ball] + radius) + 2, canvas.shape[1])
            ):
                square = ((row - rows[ball]) ** 2 + (column - columns[ball]) ** 2) / (radius * radius)
                if square < 1.0:
                    canvas[row, column] += peak * np.sqrt(1.0 - square)


@kernel
def _free_length(enters: Floats, leaves: Floats, start: np.float32, stop: np.float32) -> np.float32:
    """Length of a chord that no cover hides. The covers are sorted by their entries."""
    free, reached = np.float32(0.0), start
    for cover in range(len(enters)):
        free += max(enters[cover] - reached, np.float32(0.0))
        reached = max(reached, leaves[cover])
    return free + max(stop - reached, np.float32(0.0))


@kernel
def add_chord_shadow(canvas: Floats, rays: Floats, across: Floats, weight: np.float32) -> None:
    """Add the weighted chords of the first pile of ellipses to an image, without what the other piles cover of them.

    The covers of each ray are sorted by insertion, since they are few, and swept in the order of their entries
    (Klee 1977).

    Parameters
    ----------
    canvas : (rows, columns)
        Changed in place.
    rays : (piles, rows, 6)
        For each row of a pile's ellipses: the middle across the rays, 1 / half-width, the middle along the rays,
        half-depth, shift of that middle for each mm across, and squareness.
    across : (columns,)
        Positions of the rays.
    """
    one = np.float32(1.0)
    enters, leaves = np.zeros(len(rays), np.float32), np.zeros(len(rays), np.float32)
    for row in range(canvas.shape[0]):
        for column in range(canvas.shape[1]):
            covers, reached, leave = 0, np.float32(0.0), np.float32(0.0)
            for pile in range(len(rays)):
                offset = across[column] - rays[pile, row, 0]
                share = (offset * rays[pile, row, 1]) ** 2
                if share < one:
                    half = rays[pile, row, 3] * np.sqrt((one - share) / (one - rays[pile, row, 5] * share))
                    middle = rays[pile, row, 2] - rays[pile, row, 4] * offset
                    start, stop = middle - half, middle + half
                    if pile == 0:
                        reached, leave = start, stop
                    elif start < leave and stop > reached:
                        slot = covers
                        while slot > 0 and enters[slot - 1] > start:
                            enters[slot], leaves[slot] = enters[slot - 1], leaves[slot - 1]
                            slot -= 1
                        enters[slot], leaves[slot] = start, stop
                        covers += 1
                elif pile == 0:
                    break
            canvas[row, column] += weight * _free_length(enters[:covers], leaves[:covers], reached, leave)


@kernel
def points_inside(points: Floats, heights: Floats, outline: Floats, form: Floats) -> NDArray[np.bool_]:
    """True for each of the points (n, 3 or more) that lies in a pile of squircles.

    ``heights``, ``outline`` and ``form`` are those of `Solid`.
    """
    contained = np.zeros(len(points), np.bool_)
    reach = np.hypot(outline[:, 2].max(), outline[:, 3].max())
    left, right = outline[:, 0].min() - reach, outline[:, 0].max() + reach
    for point in range(len(points)):
        z = points[point, 2]
        if heights[0] < z < heights[-1] and left < points[point, 0] < right:
            upper = np.searchsorted(heights, z)
            share = (z - heights[upper - 1]) / (heights[upper] - heights[upper - 1])
            low, high = outline[upper - 1], outline[upper]
            x = points[point, 0] - low[0] - share * (high[0] - low[0])
            y = points[point, 1] - low[1] - share * (high[1] - low[1])
            along = (form[0] * x + form[1] * y) / (low[2] + share * (high[2] - low[2]))
            over = (form[0] * y - form[1] * x) / (low[3] + share * (high[3] - low[3]))
            contained[point] = max(along * along, over * over) < 1.0 and (
                along * along + over * over - form[2] * (along * over) ** 2 < 1.0
            )
    return contained
