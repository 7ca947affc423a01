"""What every target of a run has in common: mutated inputs, what became of them, and inputs that are kept."""

import json
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from tests.support.dicom.hostile import damaged

Feed = Callable[[bytes], str]
"""An input to the name of what became of it; raises what nothing may raise."""
MAX_LEARNT: Final = 64
"""Inputs with a new outcome that are mutated further, beside the good ones."""
MAX_KEPT_BYTES: Final = 4096
"""Size of an input that is kept in the repository."""

PIECES: Final = (
    *(
        b"\0",
        b"\xff\xff\xff\xff",
        b"\0\0\0\x80",
        b"\xfe\xff\x00\xe0",
        b"\\",
        b"^=*?",
        b"1e999",
        b"-1",
        b"nan",
        b"SQ\0\0",
    ),
    *(
        b"99999999999",
        b"\r\n\r\n",
        b"../",
        b"%00",
        b"\x1b$B",
        b"ISO 2022 IR 87",
        b"[[[[{",
        b'"',
        b"\xc3\x28",
        b"UN",
        b"OB",
    ),
)
"""Octets that mean something to one parser or another."""


@dataclass(frozen=True, slots=True)
class Target:
    """A parser of untrusted input.

    Attributes
    ----------
    feed
        Parses an input.
    seeds
        Good inputs.
    head
        Octets from the beginning that half of all mutations keep to: what is parsed first.
    """

    feed: Feed
    seeds: Sequence[bytes]
    head: int = 400


@dataclass(slots=True)
class Fed:
    """What became of the inputs of one target.

    Attributes
    ----------
    shortest
        The shortest input of each outcome.
    faults
        Tracebacks of errors that no parser may raise, with the inputs that raised them.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    shortest: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, bytes] = field(default_factory=dict)
    slowest_s: float = 0.0

    @property
    def inputs(self) -> int:
        """How many there were."""
        return self.outcomes.total() + len(self.faults)

    def add(self, outcome: str, octets: bytes, elapsed_s: float = 0.0) -> bool:
        """Count an input; True if its outcome is a new one."""
        is_new = outcome not in self.outcomes
        self.outcomes[outcome] += 1
        self.slowest_s = max(self.slowest_s, elapsed_s)
        if is_new or len(octets) < len(self.shortest[outcome]):
            self.shortest[outcome] = octets
        return is_new

    def merge(self, other: "Fed") -> None:
        """Add what became of other inputs of this target."""
        self.outcomes += other.outcomes
        self.faults |= other.faults
        self.slowest_s = max(self.slowest_s, other.slowest_s)
        for outcome, octets in other.shortest.items():
            self.shortest[outcome] = min(self.shortest.get(outcome, octets), octets, key=len)


class Mutations:
    """Endless damaged inputs of a target: its seeds in turn, and what had an outcome that was new."""

    def __init__(self, target: Target, rng: np.random.Generator) -> None:
        self._target, self._rng = target, rng
        self._learnt: list[bytes] = []
        self._number = 0

    def learn(self, octets: bytes) -> None:
        """Mutate this input further, too."""
        self._learnt = [*self._learnt, octets][-MAX_LEARNT:]

    def next(self) -> bytes:
        """Another input."""
        known = [*self._target.seeds, *self._learnt]
        octets = known[self._number % len(known)] or b"\0"
        self._number += 1
        end = min(len(octets), self._target.head) if self._rng.random() < 0.5 else len(octets)
        if self._rng.random() < 0.5:
            return damaged(octets, slice(0, end), self._rng)
        return overwritten(octets, known, end, self._rng)


def overwritten(octets: bytes, known: Sequence[bytes], end: int, rng: np.random.Generator) -> bytes:
    """A few octets before `end` in the place of others, so that every length stays true: parsers read on."""
    changed = bytearray(octets)
    for _ in range(int(rng.integers(1, 4))):
        at, size, other = int(rng.integers(end)), int(rng.integers(1, 17)), known[int(rng.integers(len(known)))]
        start = int(rng.integers(max(1, len(other))))
        piece = (rng.bytes(size), PIECES[int(rng.integers(len(PIECES)))], other[start : start + size])[
            int(rng.integers(3))
        ]
        changed[at : at + len(piece)] = piece[: len(changed) - at]
    return bytes(changed)


def feed(target: Target, count: int, rng: np.random.Generator) -> Fed:
    """Feed a target with mutated inputs; a fault is kept, and the run goes on."""
    fed, mutations = Fed(), Mutations(target, rng)
    for _ in range(count):
        octets, started_s = mutations.next(), time.monotonic()
        try:
            outcome = target.feed(octets)
        except Exception:
            fed.faults.setdefault(traceback.format_exc(limit=-3), octets)
            continue
        if fed.add(outcome, octets, time.monotonic() - started_s):
            mutations.learn(octets)
    return fed


def kept_inputs(folder: Path) -> Iterator[tuple[str, str, bytes]]:
    """Yield target, outcome and octets of every input that is kept in a folder."""
    for path in sorted(folder.glob("*.json")):
        for outcome, octets in json.loads(path.read_text()).items():
            yield path.stem, outcome, bytes.fromhex(octets)


def keep(folder: Path, target: str, fed: Fed) -> None:
    """Add the shortest input of each outcome that has none in a folder yet."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{target.replace(' ', '-')}.json"
    there = json.loads(path.read_text()) if path.exists() else {}
    found = {outcome: octets.hex() for outcome, octets in fed.shortest.items() if len(octets) <= MAX_KEPT_BYTES}
    path.write_text(json.dumps(dict(sorted((found | there).items())), indent=1) + "\n")
