"""What decoders do to the processes they run in; loaded by decode workers, so without pytest."""

import os
import signal
import time
from pathlib import Path

import numpy as np

from node.ingest.preparation import Prepared, Unusable


def behave(path: Path, received_ns: int, **_: object) -> Prepared | Unusable:
    """Do in a worker what the file says; it stands for `prepare`, which real decoders make hang or die."""
    word = path.read_bytes()
    if word == b"hang":
        time.sleep(60)
    if word == b"die":
        os.kill(os.getpid(), signal.SIGSEGV)
    if word == b"fill":
        np.ones(1 << 36, np.uint8)
    return Unusable(word.decode(), "", {})
