"""A process that must not outlive the one that started it."""

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1  # Linux, prctl(2)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process as soon as its parent is gone, however that came about.

    Parameters
    ----------
    parent
        Process number of the parent, as it said itself: if it died before this call, `os.getppid` names another one.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
