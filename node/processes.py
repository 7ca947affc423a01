"""The processes of a node: which roles there are, how one says that it is ready, and how it ends with its parent."""

import ctypes
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from node.settings import Settings

PR_SET_PDEATHSIG = 1  # Linux, prctl(2)


class Role(StrEnum):
    """A process of the node. Roles share nothing but the spool and the database."""

    INDEX = "index"
    DICOM = "dicom"
    WEB = "web"


@contextmanager
def announced(settings: Settings, role: Role, number: int = 1) -> Iterator[None]:
    """Leave this process's number in the run folder while it is ready."""
    path = pid_path(settings, role, number)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(str(os.getpid()))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def processes(settings: Settings, role: Role) -> range:
    """Numbers of the processes that share a role, from 1."""
    return range(1, (settings.receivers if role is Role.DICOM else 1) + 1)


def title(role: Role, number: int) -> str:
    """Name of one process: that of its role, and from the second on its number."""
    return str(role) if number == 1 else f"{role}-{number}"


def pid_path(settings: Settings, role: Role, number: int = 1) -> Path:
    """File that holds the process number of a running role."""
    return settings.run_path / f"{title(role, number)}.pid"


def running_pid(settings: Settings, role: Role, number: int = 1) -> int | None:
    """Process number of a role that is ready, or None."""
    try:
        pid = int(pid_path(settings, role, number).read_text())
        os.kill(pid, 0)
    except (FileNotFoundError, ValueError, ProcessLookupError):
        return None
    except PermissionError:  # it lives, as another user
        return pid
    return pid


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
