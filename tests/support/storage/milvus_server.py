"""A real Milvus server for tests: the standalone of the package `milvus`, in a folder of its own."""

import atexit
import fcntl
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from storage.search.milvus.connection import CodeOrigin, Connection
from storage.search.milvus.index import MilvusIndex
from storage.search.milvus.options import MilvusOptions, PartitionKey, VectorIndex

EVERY_KEY = 'key != ""'


class MilvusServer:
    """A server that can be killed and started again over the same data."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, _free_port()
        self._server: Any = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        milvus, here = pytest.importorskip("milvus", reason="the package milvus holds the server"), Path.cwd()
        self._server = server = milvus.MilvusServer()
        server.config.try_bind_port = _listening  # its own fails for a minute after the port was in use
        server.config.update(proxy_port=self._port)
        server.config.template_text = server.config.template_text.replace("  data:\n", self._etcd() + "  data:\n", 1)
        server.config.set("proxy.timeTickInterval", 50)
        server.set_base_dir(str(self._folder))
        try:
            with self._shared_programs(Path(milvus.__file__).parent / "unpacked"):
                server.start()
        finally:
            os.chdir(here)  # its start leaves another

    def _etcd(self) -> str:
        """Settings of the etcd inside it, which else listens on the same ports as that of another server."""
        file, peer, client = self._folder / "etcd.yaml", _free_port(), _free_port()
        file.write_text(
            f"listen-peer-urls: http://127.0.0.1:{peer}\nlisten-client-urls: http://127.0.0.1:{client}\n"
            f"advertise-client-urls: http://127.0.0.1:{client}\n"
            f"initial-advertise-peer-urls: http://127.0.0.1:{peer}\n"
            f"initial-cluster: default=http://127.0.0.1:{peer}\nname: default\n"
        )
        return f"  config:\n    path: {file}\n"

    @contextmanager
    def _shared_programs(self, unpacked: Path) -> Iterator[None]:
        """All servers use the same unpacked programs, since unpacking takes longer than a start; one unpacks them."""
        unpacked.mkdir(exist_ok=True)
        if not (self._folder / "bin").exists():
            (self._folder / "bin").symlink_to(unpacked)
        handle = os.open(unpacked, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def kill(self) -> None:
        """End it as a power failure does."""
        self._server.server_proc.send_signal(signal.SIGKILL)
        self._server.server_proc.wait(10)
        self._server.stop()

    def close(self) -> None:
        if self._server is not None and self._server.running:
            self.kill()  # by itself it may take minutes to end


@contextmanager
def milvus_server() -> Iterator[MilvusServer]:
    with TemporaryDirectory(prefix="milvus-", ignore_cleanup_errors=True) as folder:
        server = MilvusServer(Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.close()


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


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _listening(port: int) -> socket.socket | None:
    """A socket that listens on a port, None if it is in use."""
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError:
        return None
