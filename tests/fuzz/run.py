"""One round over all targets but the running node."""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
from pydicom import config as pydicom_config

from tests.fuzz import dicom_targets, web_targets
from tests.fuzz.conversing import decoded
from tests.fuzz.feeding import Fed, Target, feed

SHARES: Final = {
    "association requests": 0.1,
    "command sets": 0.2,
    "heads of data sets": 0.12,
    "identifiers": 0.1,
    "notifications": 0.05,
    "commitment requests": 0.05,
    "files": 0.08,
    "reports": 0.05,
    "questions": 0.06,
    "png pictures": 0.02,
    "jpeg pictures": 0.02,
    "rejection notes": 0.03,
    "work lists": 0.02,
    "web requests": 0.02,
    "tokens": 0.03,
    "links": 0.02,
    "media types": 0.01,
    "compressed files": 0.015,
    "conversations": 0.005,
}
"""Parts of all inputs, by target: cheap parsers get more."""


def run(folder: Path, counts: Mapping[str, int], seed: int) -> dict[str, Fed]:
    """Feed all targets but the node with so many inputs each."""
    rng = np.random.default_rng(seed)
    with parsers(folder) as found:
        results = {name: feed(target, counts[name], rng) for name, target in found.items()}
    results["compressed files"] = decoded(folder, counts["compressed files"], rng)
    return results


@contextmanager
def parsers(folder: Path) -> Iterator[dict[str, Target]]:
    """Every target that is fed in this process, with the readers of values as lenient as in a node, and no log."""
    settings = pydicom_config.settings
    modes = settings.reading_validation_mode, settings.writing_validation_mode
    settings.reading_validation_mode = settings.writing_validation_mode = pydicom_config.IGNORE
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), web_targets.targets(folder) as of_web:
            warnings.simplefilter("ignore")
            yield {**dicom_targets.targets(folder), **of_web}
    finally:
        logging.disable(logging.NOTSET)
        settings.reading_validation_mode, settings.writing_validation_mode = modes
