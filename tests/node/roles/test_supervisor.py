"""A supervisor and roles that do nothing: what it restarts, what it watches meanwhile, and when it gives up."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from node.errors import SettingsError
from node.home import make_private
from node.locks import InUseError
from node.processes import Role, role_lock, role_state
from node.roles import supervisor as module
from node.roles.supervisor import REFUSED, Supervisor
from node.settings import Settings
from tests.support.running import free_port, wait_until

ROLE = """
import os, sys, time
from pathlib import Path
from node.processes import Role, role_lock
from node.settings import Settings
home, (name, number) = Path(os.environ["LOOKALIKE_HOME"]), sys.argv[2:4]
del os.environ["LOOKALIKE_START_LIMIT_S"]  # a test sets less than may be set
with role_lock(Settings(home=home), Role(name), int(number)) as heartbeat:
    while True:
        heartbeat.renew()
        time.sleep(0.02)
"""
WAIT_S = 60


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(module, "start_command", lambda *arguments: [sys.executable, "-c", ROLE, *arguments])
    return Settings(
        home=tmp_path / "home", port=free_port(), http_port=free_port(), spool_free_bytes=0, decode_timeout_s=1
    )


@pytest.fixture(autouse=True)
def _signals_and_umask_as_before() -> Iterator[None]:
    umask = os.umask(0o022)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    os.umask(umask)
    for number, handler in handlers.items():
        signal.signal(number, handler)


def pid(settings: Settings, role: Role) -> int:
    """Process number of a role that gives signs of life, once it does."""
    seen: list[int] = []

    def alive() -> bool:
        state = role_state(settings, role)  # read once: a second look may find it dead
        if state.silence_s is not None and state.pid is not None:
            seen.append(state.pid)
        return bool(seen)

    wait_until(alive, f"{role} to be ready", WAIT_S)
    return seen[0]


def supervise(settings: Settings, then: Callable[[], None], roles: tuple[Role, ...] = (Role.WEB,)) -> None:
    """Run a supervisor until `then`, which runs while it supervises, returns; raise what that raises."""
    supervisor, failed = Supervisor(settings, roles), []

    def on_ready() -> None:
        try:
            then()
        except BaseException as error:
            failed.append(error)
        supervisor.stop.set()

    supervisor.run(on_ready)
    if failed:
        raise failed[0]


def test_a_role_that_dies_while_the_first_cases_are_loaded_is_started_again(settings: Settings) -> None:
    def load() -> None:
        first = pid(settings, Role.INDEX)
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: pid(settings, Role.INDEX) != first, "the index role to start again", WAIT_S)

    supervise(settings, load, (Role.INDEX, Role.WEB))


def test_a_role_that_gives_no_sign_of_life_is_killed_and_started_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "silence_limit_s", lambda *_: 1.0)
    monkeypatch.setattr(module, "SILENT_GRACE_S", 0.2)

    def hang() -> None:
        first = pid(settings, Role.WEB)
        os.kill(first, signal.SIGSTOP)
        wait_until(lambda: pid(settings, Role.WEB) != first, "the role to start again", WAIT_S)

    supervise(settings, hang)

    assert any("web has given no sign of life for" in record.getMessage() for record in caplog.records)


def test_a_role_that_hangs_while_it_starts_is_killed_too(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    hung = settings.home.with_name("hung")
    once = f"import os\nif not os.path.exists({str(hung)!r}): open({str(hung)!r}, 'w'); import time; time.sleep(600)\n"
    monkeypatch.setattr(module, "start_command", lambda *arguments: [sys.executable, "-c", once + ROLE, *arguments])
    impatient = settings.model_copy(update={"start_limit_s": 10})

    supervise(impatient, lambda: None)

    assert hung.exists()


def test_a_supervisor_that_slept_itself_ends_no_role(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "silence_limit_s", lambda *_: 5.0)
    started: list[int] = []

    def sleep() -> None:
        started.append(pid(settings, Role.WEB))
        now = time.monotonic  # a jump of the clock on which both live, as if all processes had been stopped
        monkeypatch.setattr(time, "monotonic", lambda: now() + 100)
        time.sleep(1)
        started.append(pid(settings, Role.WEB))

    supervise(settings, sleep)

    assert started[0] == started[1]


def test_a_role_that_refuses_to_start_ends_the_node_instead_of_being_started_for_ever(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "start_command", lambda *_: [sys.executable, "-c", f"raise SystemExit({REFUSED})"])

    with pytest.raises(SettingsError, match="role web cannot start"):
        supervise(settings, lambda: pytest.fail("it never was ready"))


def test_a_second_node_on_a_home_folder_is_refused_with_the_address_of_the_first(settings: Settings) -> None:
    elsewhere = settings.model_copy(update={"port": free_port(), "http_port": free_port()})

    def start_another() -> None:
        with pytest.raises(InUseError, match=f"in use by process {os.getpid()} on .* at 127.0.0.1:{settings.port}"):
            Supervisor(elsewhere, (Role.WEB,)).run(lambda: None)

    supervise(settings, start_another)


def test_a_node_does_not_start_beside_a_role_that_runs_alone(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.processes.ENDING_S", 0)
    make_private(settings)

    with role_lock(settings, Role.WEB), pytest.raises(InUseError, match="role web of"):
        supervise(settings, lambda: pytest.fail("it started"))


def test_a_first_step_that_fails_does_not_end_the_node(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    supervisor = Supervisor(settings, (Role.WEB,))

    def fail() -> None:
        threading.Timer(1, supervisor.stop.set).start()
        raise ConnectionError("refused")

    supervisor.run(fail)

    assert any("first steps failed" in record.getMessage() for record in caplog.records)


def test_roles_run_in_the_home_folder_with_absolute_paths(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(settings.home.parent)
    relative = settings.model_copy(update={"home": Path("home"), "model_path": None})
    folders: list[Path] = []

    supervise(relative, lambda: folders.append(Path(f"/proc/{pid(settings, Role.WEB)}/cwd").resolve()))

    assert folders == [settings.home.resolve()]
