"""Servers of C-FIND for its benchmark: a receiver of ours, DCMTK's dcmqrscp, and one on pynetdicom."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil
from pynetdicom import AE, _config, evt

from node.dicom.client import Peer
from node.dicom.sop_classes import STUDY_ROOT_FIND, VERIFICATION
from node.processes import Role
from node.settings import Settings
from tests.benchmarks.find_data import SIX_KEYS, Study
from tests.benchmarks.ingest import answers, started
from tests.support.dicom.archive import identifier
from tests.support.running import free_port, program, wait_until

CONFIGURATION = """NetworkTCPPort = {port}
MaxPDUSize = 131072
MaxAssociations = 16
HostTable BEGIN
HostTable END
VendorTable BEGIN
VendorTable END
AETable BEGIN
DCMTK {folder} RW (500, 4096mb) ANY
AETable END
"""


@contextmanager
def our_receiver(settings: Settings, number: int = 1) -> Iterator[tuple[Peer, psutil.Process]]:
    """One receiver of ours, without the rest of the node, and its process."""
    chosen = {"HOME": settings.home, "PORT": settings.port, "RECEIVERS": settings.receivers}
    environment = os.environ | {f"LOOKALIKE_{name}": str(value) for name, value in chosen.items()}
    peer = Peer(settings.ae_title, settings.host, settings.port)
    command = [sys.executable, "-m", "node", "role", Role.DICOM, str(number), "--supervisor", str(os.getpid())]
    with started(command, peer, settings.home.with_suffix(f".{number}.log"), environment) as process:
        yield peer, process


@contextmanager
def dcmqrscp(folder: Path) -> Iterator[Peer]:
    """DCMTK's archive, a process for each association."""
    folder.mkdir()
    peer = Peer("DCMTK", "127.0.0.1", free_port())
    configuration = folder.with_suffix(".cfg")
    configuration.write_text(CONFIGURATION.format(port=peer.port, folder=folder))
    command = [program("dcmqrscp"), "-c", str(configuration)]
    with started(command, peer, folder.with_suffix(".log"), dict(os.environ)):
        yield peer


@contextmanager
def pynetdicom_server(studies: list[Study]) -> Iterator[Peer]:
    """A server on pynetdicom as it comes, which finds nothing but yields what it has."""
    peer = Peer("ANY-SCP", "127.0.0.1", free_port())
    process = get_context("spawn").Process(target=_serve, args=(peer.port, studies), daemon=True)
    process.start()
    try:
        wait_until(lambda: answers(peer), "the server on pynetdicom")
        yield peer
    finally:
        process.terminate()
        process.join()


def _serve(port: int, studies: list[Study]) -> None:
    _config.LOG_REQUEST_IDENTIFIERS = _config.LOG_RESPONSE_IDENTIFIERS = False
    ae = AE()
    ae.add_supported_context(STUDY_ROOT_FIND)
    ae.add_supported_context(VERIFICATION)
    found = [identifier("STUDY", keys={key: study.attributes[key] for key in SIX_KEYS}) for study in studies]
    handlers: list[Any] = [(evt.EVT_C_FIND, lambda _: ((0xFF00, one) for one in found))]
    ae.start_server(("127.0.0.1", port), block=True, evt_handlers=handlers)
