"""A real Milvus server for tests: the standalone of the package `milvus`, in a folder of its own."""

import atexit
import fcntl
import os
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import psutil
import pytest

from node.processes import die_with_parent
from storage.search.milvus.connection import CodeOrigin, Connection
from storage.search.milvus.index import MilvusIndex
from storage.search.milvus.options import MilvusOptions, PartitionKey, VectorIndex
from tests.support.running import free_port, wait_until

EVERY_KEY = 'key != ""'


class MilvusServer:
    """A server that can be killed and started again over the same data; it does not outlive the process."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port, self._health = folder, free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        milvus = pytest.importorskip("milvus", reason="the package milvus holds the server")
        programs = _programs(milvus)
        config = milvus.MilvusServerConfig(data_dir=str(self._folder), proxy_port=self._port)
        config.try_bind_port = _listening  # its own fails for a minute after the port was in use
        config.template_text = config.template_text.replace("  data:\n", self._etcd() + "  data:\n", 1)
        config.set("proxy.timeTickInterval", 50)
        config.resolve()
        environment = {
            "DEPLOY_MODE": "STANDALONE",
            "METRICS_PORT": str(self._health),
            "MILVUS_RUN_DIR": str(self._folder / "run"),
            "LD_LIBRARY_PATH": str(programs),
        }
        with (self._folder / "milvus.log").open("ab") as log:
            self._process = subprocess.Popen(
                [programs / "milvus", "run", "standalone"],
                env=os.environ | environment,
                cwd=self._folder,
                stdout=log,
                stderr=log,
                preexec_fn=partial(die_with_parent, os.getpid()),
            )
        wait_until(self._is_healthy, "Milvus to start", 200)

    def kill(self) -> None:
        """End it as a power failure does; by itself it may take minutes to end."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(60)
            self._process = None

    def memory_bytes(self) -> int:
        assert self._process is not None
        return int(psutil.Process(self._process.pid).memory_info().rss)

    def _is_healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._health}/healthz", timeout=10) as answer:
                return b"OK" in answer.read()
        except OSError:
            return False

    def _etcd(self) -> str:
        """Settings of the etcd inside it, which else listens on the same ports as that of another server."""
        file, peer, client = self._folder / "etcd.yaml", free_port(), free_port()
        file.write_text(
            f"listen-peer-urls: http://127.0.0.1:{peer}\nlisten-client-urls: http://127.0.0.1:{client}\n"
            f"advertise-client-urls: http://127.0.0.1:{client}\n"
            f"initial-advertise-peer-urls: http://127.0.0.1:{peer}\n"
            f"initial-cluster: default=http://127.0.0.1:{peer}\nname: default\n"
        )
        return f"  config:\n    path: {file}\n"


def _programs(milvus: ModuleType) -> Path:
    """Folder of the programs, which the first test unpacks beside the package: that takes longer than a start."""
    folder = Path(str(milvus.__file__)).parent / "unpacked"
    folder.mkdir(exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        milvus._initialize_data_files(folder)
    finally:
        os.close(handle)
    return folder / "bin"


@contextmanager
def milvus_server() -> Iterator[MilvusServer]:
    with TemporaryDirectory(prefix="milvus-", ignore_cleanup_errors=True) as folder:
        server = MilvusServer(Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.kill()


@lru_cache
def shared_server() -> MilvusServer:
    """The server that the tests of this process share; it ends with the process."""
    running = milvus_server()
    server = running.__enter__()
    atexit.register(running.__exit__, None, None, None)
    return server


@lru_cache
def _connection(code_length: int, vector_index: VectorIndex, partition_key: PartitionKey) -> Connection:
    name = "_".join(("codes", str(code_length), vector_index, partition_key))
    options = MilvusOptions(
        shared_server().uri,
        name,
        timeout_s=60,
        vector_index=vector_index,
        lists=16,
        partition_key=partition_key,
        partitions=4,
    )
    return Connection(options, CodeOrigin(code_length, "model"))


@contextmanager
def empty_milvus(
    code_length: int,
    vector_index: VectorIndex = VectorIndex.FLAT,
    partition_key: PartitionKey = PartitionKey.NONE,
) -> Iterator[MilvusIndex]:
    """An index over a collection that tests use one after the other, since making one takes seconds."""
    connection = _connection(code_length, vector_index, partition_key)
    connection.delete(EVERY_KEY)
    connection.wait_visible()
    yield MilvusIndex(connection)


def _listening(port: int) -> socket.socket | None:
    """A socket that listens on a port, None if it is in use."""
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError:
        return None
