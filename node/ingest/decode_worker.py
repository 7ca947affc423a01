"""What a decode worker does in its process: limited in time and memory, and bound to the life of its parent."""

import gc
import os
import signal
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from pydicom import config as pydicom_config

from node.ingest.outcome import MEMORY_LIMIT, Outcome, Unusable

Prepare = Callable[[Path, int], Outcome]

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """Limits on the time and memory that one instance may take of a worker.

    Attributes
    ----------
    processor_s
        The worker's own processor time: a busy machine costs no instance anything.
    elapsed_s
        Time by the clock, for a worker that waits for ever.
    memory_bytes
        Address space beyond that of a worker's start.
    kept_bytes
        Address space beyond that of a worker's start that it may still hold after an instance; with more it is
        replaced.
    """

    processor_s: float
    elapsed_s: float
    memory_bytes: int
    kept_bytes: int


@dataclass(frozen=True, slots=True)
class WorkerMessage:
    """What a worker says.

    Attributes
    ----------
    outcome
        None in its first message: it is ready.
    kept_bytes
        Address space beyond that of its start.
    """

    outcome: Outcome | None
    kept_bytes: int = 0


def work(connection: Connection, prepare: Prepare, limits: WorkerLimits) -> None:
    """Prepare each file that comes over the connection, until that is closed.

    SIGPROF, which nothing catches, ends the process when an instance has used up its processor time.
    """
    start_bytes = limit_process(limits.memory_bytes)
    connection.send(WorkerMessage(None))
    while True:
        try:
            path, received_ns = connection.recv()
        except EOFError:
            return
        signal.setitimer(signal.ITIMER_PROF, limits.processor_s)
        try:
            outcome = prepare(path, received_ns)
            connection.send(WorkerMessage(outcome, _held_bytes(start_bytes, limits)))
        except MemoryError:
            connection.send(WorkerMessage(Unusable(MEMORY_LIMIT, _memory_detail(limits)), limits.memory_bytes))
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)


def limit_process(memory_bytes: int) -> int:
    """Limit this process; return its address space, in bytes.

    Its address space may grow by `memory_bytes`, it dies with its parent and is the first to go if memory is short,
    and real-world files do not fill the log.
    """
    import resource

    import SimpleITK as sitk

    from node.processes import die_with_parent

    die_with_parent(os.getppid())  # the server of forks, which has just made this process
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # decoders print a page for a damaged file, and could fill the disk of the log
        os.dup2(silence, stream)
    Path("/proc/self/oom_score_adj").write_text("1000")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers
    used = _address_space_bytes()
    resource.setrlimit(resource.RLIMIT_AS, (used + memory_bytes, used + memory_bytes))
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)  # type: ignore[no-untyped-call]
    warnings.simplefilter("ignore")
    pydicom_config.settings.reading_validation_mode = pydicom_config.IGNORE
    return used


def _held_bytes(start_bytes: int, limits: WorkerLimits) -> int:
    held = _address_space_bytes() - start_bytes
    if held > limits.kept_bytes:
        gc.collect()
        held = _address_space_bytes() - start_bytes
    return held


def _memory_detail(limits: WorkerLimits) -> str:
    return f"decoding takes more than {limits.memory_bytes} bytes of memory (decode_memory_bytes)"


def _address_space_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * PAGE_BYTES
