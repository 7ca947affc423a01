"""A real node in a process of its own, and real peers beside it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from node.cli.status import NodeStatus, read_status
from node.dicom.client import Peer
from node.processes import Role, processes, running_pid, title
from node.settings import Settings

READY_S = 300
REPOSITORY = Path(__file__).resolve().parents[2]
PEERS_REQUIRED = "LOOKALIKE_PEERS_REQUIRED"


def free_port() -> int:
    """A TCP port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def program(name: str) -> str:
    """Path of a peer's program; where it is missing the test is skipped, or fails if peers are required."""
    folders = [*os.environ.get("PATH", os.defpath).split(os.pathsep), "/usr/sbin", "/usr/local/sbin"]
    path = next(
        (found for folder in folders if (found := shutil.which(name, path=folder)) and not _is_python(found)), None
    )
    if path is None:
        message = (
            f"{name} is not installed: apt-get install dcmtk dicom3tools orthanc orthanc-dicomweb chromium nginx-light"
        )
        if os.environ.get(PEERS_REQUIRED):
            pytest.fail(message)
        pytest.skip(message)
    return path


def _is_python(path: str) -> bool:
    """Whether a program is a Python script: pynetdicom has some by the names of DCMTK's."""
    with Path(path).open("rb") as program:
        first = program.readline(200)
    return first.startswith(b"#!") and b"python" in first


def wait_until(condition: Callable[[], bool], what: str, limit_s: float = READY_S) -> None:
    """Wait for a condition; fail the test when it does not come true."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {limit_s:g} s for {what}")
        time.sleep(0.05)


class RunningNode:
    """`lookalike serve` in a home folder, with one receiver unless told otherwise: each takes seconds to start.

    Attributes
    ----------
    program
        Command line before `serve`.
    folder
        Where the node is started.
    """

    program: tuple[str, ...] = (sys.executable, "-m", "node")
    folder = REPOSITORY

    def __init__(self, home: Path, **settings: str) -> None:
        settings = {"receivers": "1", **settings}
        chosen: Any = settings
        self.settings = Settings(**{"home": home, "port": free_port(), "http_port": free_port(), **chosen})
        self.environment = os.environ | {f"LOOKALIKE_{name.upper()}": value for name, value in settings.items()}
        self.process: subprocess.Popen[bytes] | None = None
        self.log_path = home.with_suffix(".log")

    @property
    def peer(self) -> Peer:
        """The node as a client sees it."""
        return Peer(self.settings.ae_title, self.settings.host, self.settings.port)

    def start(self) -> None:
        """Start and wait until every role is ready."""
        command = [*self.program, "serve", "--home", str(self.settings.home)]
        command += ["--port", str(self.settings.port), "--http-port", str(self.settings.http_port)]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env=self.environment, cwd=self.folder, start_new_session=True
            )
        try:
            wait_until(self.is_ready, f"the node to be ready; its log is {self.log_path}")
        except BaseException:
            self.kill()
            raise

    def is_ready(self) -> bool:
        """Whether all roles have said so."""
        assert self.process is not None
        assert self.process.poll() is None, self.log_path.read_text()[-3000:]
        return all(
            running_pid(self.settings, role, number) is not None
            for role in Role
            for number in processes(self.settings, role)
        )

    def pids(self) -> dict[str, int]:
        """Process numbers of the supervisor and the roles that run."""
        assert self.process is not None
        roles = {
            title(role, number): running_pid(self.settings, role, number)
            for role in Role
            for number in processes(self.settings, role)
        }
        return {"supervisor": self.process.pid} | {name: pid for name, pid in roles.items() if pid is not None}

    def status(self) -> NodeStatus:
        """What `lookalike status` would show."""
        return read_status(self.settings)

    def wait_indexed(self, limit_s: float = READY_S) -> NodeStatus:
        """Wait until nothing waits in the spool."""
        incoming = self.settings.spool_path / "incoming"
        wait_until(lambda: not any(incoming.iterdir()), "the spool to empty", limit_s)
        return self.status()

    def stop(self) -> int:
        """End it as an operator would, and return its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def kill(self) -> None:
        """End it as a power cut would, children and all."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()


@contextmanager
def running_node(home: Path, **settings: str) -> Iterator[RunningNode]:
    """A node that is ready, ended in the end."""
    node = RunningNode(home, **settings)
    node.start()
    try:
        yield node
    finally:
        if node.process is not None and node.process.poll() is None:
            node.stop()


def run_peer(*command: str | Path, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a peer's program with Nagle's algorithm off: with it, each object waits for a delayed acknowledgement."""
    result = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"TCP_NODELAY": "1", **environment},
    )
    if check:
        assert result.returncode == 0, f"{command[0]}: {result.stdout[-2000:]} {result.stderr[-2000:]}"
    return result
