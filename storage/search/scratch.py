"""Memory that one search after another works in: the first touch of fresh memory takes longer than its use."""

from collections import deque
from typing import Final, NamedTuple

import numpy as np

from storage.search.kernels.select import ROOM, Listing, new_listing
from storage.search.kernels.state import Notes
from storage.search.threads import CORES

SEARCHES: Final = 4
"""Searches at once whose memory is kept for the next."""


class Scratch(NamedTuple):
    """What one thread of a search writes into."""

    notes: Notes
    listing: Listing


def borrow(threads: int) -> list[Scratch]:
    """Scratch for so many threads, which no other search has."""
    return [_borrow_one() for _ in range(threads)]


def give_back(scratch: list[Scratch]) -> None:
    """Let other searches have it: nothing of it may be read or written any more."""
    _spare.extend(scratch)


def _borrow_one() -> Scratch:
    try:
        return _spare.pop()
    except IndexError:
        notes = Notes(np.empty(ROOM, np.int64), np.empty(ROOM, np.uint16), np.zeros(ROOM, np.uint32))
        return Scratch(notes, new_listing())


_spare: deque[Scratch] = deque(maxlen=SEARCHES * CORES)
