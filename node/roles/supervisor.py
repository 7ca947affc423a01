"""One process that starts the roles, restarts those that die or fall silent, and ends them all."""

import logging
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Thread
from typing import Final

from node.access.audit_trail import AuditTrail
from node.errors import SettingsError
from node.home import make_private, open_for_writing
from node.processes import Role, RoleState, node_lock, processes, role_state, silence_limit_s, start_command, title
from node.roles.start_checks import check_start
from node.settings import Settings

logger = logging.getLogger(__name__)

POLL_S: Final = 0.2
FIRST_PAUSE_S, MAX_PAUSE_S = 0.5, 30.0
STEADY_S: Final = 60.0  # a role that ran so long starts again without a pause
GRACE_S: Final = 15.0
SILENT_GRACE_S: Final = 2.0  # a role that does not answer can hardly end by itself
ASLEEP_S: Final = 2.0  # a supervisor that did not run for so long slept, as its roles may have
REFUSED: Final = 78
"""Exit status of a role that cannot start as it is set (EX_CONFIG of sysexits.h)."""


@dataclass(slots=True)
class Child:
    """A role's process, and when it may be started again or must be killed.

    Attributes
    ----------
    started_s, not_before_s, kill_at_s
        Times of the monotonic clock; `kill_at_s` is None unless the process got SIGTERM.
    """

    role: Role
    number: int = 1
    process: subprocess.Popen[bytes] | None = None
    started_s: float = 0.0
    pause_s: float = FIRST_PAUSE_S
    not_before_s: float = 0.0
    kill_at_s: float | None = None

    @property
    def name(self) -> str:
        """The role's name, with the number of the process from the second on."""
        return title(self.role, self.number)


class Supervisor:
    """Runs the roles of one home folder.

    Parameters
    ----------
    log
        File descriptor for what the roles print; None: they print where this process does.
    """

    def __init__(self, settings: Settings, roles: tuple[Role, ...] = tuple(Role), log: int | None = None) -> None:
        home, model_path = settings.home.absolute(), settings.model_path and settings.model_path.absolute()
        self.settings = settings.model_copy(update={"home": home, "model_path": model_path})
        self.children = [Child(role, number) for role in roles for number in processes(settings, role)]
        self.stop = Event()
        self._roles, self._log = roles, log
        self._awake_since_s = self._polled_s = time.monotonic()

    def run(self, on_ready: Callable[[], None]) -> None:
        """Start the roles and keep them running until SIGTERM or SIGINT.

        Parameters
        ----------
        on_ready
            Called once, in a thread of its own, when every role is ready: roles are watched meanwhile.

        Raises
        ------
        storage.errors.StorageError, hashing.model.model_file.ModelError, node.errors.NodeError, OSError
            Before anything is started: the home folder, the database, the model, a port or the disk cannot be used.
        SettingsError
            A role refused to start.
        """
        make_private(self.settings)
        with node_lock(self.settings):
            check_start(self.settings, self._roles)
            shutil.rmtree(self.settings.metrics_path, ignore_errors=True)  # counts of processes that are gone
            open_for_writing(self.settings).close()  # made before its readers look for it, or refused here
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: self.stop.set())
            welcome = Thread(target=_try, args=[on_ready], name="welcome", daemon=True)
            trail = AuditTrail(self.settings, "supervisor")
            trail.started()
            try:
                self._keep_all_running(welcome)
            finally:
                self.stop.set()
                self._end_all()
                trail.started(stopped=True)
                trail.close()
                if welcome.is_alive():  # it leaves no bar half drawn and no temporary file
                    welcome.join(GRACE_S)

    def is_ready(self) -> bool:
        """Return True if every role has given its first sign of life."""
        return all(child.process is not None and self._state(child).silence_s is not None for child in self.children)

    def _keep_all_running(self, welcome: Thread) -> None:
        ready = False
        while not self.stop.is_set():
            now = time.monotonic()
            if now - self._polled_s > ASLEEP_S:
                self._awake_since_s = now
            self._polled_s = now
            self._add_needed()
            for child in self.children:
                self._keep_running(child, now, first=not ready)
            if not ready and self.is_ready():
                ready = True
                welcome.start()
            self.stop.wait(POLL_S)

    def _add_needed(self) -> None:
        """Add roles that were not needed at the start: the first job that is planned by command needs `pull`."""
        known = {(child.role, child.number) for child in self.children}
        needed = ((role, number) for role in self._roles for number in processes(self.settings, role))
        self.children += [Child(*one) for one in needed if one not in known]

    def _keep_running(self, child: Child, now: float, *, first: bool) -> None:
        if child.process is not None and (code := child.process.poll()) is not None:
            if first and code == REFUSED:
                raise SettingsError(f"role {child.name} cannot start: its own message stands above")
            steady = now - child.started_s > STEADY_S
            child.pause_s = FIRST_PAUSE_S if steady else min(child.pause_s * 2, MAX_PAUSE_S)
            child.not_before_s, child.process, child.kill_at_s = now + child.pause_s, None, None
            logger.error("%s ended with status %d; starting it again in %.1f s", child.name, code, child.pause_s)
        if child.process is not None:
            self._end_if_silent(child, now)
        elif now >= child.not_before_s:
            self._start(child, now)

    def _start(self, child: Child, now: float) -> None:
        command = start_command("role", str(child.role), str(child.number), "--supervisor", str(os.getpid()))
        environment = os.environ | self.settings.environment()
        try:
            child.process = subprocess.Popen(
                command, env=environment, cwd=self.settings.home, stdout=self._log, stderr=self._log
            )
        except OSError as error:  # the machine is short of memory or processes: no reason to end those that run
            child.not_before_s = now + MAX_PAUSE_S
            logger.error("%s cannot be started: %s; trying again in %.0f s", child.name, error, MAX_PAUSE_S)
        child.started_s = now

    def _end_if_silent(self, child: Child, now: float) -> None:
        assert child.process is not None
        if child.kill_at_s is not None:
            if now >= child.kill_at_s:
                child.process.kill()
            return
        silence_s = self._state(child).silence_s
        limit_s = self.settings.start_limit_s if silence_s is None else silence_limit_s(self.settings, child.role)
        heard_s = child.started_s if silence_s is None else now - silence_s
        silence_s = now - max(heard_s, child.started_s, self._awake_since_s)
        if silence_s > limit_s:
            logger.error("%s has given no sign of life for %.0f s: it is ended", child.name, silence_s)
            child.process.terminate()
            child.kill_at_s = now + SILENT_GRACE_S

    def _state(self, child: Child) -> RoleState:
        return role_state(self.settings, child.role, child.number)

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


def _try(on_ready: Callable[[], None]) -> None:
    try:
        on_ready()
    except Exception:  # of a guest: the node serves without it
        logger.exception("the node is ready, but its first steps failed")
