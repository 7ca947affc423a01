"""Codes of real images, for the search benchmark."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from hashing.codes import Codes

SETS = ("nih14k", "paediatric", "dafh")
IMAGES = 1000
"""Of each set."""
AT_ONCE = 50


def real_codes(root: Path, cache: Path) -> Codes:
    """Codes of 64 bit that the shipped model gives to real images, as many of each set.

    They are made in a process that ends: the threads of the encoder would go on spinning beside those of the search.

    Parameters
    ----------
    root, cache
        As for `hashing.data.datasets.load`.
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as other:
        return other.submit(_encoded, root, cache).result()


def _encoded(root: Path, cache: Path) -> Codes:
    from hashing.data import datasets
    from hashing.data.examples import modality_of
    from hashing.model.encoder import Encoder
    from hashing.progress import progress

    encoder, found = Encoder.load(code_length=64), []
    for name in SETS:
        images = datasets.load(name, root, cache)
        rows = np.linspace(0, len(images.images) - 1, IMAGES, dtype=np.int64)
        modalities = [modality_of(images.kind_names[kind]) for kind in images.kinds[rows]]
        batches = np.array_split(np.arange(IMAGES), IMAGES // AT_ONCE)
        found += [
            encoder.encode(images.images[rows[batch]], [modalities[place] for place in batch]).codes
            for batch in progress(batches, f"encoding {name}", len(batches))
        ]
    return np.concatenate(found)
