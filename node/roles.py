"""The roles of a node, and how a role tells the others that it is ready."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from node.settings import Settings


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
