"""How fast are objects received? python -m tests.benchmarks.ingest [--quick] [--json FILE].

dcmsend sends the same objects in turn to us (as many receivers as a node has by default), to pynetdicom's and DCMTK's
storescp and to Orthanc, without Nagle's algorithm everywhere. Ours answers when an object is durable, the others
before; a second set of rows has our syncing switched off, here only. Nothing is indexed meanwhile: this is the
receivers' own rate.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import psutil
from pydicom.uid import ComputedRadiographyImageStorage, CTImageStorage, generate_uid

from node.dicom.client import Peer
from node.errors import PeerError
from node.home import open_for_writing
from node.processes import Role, processes
from node.settings import Settings
from tests.benchmarks.report import Row, arguments, publish
from tests.support.hashing.images import image
from tests.support.running import free_port, program, wait_until

OURS, UNSYNCED, PYNETDICOM, STORESCP, ORTHANC = "ours", "ours, unsynced", "pynetdicom", "DCMTK storescp", "Orthanc"
REACH = {("CT", 1): 2.5, ("CT", 4): 4.0, ("CR", 1): 1.5}
"""What our rate, durable, is to be over pynetdicom's."""

WITHOUT_SYNC = "import os; os.fdatasync = os.fsync = lambda file: None; "


@dataclass(frozen=True, slots=True)
class Server:
    """A receiver to be measured.

    Attributes
    ----------
    clear
        Removes what it received.
    """

    peer: Peer
    processes: tuple[psutil.Process, ...]
    clear: Callable[[], None]

    def cpu_s(self) -> float:
        """Seconds of processor time so far, ended children included."""
        running = [child for process in self.processes for child in (process, *process.children(recursive=True))]
        return sum(sum(process.cpu_times()[:4]) for process in running)


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent: one folder of objects for each association."""

    name: str
    folders: tuple[Path, ...]
    count: int

    def send(self, peer: Peer) -> float:
        """Objects a second, from the start of the senders to the end of the last."""
        command = [program("dcmsend"), "-q", "-nuc", "-aec", peer.ae_title, peer.host, str(peer.port), "+sd"]
        started = time.perf_counter()
        senders = [subprocess.Popen([*command, str(folder)], env={"TCP_NODELAY": "1"}) for folder in self.folders]
        statuses = [sender.wait() for sender in senders]
        if any(statuses):
            raise RuntimeError(f"dcmsend could not send {self.name} to {peer}")
        return self.count / (time.perf_counter() - started)


def main() -> None:
    """Run all rows."""
    options = arguments(__doc__ or "")
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        share = 4 if options.quick else 1
        loads = [
            load
            for kind, count, side in (("CT", 200 // share, 512), ("CR", 40 // share, 2048))
            for load in write_loads(folder / kind, kind, count, side)
        ]
        servers = {
            OURS: stack.enter_context(our_receivers(folder / "ours")),
            UNSYNCED: stack.enter_context(our_receivers(folder / "unsynced", WITHOUT_SYNC)),
            PYNETDICOM: stack.enter_context(storescp_of_pynetdicom(folder / "pynetdicom")),
            STORESCP: stack.enter_context(storescp_of_dcmtk(folder / "dcmtk")),
            ORTHANC: stack.enter_context(orthanc(folder / "orthanc")),
        }
        rows = [row for load in loads for row in measure(load, servers, 2 if options.quick else 5)]
    publish(rows, options.json)


def write_loads(folder: Path, kind: str, count: int, side: int) -> Iterator[Load]:
    """The same objects for one association and for four."""
    rng = np.random.default_rng(0)
    sop_class = {"CT": CTImageStorage, "CR": ComputedRadiographyImageStorage}[kind]
    study = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid(), "PatientID": kind}
    folders = [folder / str(number) for number in range(4)]
    for number in range(count):
        pixels = rng.integers(0, 4096, (side, side), np.uint16)
        dataset = image(pixels, SOPClassUID=sop_class, SOPInstanceUID=generate_uid(), Modality=kind, **study)
        dataset.file_meta.MediaStorageSOPClassUID = sop_class
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        path = folders[number % len(folders)] / f"{number}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset.save_as(path, enforce_file_format=True)
    whole = folder / "all"
    whole.mkdir()
    for part in folders:
        for path in part.iterdir():
            os.link(path, whole / path.name)
    yield Load(f"{count} {kind}, 1 association", (whole,), count)
    yield Load(f"{count} {kind}, 4 associations", tuple(folders), count)


def measure(load: Load, servers: dict[str, Server], repeats: int) -> Iterator[Row]:
    """Rows of one load: the servers are taken in turn."""
    rates: dict[str, list[float]] = {name: [] for name in servers}
    seconds: dict[str, list[float]] = {name: [] for name in servers}
    for _ in range(repeats):
        for name, server in servers.items():
            server.clear()
            os.sync()  # or one would pay for writing what another left in the cache
            before = server.cpu_s()
            rates[name].append(load.send(server.peer))
            seconds[name].append(server.cpu_s() - before)
    rate = {name: median(values) for name, values in rates.items()}
    cpu = {name: median(values) for name, values in seconds.items()}
    peers = {name: rate[name] for name in (PYNETDICOM, STORESCP, ORTHANC)}
    ours, kind = rate[OURS], (load.name.split()[1].rstrip(","), len(load.folders))
    yield Row(
        f"{load.name}, ours durable", "objects/s", ours, peers, ratio=ours / peers[PYNETDICOM], reach=REACH.get(kind)
    )
    yield Row("  the same beside Orthanc", "objects/s", ours, {ORTHANC: rate[ORTHANC]}, None, ours / rate[ORTHANC], 1.0)
    free, theirs = rate[UNSYNCED], rate[STORESCP]
    yield Row(f"{load.name}, ours without sync", "objects/s", free, {STORESCP: theirs}, None, free / theirs, 1.0)
    yield Row(
        f"{load.name}, processor time of the server",
        "s",
        cpu.pop(OURS),
        cpu,
        ratio=cpu[PYNETDICOM] / max(cpu[UNSYNCED], 1e-3),
    )


@contextmanager
def our_receivers(home: Path, patch: str = "", number: int | None = None) -> Iterator[Server]:
    """Our receivers, as many as a node has unless a number is given, without the rest of the node."""
    settings = Settings(home=home, port=free_port(), http_port=free_port())
    open_for_writing(settings).close()
    environment = os.environ | {"LOOKALIKE_HOME": str(home), "LOOKALIKE_PORT": str(settings.port)}
    peer = Peer(settings.ae_title, settings.host, settings.port)
    with ExitStack() as stack:
        command = [sys.executable, "-c", f"{patch}from node.cli.main import main; main()", "role", "dicom"]
        running = [
            stack.enter_context(
                started(
                    [*command, str(one), "--supervisor", str(os.getpid())],
                    peer,
                    home.with_suffix(f".{one}.log"),
                    environment,
                )
            )
            for one in [*processes(settings, Role.DICOM)][:number]
        ]
        yield Server(peer, tuple(running), lambda: emptied(settings.spool_path / "incoming"))


@contextmanager
def storescp_of_pynetdicom(folder: Path) -> Iterator[Server]:
    """pynetdicom's own application as it is."""
    peer = Peer("ANY-SCP", "127.0.0.1", free_port())
    folder.mkdir()
    command = [sys.executable, "-m", "pynetdicom", "storescp", str(peer.port), "-od", str(folder), "-q"]
    with started(command, peer, folder.with_suffix(".log"), dict(os.environ)) as process:
        yield Server(peer, (process,), lambda: emptied(folder))


