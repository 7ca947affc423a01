"""Instances are received over TLS as over plain connections."""

import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pydicom.uid import SecondaryCaptureImageStorage
from pynetdicom import AE

from node.roles.probe import answers
from tests.node.ingest.test_receiver import octets_of, picture
from tests.support.dicom.listening import Served
from tests.support.dicom.wire import (
    ASSOCIATE_AC,
    C_STORE_RQ,
    COMMAND,
    ECHO,
    LAST,
    SECONDARY_CAPTURE,
    STORE,
    Wire,
    command,
    p_data,
)
from tests.support.running import program

STORED = p_data(1, COMMAND | LAST, command(C_STORE_RQ, SECONDARY_CAPTURE, "2.25.1"))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    paths = folder / "certificate.pem", folder / "key.pem"
    command = [
        program("openssl"),
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    command += ["-addext", "subjectAltName=DNS:localhost", "-out", str(paths[0]), "-keyout", str(paths[1])]
    subprocess.run(command, check=True, capture_output=True)
    return paths


@pytest.fixture
def secured(tmp_path: Path, certificate: tuple[Path, Path]) -> Iterator[Served]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with closing(Served(tmp_path, timeout_s=2, tls=context)) as served:
        yield served


def trusting(certificate: tuple[Path, Path], served: Served) -> socket.socket:
    context = ssl.create_default_context(cafile=certificate[0])
    plain = socket.create_connection(("127.0.0.1", served.port), 20)
    return context.wrap_socket(plain, server_hostname="localhost")


def test_instances_are_stored_over_tls(secured: Served, certificate: tuple[Path, Path]) -> None:
    octets = octets_of(picture())
    with Wire(trusting(certificate, secured)) as wire:
        wire.send(STORE)
        assert wire.kind() == ASSOCIATE_AC
        for size in (1, 1000, 100_000):
            pieces = [p_data(1, 0, octets[at : at + size]) for at in range(0, len(octets), size)]
            wire.send(STORED + b"".join(pieces) + p_data(1, LAST, b""))
            assert wire.status() == 0

    assert len(secured.spool) == 3
    assert all(entry.path.read_bytes().endswith(octets) for entry in secured.spool)


def test_pdus_that_came_in_one_record_of_tls_are_all_answered(secured: Served, certificate: tuple[Path, Path]) -> None:
    with Wire(trusting(certificate, secured)) as wire:
        wire.send(STORE)
        assert wire.kind() == ASSOCIATE_AC

        wire.send(ECHO * 100)  # decrypted at once: the socket itself has nothing more to read

        assert [wire.status() for _ in range(100)] == [0] * 100


def test_pynetdicom_stores_over_tls(secured: Served, certificate: tuple[Path, Path]) -> None:
    ae = AE("CLIENT")
    ae.add_requested_context(SecondaryCaptureImageStorage, "1.2.840.10008.1.2.1")
    context = ssl.create_default_context(cafile=certificate[0])
    association = ae.associate("localhost", secured.port, ae_title="LOOKALIKE", tls_args=(context, "localhost"))
    assert association.is_established

    status = association.send_c_store(picture())
    association.release()

    assert status.Status == 0
    assert len(secured.spool) == 1


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x00\xc8\x01", STORE, b"GET / HTTP/1.1\r\n\r\n"])
def test_who_does_not_speak_tls_to_the_end_costs_its_connection_only(
    said: bytes, secured: Served, certificate: tuple[Path, Path]
) -> None:
    with Wire.open("127.0.0.1", secured.port) as wire:
        wire.send(said)
        while wire._exactly(1):
            continue

    with Wire(trusting(certificate, secured)) as wire:
        wire.send(STORE)
        assert wire.kind() == ASSOCIATE_AC
    assert answers(secured.listener, "LOOKALIKE", 10)
