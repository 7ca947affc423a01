"""Roles as others see them: running, ready, silent; and how processes are started."""

import os
import socket
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from node.home import make_private
from node.locks import InUseError
from node.processes import (
    Heartbeat,
    Role,
    node_lock,
    pid_path,
    role_fault,
    role_lock,
    role_state,
    running_node,
    running_pid,
    silence_limit_s,
    start_command,
)
from node.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(home=tmp_path / "home", ae_title="OURS", port=1104, http_port=1080)
    make_private(settings)
    return settings


def test_a_role_runs_from_its_lock_on_and_is_ready_from_its_first_sign_of_life_on(settings: Settings) -> None:
    before = role_fault(settings, Role.INDEX)
    with role_lock(settings, Role.INDEX) as heartbeat:
        starting = role_fault(settings, Role.INDEX), running_pid(settings, Role.INDEX)
        heartbeat.renew()
        ready = role_fault(settings, Role.INDEX), running_pid(settings, Role.INDEX)
    after = role_fault(settings, Role.INDEX), running_pid(settings, Role.INDEX)

    assert before == "role index is not running"
    assert starting == ("role index is not ready yet", None)
    assert ready == (None, os.getpid())
    assert after == ("role index is not running", None)


def test_a_living_process_with_the_number_in_the_file_is_not_taken_for_the_role(settings: Settings) -> None:
    with role_lock(settings, Role.DICOM, 2) as heartbeat:
        heartbeat.renew()

    assert str(os.getpid()) in pid_path(settings, Role.DICOM, 2).read_text()
    assert running_pid(settings, Role.DICOM, 2) is None


def test_a_role_that_starts_again_is_not_ready_by_what_the_last_one_left(settings: Settings) -> None:
    with role_lock(settings, Role.WEB) as heartbeat:
        heartbeat.renew()
    with role_lock(settings, Role.WEB):
        assert role_state(settings, Role.WEB).silence_s is None


def test_two_processes_of_one_role_and_number_are_impossible(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.processes.ENDING_S", 0)
    with role_lock(settings, Role.INDEX), role_lock(settings, Role.DICOM, 1), role_lock(settings, Role.DICOM, 2):
        with pytest.raises(InUseError, match=r"role index of .*home is in use by process \d+ on .*OURS at 127"):
            role_lock(settings, Role.INDEX).__enter__()
        with pytest.raises(InUseError, match="role dicom-2 of"):
            role_lock(settings, Role.DICOM, 2).__enter__()


def test_silence_grows_until_the_limit_whatever_the_wall_clock_says(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ns = time.monotonic_ns()
    with role_lock(settings, Role.DICOM) as heartbeat:
        heartbeat.renew()
        monkeypatch.setattr(time, "time", lambda: 4e9)
        monkeypatch.setattr(time, "monotonic_ns", lambda: now_ns + 9 * 10**9)
        early = role_fault(settings, Role.DICOM)
        monkeypatch.setattr(time, "monotonic_ns", lambda: now_ns + 12 * 10**9)
        late = role_fault(settings, Role.DICOM)

    assert early is None
    assert late == "role dicom has given no sign of life for 12 s"


def test_an_index_role_may_be_silent_for_as_long_as_one_instance_takes_to_decode(settings: Settings) -> None:
    slow = settings.model_copy(update={"decode_timeout_s": 3600})

    assert silence_limit_s(slow, Role.INDEX) > 3600 + 60
    assert silence_limit_s(slow, Role.DICOM) == silence_limit_s(slow, Role.WEB) == 10


def test_a_sign_of_life_that_cannot_be_given_ends_no_role(caplog: pytest.LogCaptureFixture) -> None:
    heartbeat = Heartbeat(999_999)

    for _ in range(3):
        heartbeat.renew()

    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_the_home_folder_holds_the_address_of_the_node_that_runs_there(settings: Settings) -> None:
    before = running_node(settings)
    with node_lock(settings):
        during = running_node(settings)
    with role_lock(settings, Role.DICOM):
        alone = running_node(settings)

    assert before is None
    assert during == alone
    assert during is not None
    assert (during.ae_title, during.host, during.port, during.http_port) == ("OURS", "127.0.0.1", 1104, 1080)
    assert running_node(settings) is None


def test_the_command_line_of_a_role_works_in_any_folder_and_runs_nothing_that_lies_there(tmp_path: Path) -> None:
    for name in ("typer", "node", "lmdb", "numpy", "pydantic", "rich", "logging", "json", "click"):
        (tmp_path / f"{name}.py").write_text(f"open('ran', 'a').write('{name} ')")

    printed = subprocess.run(
        start_command("--version"), cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True
    )

    assert printed.stdout.strip()
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", ["abstract", "path"])
def test_systemd_is_told_of_each_sign_of_life_and_its_absence_harms_nobody(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, TemporaryDirectory() as folder:
        name = f"@lookalike-{os.getpid()}" if kind == "abstract" else f"{folder}/notify"
        manager.bind(name.replace("@", "\0"))
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        with role_lock(settings, Role.WEB) as heartbeat:
            assert "NOTIFY_SOCKET" not in os.environ
            for _ in range(2):
                heartbeat.renew()
                assert manager.recv(99) == b"READY=1\nWATCHDOG=1"
            manager.close()
            heartbeat.renew()

            assert role_fault(settings, Role.WEB) is None