@contextmanager
def storescp_of_dcmtk(folder: Path) -> Iterator[Server]:
    """DCMTK's, a process for each association, with the largest PDU it knows."""
    peer = Peer("ANY-SCP", "127.0.0.1", free_port())
    folder.mkdir()
    command = [program("storescp"), "-q", "--fork", "-pdu", "131072", "-od", str(folder), str(peer.port)]
    with started(command, peer, folder.with_suffix(".log"), dict(os.environ)) as process:
        yield Server(peer, (process,), lambda: emptied(folder))


@contextmanager
def orthanc(folder: Path) -> Iterator[Server]:
    """Orthanc with its defaults, but open to all."""
    folder.mkdir()
    peer, http_port = Peer("ORTHANC", "127.0.0.1", free_port()), free_port()
    settings = {
        "StorageDirectory": str(folder), "IndexDirectory": str(folder), "HttpPort": http_port, "DicomPort": peer.port,
        "AuthenticationEnabled": False, "RemoteAccessAllowed": False, "DicomAlwaysAllowFind": True,
    }  # fmt: skip
    path = folder / "orthanc.json"
    path.write_text(json.dumps(settings))
    url = f"http://127.0.0.1:{http_port}/patients"

    def clear() -> None:
        with urllib.request.urlopen(url) as response:
            patients = json.loads(response.read())
        for patient in patients:
            urllib.request.urlopen(urllib.request.Request(f"{url}/{patient}", method="DELETE")).close()

    with started([program("Orthanc"), str(path)], peer, folder.with_suffix(".log"), dict(os.environ)) as process:
        yield Server(peer, (process,), clear)


@contextmanager
def started(command: list[str], peer: Peer, log: Path, environment: dict[str, str]) -> Iterator[psutil.Process]:
    """A server that answers, ended in the end."""
    with log.open("wb") as output:
        process = psutil.Popen(command, stdout=output, stderr=output, env=environment | {"TCP_NODELAY": "1"})
        try:
            wait_until(lambda: answers(peer), f"{command[0]} to answer; its log is {log}")
            yield process
        finally:
            process.terminate()
            process.wait(30)


def answers(peer: Peer) -> bool:
    """Whether it answers C-ECHO."""
    try:
        socket.create_connection((peer.host, peer.port)).close()  # the client library leaves a refused socket open
        peer.echo()
    except (PeerError, OSError):
        return False
    return True


def emptied(folder: Path) -> None:
    """Remove the files of a folder."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


if __name__ == "__main__":
    main()
