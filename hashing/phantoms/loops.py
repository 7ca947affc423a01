"""Compiled loops over points, rays and pixels."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Loop = TypeVar("Loop", bound=Callable[..., Any])


def kernel(loop: Loop) -> Loop:
    """Compile without the interpreter lock; the machine code is cached where a cache folder can be written."""
    try:
        return cast("Loop", njit(nogil=True, cache=True)(loop))
    except RuntimeError:  # neither the package nor the user's cache folder can be written
        return cast("Loop", njit(nogil=True)(loop))


@kernel
def cover(canvas: Floats, value: np.float32, columns: Floats, rows: Floats, radii: Floats) -> None:
    """Paint discs over an image, their edges soft; positions and radii in pixels.

    A ring is laid only where it covers more than the discs before it, so that a chain of discs has no seams.
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
def shade(canvas: Floats, columns: Floats, rows: Floats, radii: Floats, volumes: Floats) -> None:
    """Add to an image the volume of each ball, spread as its shadow; positions and radii in pixels."""
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
def shadow(canvas: Floats, rays: Floats, across: Floats, weight: np.float32) -> None:
    """Add weighted chords of the first pile of ellipses, as far as the other piles do not cover them.

    The covers of each ray are swept in the order of their entries (Klee 1977), sorted by insertion: they are few.

    Parameters
    ----------
    canvas : (rows, columns)
        Changed in place.
    rays : (piles, rows, 6)
        For each row: the middle of the ellipse across the rays, 1 / half-width, the middle along them, half-depth,
        shift of the middle along for each mm across, and squareness.
    across : (columns,)
        Where the rays pass.
    """
    one = np.float32(1.0)
    enters, leaves = np.zeros(len(rays), np.float32), np.zeros(len(rays), np.float32)
    for row in range(canvas.shape[0]):
        for column in range(canvas.shape[1]):
            found, reached, leave = 0, np.float32(0.0), np.float32(0.0)
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
                        place = found
                        while place > 0 and enters[place - 1] > start:
                            enters[place], leaves[place] = enters[place - 1], leaves[place - 1]
                            place -= 1
                        enters[place], leaves[place] = start, stop
                        found += 1
                elif pile == 0:
                    break
            free = np.float32(0.0)
            for place in range(found):
                free += max(enters[place] - reached, np.float32(0.0))
                reached = max(reached, leaves[place])
            canvas[row, column] += weight * (free + max(leave - reached, np.float32(0.0)))


@kernel
def inside(points: Floats, heights: Floats, outline: Floats, form: Floats) -> NDArray[np.bool_]:
    """Which points (n, 3 or more columns) lie in a pile of squircles: heights, outline, form as of Solid."""
    found = np.zeros(len(points), np.bool_)
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
            found[point] = max(along * along, over * over) < 1.0 and (
                along * along + over * over - form[2] * (along * over) ** 2 < 1.0
            )
    return found
