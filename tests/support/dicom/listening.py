"""A listener on its own, with a spool behind it and everybody admitted."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pynetdicom import AE

from node.access.callers import OWN_PROGRAMS, Origin
from node.dicom.association_request import AssociationRequest
from node.dicom.listener import Listener
from node.dicom.negotiation import Admission
from node.dicom.sop_classes import Service
from storage.spool.queue import Spool
from tests.node.ingest.test_receiver import receiver_of
from tests.support.dicom.wire import Wire
from tests.support.running import free_port


class Everybody:
    """A policy that admits all, and remembers what it is to count."""

    accept_unknown_sop_classes = True
    services: Mapping[str, frozenset[Service]] = {
        "LOOKALIKE": frozenset({Service.VERIFICATION, Service.FIND, Service.STORAGE})
    }

    def __init__(self) -> None:
        self.noted: list[str] = []

    def admit(self, request: AssociationRequest, origin: Origin, *, stores: bool) -> Any:
        return Admission(lambda: None, OWN_PROGRAMS)

    def note(self, reason: str, calling_ae_title: str, address: str = "") -> None:
        self.noted.append(reason)


class Served:
    """A listener on its own, with a spool behind it."""

    def __init__(self, folder: Path, timeout_s: float = 20, tls: ssl.SSLContext | None = None) -> None:
        self.ae, self.port, self.policy = AE("LOOKALIKE"), free_port(), Everybody()
        self.ae.network_timeout = timeout_s
        self.spool = Spool(folder / "spool", capacity=100, free_bytes=0)
        receiver = receiver_of(self.spool)
        self.listener = Listener(self.ae, ("127.0.0.1", self.port), receiver, self.policy, tls=tls)

    def close(self) -> None:
        self.listener.stop()

    def open(self) -> Wire:
        return Wire.open("127.0.0.1", self.port)

    def associate(self) -> Wire:
        return Wire.associate("127.0.0.1", self.port)
