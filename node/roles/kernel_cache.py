"""The search kernels in a role of the node: a process that ends compiles them, and the roles load them from a cache.

The compiler takes some 90 MB that Python never gives back; a receiver must do without them.
"""

import ctypes
import fcntl
import gc
import logging
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Final

from node.processes import die_with_parent, start_command
from storage.jit import is_kept
from storage.search.kernels.select import select
from storage.search.warm_up import load, warm_up

LOCK: Final = "kernels.lock"
COMPILE: Final = "compile-kernels"
"""Command of the command line that runs `compile_kernels` in a process of its own."""

logger = logging.getLogger(__name__)


def load_kernels(run_path: Path, code_length: int) -> None:
    """Load the search kernels in a thread, while images can be received already; an earlier query loads its own."""
    threading.Thread(target=_try_to_make_ready, args=[run_path, code_length], name="kernels", daemon=True).start()


def make_ready(run_path: Path, code_length: int) -> None:
    """Return when no query has to wait for the compiler any more; this takes little memory.

    Processes load side by side, and compile in turns by a lock: on a first start the first process has the kernels
    compiled, which takes half a minute, and the others find them in the cache. Where no cache can be written, each
    process compiles for itself.
    """
    started = time.monotonic()
    with (run_path / LOCK).open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)  # nobody is compiling
        is_loaded = load(code_length)
        if not is_loaded:
            fcntl.flock(lock, fcntl.LOCK_EX)  # this lets go of the shared one first: no two wait for each other
        if not is_loaded and not load(code_length):
            if is_kept(select):
                subprocess.run(start_command(COMPILE, str(code_length), str(os.getpid())), check=False)
            warm_up(code_length)
    give_back()
    logger.info("search kernels are ready after %.1f s", time.monotonic() - started)


def compile_kernels(code_length: int, parent: int) -> None:
    """Compile the search kernels into the cache, and end when the process `parent` does."""
    die_with_parent(parent)
    warm_up(code_length)


def give_back() -> None:
    """Give memory back to the system that loading took and that no search needs."""
    libc = ctypes.CDLL(None)
    gc.collect()
    if hasattr(libc, "malloc_trim"):  # the GNU library
        libc.malloc_trim(0)


def _try_to_make_ready(run_path: Path, code_length: int) -> None:
    try:
        make_ready(run_path, code_length)
    except Exception:  # such as a full disk: receiving goes on, and a query loads or compiles what it needs
        logger.exception("search kernels could not be made ready: the first queries wait for the compiler")
