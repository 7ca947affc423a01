"""The processes of a node: their roles, locks and signs of life, how they are started and how they end."""

import ctypes
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from node.locks import Owner, held_lock, is_locked, lock_owner
from node.settings import Settings

PR_SET_PDEATHSIG: Final = 1  # Linux, prctl(2)
ENTRY: Final = Path(__file__).resolve().parent / "__main__.py"
NODE_LOCK: Final = "node.lock"
ENDING_S: Final = 5.0
"""How long a lock is waited for: the roles of a supervisor that was killed end a moment after it."""

logger = logging.getLogger(__name__)


class Role(StrEnum):
    """A process of the node. Roles share nothing but the spool and the database."""

    INDEX = "index"
    DICOM = "dicom"
    WEB = "web"
    ANSWER = "answer"
    PULL = "pull"


class Heartbeat:
    """The sign of life of a role, which its main loop renews while it works; the first one says that it is ready.

    It is the time stamp of the role's lock file, set to the monotonic clock: that needs no room on a full disk, and
    neither a corrected clock nor a suspended machine makes it look old. Where systemd started the role as a unit of its
    own, systemd is told, too (sd_notify(3)).
    """

    def __init__(self, file: int) -> None:
        self._file, self._manager = file, os.environ.pop("NOTIFY_SOCKET", "")  # not for the processes that it starts
        self._failed = False

    def clear(self) -> None:
        """Take back what an earlier process of this role left: this one is not ready yet."""
        self._stamp(0)

    def renew(self) -> None:
        """Say that the role works now. It never raises: a role must not end because of it."""
        self._stamp(time.monotonic_ns())
        if self._manager:
            self._tell_manager()

    def _tell_manager(self) -> None:
        address = f"\0{self._manager[1:]}" if self._manager.startswith("@") else self._manager
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as manager, suppress(OSError):
            manager.sendto(b"READY=1\nWATCHDOG=1", address)  # of some that are lost, the next one counts

    def _stamp(self, time_ns: int) -> None:
        try:
            os.utime(self._file, ns=(time_ns, time_ns))
        except OSError as error:
            if not self._failed:
                logger.error("the sign of life cannot be renewed: %s", error.strerror)
            self._failed = True


@dataclass(frozen=True, slots=True)
class RoleState:
    """State of one process of a role.

    Attributes
    ----------
    running
        True if the process lives: it holds the lock.
    pid
        Its process number; None if it does not run, or could not write it on a full disk.
    silence_s
        Seconds since its last sign of life; None before the first one.
    """

    running: bool
    pid: int | None = None
    silence_s: float | None = None


@contextmanager
def role_lock(settings: Settings, role: Role, number: int = 1) -> Iterator[Heartbeat]:
    """Be the only process of this role and number while the block runs; give its sign of life, which is still unset.

    Raises
    ------
    node.locks.InUseError
        Another process has this role.
    """
    path, subject = pid_path(settings, role, number), f"role {title(role, number)} of {settings.home}"
    with held_lock(path, subject, Owner.this_process(settings), ENDING_S) as file:
        heartbeat = Heartbeat(file)
        heartbeat.clear()
        yield heartbeat


def node_lock(settings: Settings) -> AbstractContextManager[int]:
    """Keep other supervisors off the home folder while the block runs, and leave the node's address there.

    Raises
    ------
    node.locks.InUseError
        Another node runs in this home folder.
    """
    return held_lock(settings.run_path / NODE_LOCK, f"home folder {settings.home}", Owner.this_process(settings))


def running_node(settings: Settings) -> Owner | None:
    """Return the process and address of the node that runs in the home folder; None if none does."""
    paths = [settings.run_path / NODE_LOCK, *(pid_path(settings, role) for role in (Role.DICOM, Role.WEB))]
    return next((owner for path in paths if (owner := lock_owner(path)) is not None), None)


def role_state(settings: Settings, role: Role, number: int = 1) -> RoleState:
    """Return the state of one process of a role, as its lock tells it."""
    path = pid_path(settings, role, number)
    if not is_locked(path):
        return RoleState(running=False)
    owner = lock_owner(path)
    stamp_ns, now_ns = path.stat().st_mtime_ns, time.monotonic_ns()
    ready = 0 < stamp_ns <= now_ns  # a later one is that of writing the owner, by the other clock
    return RoleState(True, owner.pid if owner else None, (now_ns - stamp_ns) / 1e9 if ready else None)


def role_fault(settings: Settings, role: Role, number: int = 1) -> str | None:
    """Return why a process of a role does not serve, None if it does."""
    state, name = role_state(settings, role, number), f"role {title(role, number)}"
    if not state.running:
        return f"{name} is not running"
    if state.silence_s is None:
        return f"{name} is not ready yet"
    if state.silence_s > silence_limit_s(settings, role):
        return f"{name} has given no sign of life for {state.silence_s:.0f} s"
    return None


def role_faults(settings: Settings) -> list[str]:
    """Return why processes of the node do not serve, one sentence for each that does not."""
    faults = (role_fault(settings, role, number) for role in Role for number in processes(settings, role))
    return [fault for fault in faults if fault is not None]


def running_pid(settings: Settings, role: Role, number: int = 1) -> int | None:
    """Return the process number of a role that lives and is ready, or None."""
    state = role_state(settings, role, number)
    return state.pid if state.silence_s is not None else None


def silence_limit_s(settings: Settings, role: Role) -> float:
    """Return how long a role that is ready may give no sign of life, in seconds."""
    if role in (Role.INDEX, Role.ANSWER):  # one when an instance is decoded, which may take so long by itself
        return settings.decode_timeout_s + settings.index_heartbeat_limit_s
    return settings.heartbeat_limit_s


def processes(settings: Settings, role: Role) -> range:
    """Return the numbers of the processes that share a role; they count from 1. A role that is not needed has none."""
    counts = {
        Role.DICOM: settings.receivers,
        Role.ANSWER: int(settings.answers_questions),
        Role.PULL: int(settings.pulls),
    }
    return range(1, counts.get(role, 1) + 1)


def title(role: Role, number: int) -> str:
    """Return the name of a process: its role, and from the second process on its number too, as in "dicom-2"."""
    return str(role) if number == 1 else f"{role}-{number}"


def pid_path(settings: Settings, role: Role, number: int = 1) -> Path:
    """Return the path of the file that a running role locks; its owner is written there."""
    return settings.run_path / f"{title(role, number)}.pid"


def start_command(*arguments: str) -> list[str]:
    """Return the command line that runs the command `lookalike` in another process, from any folder.

    The folder in which the node was started must not be searched for modules (-P): whoever can write there would run
    code as the node's user.
    """
    return [sys.executable, "-P", str(ENTRY), *arguments]


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
