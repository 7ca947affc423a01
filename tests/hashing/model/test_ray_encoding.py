"""Encoding on a real Ray cluster of three nodes: the codes of this machine, though a worker is killed."""

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.support.running import REPOSITORY

pytest.importorskip("ray", reason="the extra ray is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[str, int]]:
    """Address of a cluster, and process number of the program that holds it."""
    command = [sys.executable, "-m", "tests.support.hashing.ray_cluster"]
    environment = os.environ | {"RAY_worker_niceness": "0"}  # other tests must not starve its workers
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY, env=environment
    ) as program:
        assert program.stdout is not None
        address = program.stdout.readline().strip()
        assert ":" in address
        yield address, program.pid


def encode(folder: Path, out: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "hashing", "encode", str(folder), "--out", str(out), *options]
    return subprocess.Popen(command, cwd=REPOSITORY)


def lines(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def at_work(program: int) -> list[psutil.Process]:
    """Workers that encode a block at this moment: Ray names a process by what it does."""
    found = []
    for process in psutil.Process(program).children(recursive=True):
        with suppress(psutil.Error):  # it ended meanwhile
            if "ModelHolder.encode_files" in " ".join(process.cmdline()):
                found.append(process)
    return found


def kill_a_worker(running: subprocess.Popen[bytes], program: int) -> bool:
    """Kill one in the middle of a block; False if the encoding ended before."""
    while running.poll() is None:
        if workers := at_work(program):
            workers[0].send_signal(signal.SIGKILL)
            return True
        time.sleep(0.01)
    return False


def test_a_cluster_gives_the_codes_of_this_machine_though_a_worker_is_killed(
    cluster: tuple[str, int], phantoms: Path, tmp_path: Path
) -> None:
    """Each frame once, in the same order, and what is no image with the same fault."""
    (address, program), here, there = cluster, tmp_path / "here.csv", tmp_path / "there.csv"
    assert encode(phantoms, here).wait(300) == 0

    running = encode(phantoms, there, "--ray", address, "--workers", "3")
    killed = kill_a_worker(running, program)

    assert running.wait(300) == 0
    assert killed
    assert lines(there) == lines(here)
    frames = [tuple(line[1:3]) for line in lines(there)[1:] if line[1]]
    assert len(frames) == len(set(frames)) > 50
