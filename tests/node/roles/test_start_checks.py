"""Faults that are named before anything starts: one line, and the command exits with 1."""

import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest

from node.cli.main import main
from node.home import open_for_writing
from node.roles import start_checks
from node.settings import FILE_NAME, Settings
from tests.support.running import free_port


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Home folder whose settings can be started with, were it not for what a test adds to them."""
    for name in [name for name in os.environ if name.startswith("LOOKALIKE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    monkeypatch.setattr("node.roles.supervisor.Supervisor._keep_all_running", lambda *_: pytest.fail("it started"))
    umask = os.umask(0o022)
    yield tmp_path / "home"
    os.umask(umask)


PLAIN = {"allow_plain_dicom": True, "allow_plain_http": True}


def write_settings(home: Path, **changes: object) -> None:
    chosen = {"port": free_port(), "http_port": free_port(), "spool_free_bytes": 0, **changes}
    home.mkdir(exist_ok=True)
    (home / FILE_NAME).write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in chosen.items()))


def refusal(home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *options: str) -> str:
    """What `lookalike serve` prints when it exits with 1."""
    monkeypatch.setattr(sys, "argv", ["lookalike", "serve", "--home", str(home), *options])
    with pytest.raises(SystemExit) as caught:
        main()
    printed = capfd.readouterr()
    assert caught.value.code == 1
    assert printed.out == ""
    assert printed.err.count("\n") == 1, printed.err
    return printed.err


@pytest.mark.parametrize(("setting", "option"), [("port", "--port"), ("http_port", "--http-port")])
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1"])
def test_a_port_in_use_is_named_with_the_option_to_change_it(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], setting: str, option: str, host: str
) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server(("::1" if ":" in host else "127.0.0.1", 0), family=family) as other:
        port = other.getsockname()[1]
        write_settings(home, host=host, **{setting: port}, **PLAIN)

        line = refusal(home, monkeypatch, capfd)

    assert f"cannot listen on {host}:{port}: " in line
    assert f"choose another ({option})" in line


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid", "2001:db8::1"])
def test_an_address_that_is_not_ours_is_not_taken_for_a_port_in_use(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], host: str
) -> None:
    write_settings(home, host=host, **PLAIN)

    line = refusal(home, monkeypatch, capfd)

    assert "--host must be an address of this machine" in line
    assert "choose another" not in line


def test_one_port_for_both_services_is_refused_with_where_it_was_set(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    write_settings(home, port=8080, http_port=1)

    line = refusal(home, monkeypatch, capfd, "--http-port", "8080")

    assert "port and http_port are both 8080" in line
    assert f"{home / FILE_NAME}" in line
    assert "the option --http-port" in line


def test_a_device_that_is_not_there_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(start_checks, "_count_gpus", lambda: 1)
    write_settings(home, device="cuda:1")

    assert "device cuda:1: torch sees 1 GPUs; set device to auto or cpu" in refusal(home, monkeypatch, capfd)


def test_gpus_are_counted_by_a_process_that_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    assert start_checks._count_gpus() >= 0
    monkeypatch.setattr(start_checks, "COUNT_GPUS", "raise SystemExit(3)")
    assert start_checks._count_gpus() == 0


@pytest.mark.parametrize(("device", "what"), [("cpu", "not installed"), ("cuda", "runs on a CPU only")])
def test_an_encoder_that_is_not_there_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], device: str, what: str
) -> None:
    monkeypatch.setattr(start_checks, "find_spec", lambda _: None)
    write_settings(home, encoder_backend="openvino", device=device)

    assert what in refusal(home, monkeypatch, capfd)


def test_a_disk_on_which_every_sender_would_be_refused_is_named(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    write_settings(home, spool_free_bytes=1 << 62)

    line = refusal(home, monkeypatch, capfd)

    assert "of disk left, and senders are refused below" in line
    assert "lower spool_free_bytes" in line


def test_a_code_length_other_than_the_databases_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    write_settings(home)
    open_for_writing(Settings(home=home)).close()
    monkeypatch.setenv("LOOKALIKE_CODE_LENGTH", "32")

    line = refusal(home, monkeypatch, capfd)

    assert "holds codes of 64 bits, and code_length is 32: set code_length to 64" in line


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (lmdb.Error("/x/data.mdb: Permission denied"), "database: /x/data.mdb: Permission denied"),
        (lmdb.ReadonlyError("mdb_txn_begin: Permission denied"), "mdb_txn_begin: Permission denied"),
        (PermissionError(13, "Permission denied", "/x"), "/x: Permission denied"),
        (MemoryError(), "memory ran out"),
        (ValueError("two\nlines [bold] of it"), "two lines [bold] of it"),
        (ModuleNotFoundError("No module named 'torch'"), "No module named 'torch': install Lookalike again"),
    ],
)
def test_any_error_that_a_user_can_cause_is_one_line(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    error: Exception,
    said: str,
) -> None:
    def fail(_: object) -> None:
        raise error

    write_settings(home)
    monkeypatch.setattr("node.roles.supervisor.open_for_writing", fail)

    assert said in refusal(home, monkeypatch, capfd)


@pytest.mark.parametrize("name", ["database", "run", "spool"])
def test_a_folder_that_is_a_file_is_named(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    write_settings(home)
    (home / name).write_text("in the way")

    assert f"{home / name} is no folder" in refusal(home, monkeypatch, capfd)


def test_a_folder_that_cannot_be_written_is_named(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def readonly(dir: Path) -> None:  # noqa: A002
        if dir.name == "database":
            raise PermissionError(13, "Permission denied")

    write_settings(home)
    monkeypatch.setattr(start_checks, "_write_nothing", readonly)

    line = refusal(home, monkeypatch, capfd)

    assert f"{home / 'database'} cannot be written by user {os.geteuid()}: Permission denied" in line
