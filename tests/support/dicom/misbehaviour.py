"""What decoders do to the processes they run in; loaded by decode workers, so without pytest."""

import os
import signal
import time
from pathlib import Path

import numpy as np

from node.ingest.outcome import Prepared, Unusable

KEPT: list[object] = []


def behave(path: Path, received_ns: int, **_: object) -> Prepared | Unusable:
    """Do in a worker what the file says; it stands for `prepare`, which real decoders make hang or die.

    The answer's reason is the word itself, its detail the number of the process. A file of a word that ends in "once"
    misbehaves the first time only.
    """
    word = path.read_text()
    if word.endswith("once"):
        path.write_text("recovered")
    if word.startswith("hang"):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            pass
    if word.startswith("sleep"):
        time.sleep(60)
    if word.startswith("nap"):
        time.sleep(0.5)
    if word.startswith("die"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if word.startswith("fill"):
        np.ones(1 << 36, np.uint8)
    if word.startswith("grow"):
        KEPT.append(np.ones(300 << 20, np.uint8))
    return Unusable(word, str(os.getpid()), {})


def never_ready(*_: object) -> None:
    """End a worker's process before it is ready; it stands for `work`."""
    os._exit(3)
