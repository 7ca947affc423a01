"""One process that starts the roles, restarts those that die, and ends them all."""

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Event

from node.errors import SettingsError
from node.home import open_for_writing
from node.processes import Role, pid_path, processes, running_pid, title
from node.settings import Settings

logger = logging.getLogger(__name__)

POLL_S = 0.2
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
STEADY_S = 60.0  # a role that ran so long starts again without a pause
GRACE_S = 15.0


@dataclass(slots=True)
class Child:
    """A role's process, and when it may be started again."""

    role: Role
    number: int = 1
    process: subprocess.Popen[bytes] | None = None
    started_s: float = 0.0
    pause_s: float = FIRST_PAUSE_S
    not_before_s: float = field(default=0.0)


class Supervisor:
    """Runs the roles of one home folder."""

    def __init__(self, settings: Settings, roles: tuple[Role, ...] = tuple(Role)) -> None:
        self.settings = settings
        self.children = [Child(role, number) for role in roles for number in processes(settings, role)]
        self.stop = Event()

    def run(self, on_ready: Callable[[], None]) -> None:
        """Start the roles and keep them running until SIGTERM or SIGINT.

        Parameters
        ----------
        on_ready
            Called once, in this thread, when every role is ready.

        Raises
        ------
        storage.errors.StorageError, hashing.model.model_file.ModelError, SettingsError
            Before anything is started: the database, the model or the port cannot be used.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop.set())
        self._check_port()
        open_for_writing(self.settings).close()  # made before its readers look for it, and refused here if it must be
        for child in self.children:
            pid_path(self.settings, child.role, child.number).unlink(missing_ok=True)
        ready = False
        try:
            while not self.stop.is_set():
                for child in self.children:
                    self._keep_running(child)
                if not ready and self.is_ready():
                    ready = True
                    on_ready()
                self.stop.wait(POLL_S)
        finally:
            self._end_all()

    def _check_port(self) -> None:
        """Refuse a port in use: receivers that share theirs would share it with another node, too."""
        family = socket.AF_INET6 if ":" in self.settings.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self.settings.host, self.settings.port))
            except OSError as error:
                address = f"{self.settings.host}:{self.settings.port}"
                raise SettingsError(f"cannot listen on {address}: {error.strerror}; choose another port") from error

    def is_ready(self) -> bool:
        """Whether every role has said that it serves."""
        return all(
            child.process is not None and running_pid(self.settings, child.role, child.number) == child.process.pid
            for child in self.children
        )

    def _keep_running(self, child: Child) -> None:
        now = time.monotonic()
        if child.process is not None and (code := child.process.poll()) is not None:
            steady = now - child.started_s > STEADY_S
            child.pause_s = FIRST_PAUSE_S if steady else min(child.pause_s * 2, LONGEST_PAUSE_S)
            child.not_before_s, child.process = now + child.pause_s, None
            name = title(child.role, child.number)
            logger.error("%s ended with status %d; starting it again in %.1f s", name, code, child.pause_s)
        if child.process is None and now >= child.not_before_s:
            command = [sys.executable, "-m", "node", "role", str(child.role), str(child.number), str(os.getpid())]
            child.process = subprocess.Popen(command, env=os.environ | self._environment())
            child.started_s = now

    def _environment(self) -> Mapping[str, str]:
        """Our settings, as a child reads them."""
        values = self.settings.model_dump(mode="json", exclude_none=True)
        return {f"LOOKALIKE_{name.upper()}": str(value) for name, value in values.items()}

    def _end_all(self) -> None:
        running = [child.process for child in self.children if child.process is not None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + GRACE_S
        for process in running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                logger.error("process %d did not end in %.0f s: killed", process.pid, GRACE_S)
                process.kill()
                process.wait()
