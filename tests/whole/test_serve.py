"""A whole node: started in a hostile folder, asked for its locks, its permissions and its watchdog."""

import json
import os
import signal
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.cli.send import files
from tests.support.running import RunningNode, wait_until

SCRIPT = str(Path(sys.executable).with_name("lookalike"))
POISONED = (
    "lmdb", "numpy", "node", "storage", "hashing", "torch", "pydicom", "numba", "typer", "rich", "pydantic",
    "pickle", "multiprocessing", "runpy", "signal", "socket", "sitecustomize", "usercustomize",
)  # fmt: skip


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    """A node that was started where somebody laid modules by the names of those that it uses."""
    folder = tmp_path_factory.mktemp("hostile")
    for name in POISONED:
        (folder / f"{name}.py").write_text(f"open({str(folder / 'ran')!r}, 'a').write('{name} ')")
    node = RunningNode(folder / "home", heartbeat_limit_s="5", receivers="2")
    node.program, node.folder = (SCRIPT,), folder
    node.start()
    yield node
    if node.process is not None and node.process.poll() is None:
        node.stop()


def readiness(node: RunningNode) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"{node.settings.url}readyz", timeout=10) as answer:
            return int(answer.status), answer.read().decode()
    except urllib.error.HTTPError as error:
        return int(error.code), error.read().decode()


def test_no_module_of_the_folder_where_the_node_was_started_is_run(node: RunningNode, phantoms: Path) -> None:
    stored = [one.status for one in node.peer.store(list(files(phantoms))[:3])]
    node.wait_indexed()

    assert stored == [0, 0, 0]
    assert not (node.folder / "ran").exists()


def test_everything_below_the_home_folder_is_for_its_owner_only(node: RunningNode) -> None:
    home = node.settings.home

    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (home, *home.rglob("*"))}

    assert {path: oct(mode) for path, mode in modes.items() if mode not in (0o700, 0o600)} == {}


def test_a_second_node_and_a_second_index_role_are_refused_in_one_line(node: RunningNode) -> None:
    home = str(node.settings.home)
    serve = [SCRIPT, "serve", "--home", home, "--port", "1", "--http-port", "2"]
    for command, subject in ((serve, "home folder"), ([SCRIPT, "role", "index", "--home", home], "role index of")):
        ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

        assert ended.returncode != 0
        assert ended.stderr.count("\n") == 1
        assert f"{subject} " in ended.stderr
        assert f"(LOOKALIKE at 127.0.0.1:{node.settings.port})" in ended.stderr
    assert node.is_ready()


def test_a_command_finds_the_port_of_the_node_by_its_home_folder(node: RunningNode, phantoms: Path) -> None:
    file = next(iter(files(phantoms)))
    for command in (["send", str(file)], ["check"]):
        ended = subprocess.run(
            [SCRIPT, *command, "--home", str(node.settings.home)],
            capture_output=True, text=True, timeout=120, check=False, env=os.environ | {"COLUMNS": "500"},
        )  # fmt: skip

        assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize(
    "victim", ["dicom", pytest.param("web", marks=pytest.mark.slow), pytest.param("dicom-2", marks=pytest.mark.slow)]
)
def test_a_role_that_stops_answering_is_noticed_and_replaced(node: RunningNode, victim: str) -> None:
    wait_until(node.is_ready, "all roles to be ready", 60)
    before = node.pids()[victim]

    os.kill(before, signal.SIGSTOP)
    if victim != "web":
        wait_until(lambda: readiness(node)[0] == 503, "the node to say that it is not ready", 60)
    wait_until(lambda: node.pids().get(victim, before) != before, "another process to take its part", 60)

    wait_until(lambda: node.is_ready() and readiness(node)[0] == 200, "the node to be ready again", 60)
    node.peer.echo()
    assert json.loads(readiness(node)[1])["reasons"] == []


@pytest.mark.slow
def test_a_killed_supervisor_leaves_a_home_folder_that_starts_again_at_once(node: RunningNode) -> None:
    before = node.pids()
    node.kill()

    node.start()

    wait_until(lambda: node.is_ready() and node.pids()["web"] != before["web"], "other processes to be ready", 120)
    node.peer.echo()
