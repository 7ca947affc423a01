"""How near images of different patients lie by chance: distances of random pairs, by the modalities of both.

The number of candidates that chance puts within a distance plays the part of the expectation value of sequence search
(Karlin and Altschul, PNAS 1990), but it is counted: neither codes nor bodies are drawn by a known law.
"""

import json
import logging
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event, get_native_id
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes, hamming_distance
from storage.database.columns import DELETED
from storage.database.database import Database
from storage.durable import write_durably

logger = logging.getLogger(__name__)

FILE: Final = "chance.json"
"""Name of the file of the table, in the folder of the database."""
SAMPLED_ROWS: Final = 1 << 17
"""Greatest number of rows that are drawn."""
MAX_SAMPLED: Final = 4096
"""Greatest number of rows of one modality; each is paired with those of every modality."""
GROWTH: Final = 1.1
"""A table is computed again once the database has so many times the rows."""
PAUSE_S: Final = 60.0
NICENESS: Final = 10


@dataclass(frozen=True, slots=True)
class ChanceTable:
    """Distances of random pairs of rows of different patients.

    Attributes
    ----------
    identity, rows
        Identity of the database, and number of its rows when the table was computed.
    shares
        Part of the rows that each modality has.
    pairs
        By both modalities, the number of pairs at each distance from 0 to the code length.
    """

    identity: str
    rows: int
    shares: Mapping[str, float]
    pairs: Mapping[str, Mapping[str, list[int]]]

    def expectation(
        self, modality: str, candidates: int, distance: float, among: Collection[str] | None = None
    ) -> float | None:
        """Predict how many candidates of other patients lie within a distance of an image by chance.

        Parameters
        ----------
        modality
            Of the image.
        candidates
            Number of candidates, of each modality in proportion to its share.
        among
            Modalities of the candidates; None for all.

        Returns
        -------
        float or None
            None if no pair of these modalities is known. At least what one pair of the sample more would give.
        """
        expected, shared = 0.0, 0.0
        for other, counts in self.pairs.get(modality, {}).items():
            total, near = sum(counts), sum(counts[: int(distance) + 1])
            if total and (among is None or other in among):
                expected += self.shares[other] * min(1.0, (near + 1) / total)
                shared += self.shares[other]
        return candidates * expected / shared if shared else None


def read_table(folder: Path) -> ChanceTable | None:
    """Return the table of the database of a folder, None if there is none yet or it cannot be read."""
    try:
        return ChanceTable(**json.loads((folder / FILE).read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        logger.warning("%s is not used, and will be made again: %s", folder / FILE, error)
        return None


class _Sample(NamedTuple):
    codes: Codes
    patients: NDArray[np.uint32]


def compute(database: Database, seed: int = 0) -> ChanceTable:
    """Count the distances of random pairs in the present state of a database."""
    with database.snapshot() as snapshot:
        generator, n = np.random.default_rng(seed), snapshot.rows
        drawn = np.arange(n) if n <= SAMPLED_ROWS else np.unique(generator.integers(0, n, SAMPLED_ROWS))
        rows = drawn[snapshot.gather("flags", drawn) & DELETED == 0]
        numbers, terms = snapshot.gather("modality", rows), snapshot.terms("modality")
        shares = {terms[number]: float((numbers == number).mean()) for number in np.unique(numbers)}
        samples: dict[str, _Sample] = {}
        for modality in shares:
            own = generator.permutation(rows[numbers == terms.index(modality)])[:MAX_SAMPLED]
            samples[modality] = _Sample(snapshot.codes_at(own), snapshot.gather("patient", own))
        identity = snapshot.header.identity
    pairs: dict[str, dict[str, list[int]]] = {modality: {} for modality in samples}
    for modality, other in ((a, b) for a in samples for b in samples if a <= b):
        counts = _count(samples[modality], samples[other], database.header.code_length)
        pairs[modality][other] = pairs[other][modality] = counts
    return ChanceTable(identity, n, shares, pairs)


def keep_computed(database: Database, stop: Event, pause_s: float = PAUSE_S) -> None:
    """Compute the table again whenever the database has grown, until `stop` is set; run it in a thread.

    A full disk is answered by trying again: answers are given without the table meanwhile.
    """
    os.setpriority(os.PRIO_PROCESS, get_native_id(), NICENESS)  # Linux knows threads as processes
    while not stop.wait(pause_s):
        if not is_due(database):
            continue
        try:
            write(database, compute(database))
        except OSError as error:
            logger.warning("the table of chance distances was not written: %s", error)


def is_due(database: Database) -> bool:
    """True if there is no table of this database, or one of clearly fewer or of more rows."""
    table = read_table(database.path)
    with database.snapshot() as snapshot:
        if table is None or table.identity != snapshot.header.identity:
            return snapshot.rows > 0
        return not table.rows <= snapshot.rows < GROWTH * table.rows


def write(database: Database, table: ChanceTable) -> None:
    """Write the file of a table durably."""
    text = json.dumps(asdict(table)).encode()
    write_durably([text], database.path / f"{FILE}.part", database.path / FILE)
    logger.info("distances by chance were computed from %d rows", table.rows)


def _count(one: _Sample, other: _Sample, code_length: int) -> list[int]:
    """Number of pairs of different patients at each distance."""
    counts = np.zeros(code_length + 1, np.int64)
    for code, patient in zip(one.codes, one.patients, strict=True):
        distances = hamming_distance(code, other.codes)[other.patients != patient]
        counts += np.bincount(distances, minlength=code_length + 1)
    values: list[int] = counts.tolist()
    return values
