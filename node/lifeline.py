"""A process that must not outlive the one that started it."""

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1  # Linux, prctl(2)


def die_with_parent() -> None:
    """Have the kernel kill this process as soon as its parent is gone, however that came about."""
    parent = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # it died between the two calls
        os.kill(os.getpid(), signal.SIGKILL)
