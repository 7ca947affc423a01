"""TLS with programs that are not ours: DCMTK with client certificates, and what OpenSSL's client is offered."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from node.access.audit_trail import audit_files
from node.access.certificates import Authority
from node.access.transport import check_transport
from node.dicom.client import Peer
from node.errors import PeerError, SettingsError
from node.settings import Settings
from tests.node.ingest.test_receiver import picture
from tests.support.dicom.answering import ITEMS, Node, answering_node
from tests.support.dicom.audit_reader import frames, read_message
from tests.support.running import free_port, program, run_peer, wait_until
from tests.support.web.web_archive import served, web_archive

HOSTS = ("localhost", "127.0.0.1")
pytestmark = pytest.mark.peers


@dataclass(frozen=True)
class Certificates:
    """Certificates of one authority, and of another that nobody trusts."""

    folder: Path
    other: Path

    def settings(self) -> dict[str, Any]:
        """What the node is set to."""
        files = {"tls_certificate": "node.pem", "tls_key": "node.key", "tls_authorities": "authority.pem"}
        return {name: self.folder / file for name, file in files.items()}

    def dcmtk(self, name: str, folder: Path | None = None) -> list[str]:
        """Options of DCMTK's programs for a client with a certificate."""
        own = (folder or self.folder) / name
        return ["+tls", f"{own}.key", f"{own}.pem", "+cf", str(self.folder / "authority.pem")]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    root = tmp_path_factory.mktemp("certificates")
    found = Certificates(root / "ours", root / "theirs")
    authority = Authority.open(found.folder, days=2)
    for name in ("node", "ct1", "stranger"):
        authority.issue(name, HOSTS, days=2)
    authority.issue("expired", HOSTS, days=-1)
    Authority.open(found.other, days=2).issue("ct1", HOSTS, days=2)
    return found


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Node]:
    entry = {"ae_titles": ["CT1"], "certificate": "CN=ct1", "rights": ["store", "find"], "disclosure": "FULL"}
    chosen = {**certificates.settings(), "tls_port": free_port(), "callers": {"ct": entry}}
    with answering_node(tmp_path_factory.mktemp("tls") / "home", ITEMS, **chosen) as node:
        yield node


def dcmtk(node: Node, tool: str, *options: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a client of DCMTK as CT1 against the port for TLS."""
    files = [option for option in options if isinstance(option, Path)]
    words = [option for option in options if not isinstance(option, Path)]
    address = ["-aet", "CT1", "-aec", node.settings.ae_title, "localhost", str(node.settings.tls_port)]
    return run_peer(program(tool), *words, *address, *files, check=check)


def test_dcmtk_stores_and_finds_with_a_client_certificate(
    node: Node, certificates: Certificates, tmp_path: Path
) -> None:
    path, ours = tmp_path / "image.dcm", certificates.dcmtk("ct1")
    picture().save_as(path, enforce_file_format=True)
    before = node.receiver.spool.depth()  # type: ignore[attr-defined]

    dcmtk(node, "storescu", *ours, path)
    found = dcmtk(node, "findscu", *ours, "-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID")

    assert node.receiver.spool.depth() == before + 1  # type: ignore[attr-defined]
    assert found.stderr.count("Find Response:") + found.stdout.count("Find Response:") == 3


@pytest.mark.parametrize("name", ["expired", "stranger", "theirs", "none"])
def test_wrong_expired_unknown_and_no_certificates_are_refused(
    node: Node, certificates: Certificates, name: str
) -> None:
    options = {
        "expired": certificates.dcmtk("expired"),
        "stranger": certificates.dcmtk("stranger"),  # of our authority, and in no entry
        "theirs": certificates.dcmtk("ct1", certificates.other),
        "none": ["+tla", "+cf", str(certificates.folder / "authority.pem")],
    }[name]
    before = len(alerts(node))

    assert dcmtk(node, "echoscu", *options, check=False).returncode != 0
    assert dcmtk(node, "echoscu", *certificates.dcmtk("ct1")).returncode == 0
    wait_until(lambda: len(alerts(node)) > before, "an audit message", 20)
    assert set(alerts(node)) == {("Node Authentication", 4)}


def alerts(node: Node) -> list[tuple[str, int]]:
    """Kind and outcome of every audit message about security."""
    files = audit_files(node.settings.audit_path)
    messages = [read_message(frame) for path in files for frame in frames(path.read_bytes())]
    return [(one.kind, one.outcome) for one in messages if one.event == "Security Alert"]


def test_the_title_alone_is_rejected_on_the_plain_port(node: Node) -> None:
    with pytest.raises(PeerError, match="rejected"):
        Peer(node.settings.ae_title, "127.0.0.1", node.settings.port, "CT1").echo()


def handshake(port: int, certificates: Certificates, *options: str) -> subprocess.CompletedProcess[str]:
    own = certificates.folder / "ct1"
    command = [program("openssl"), "s_client", "-connect", f"localhost:{port}", "-cert", f"{own}.pem"]
    command += ["-key", f"{own}.key", "-CAfile", str(certificates.folder / "authority.pem"), "-brief", *options]
    return subprocess.run(command, input="", capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize(
    ("options", "version"),
    [
        ((), "TLSv1.3"),
        (("-tls1_2",), "TLSv1.2"),
        (("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"), None),
        (("-tls1", "-cipher", "ALL:@SECLEVEL=0"), None),
        (("-tls1_2", "-cipher", "AES128-GCM-SHA256"), None),  # no forward secrecy
        (("-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA256"), None),  # no authenticated encryption
    ],
)
def test_openssl_is_offered_nothing_that_bcp_195_advises_against(
    node: Node, certificates: Certificates, options: tuple[str, ...], version: str | None
) -> None:
    result = handshake(node.settings.tls_port, certificates, *options)

    assert ("Protocol version" in result.stderr) is (version is not None)
    assert (result.returncode == 0) is (version is not None)
    assert f"Protocol version: {version}" in result.stderr or version is None
    assert "Verification: OK" in result.stderr or version is None


def test_dcmtk_receives_from_us_over_tls_and_must_be_who_it_is_to_be(
    certificates: Certificates, tmp_path: Path
) -> None:
    path, port = tmp_path / "image.dcm", free_port()
    picture().save_as(path, enforce_file_format=True)
    received = tmp_path / "received"
    received.mkdir()
    server = [program("storescp"), *certificates.dcmtk("stranger"), "-od", str(received), str(port)]
    entry = {"host": "localhost", "port": port, "tls": True}
    peers = {"PACS": entry, "OTHER": entry | {"tls_name": "other.hospital"}, "PLAIN": entry | {"tls": False}}
    settings = Settings(home=tmp_path / "home", peers=peers, **certificates.settings())
    process = subprocess.Popen(server, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: _listens(port), "storescp to listen", 30)
        [outcome] = Peer.of(settings, "PACS").store([path])
        for title in ("OTHER", "PLAIN"):
            with pytest.raises(PeerError):
                list(Peer.of(settings, title).store([path]))
    finally:
        process.kill()
        process.wait()

    assert outcome.status == 0
    [file] = received.iterdir()
    assert dcmread(file).SOPInstanceUID == dcmread(path).SOPInstanceUID


def _listens(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize(
    ("chosen", "advice"),
    [
        ({"host": "0.0.0.0"}, "set tls_port with tls_certificate, tls_key and tls_authorities"),
        ({"host": "::", "allow_plain_http": True}, "or write allow_plain_dicom = true"),
        ({"host": "pacs.hospital", "allow_plain_dicom": True}, "or write allow_plain_http = true"),
        ({"tls_port": 2762}, "tls_port needs tls_certificate and tls_key"),
        ({"https": True}, "https needs tls_certificate and tls_key"),
        ({"https": True, "tls_certificate": "no/such/file"}, "no/such/file and tls_key None cannot be used"),
        ({"peers": {"PACS": {"host": "pacs", "port": 104, "tls": True}}}, "TLS needs tls_authorities"),
    ],
)
def test_a_start_that_would_leave_something_open_is_refused_with_what_to_do(
    chosen: dict[str, Any], advice: str
) -> None:
    with pytest.raises(SettingsError, match=advice):
        check_transport(Settings(**chosen))


@pytest.mark.parametrize(
    "chosen", [{}, {"host": "::1"}, {"host": "0.0.0.0", "allow_plain_dicom": True, "allow_plain_http": True}]
)
def test_a_start_that_leaves_nothing_open_but_what_is_said_is_not_refused(chosen: dict[str, Any]) -> None:
    check_transport(Settings(**chosen))


def test_the_page_is_served_over_https_to_who_trusts_its_authority(certificates: Certificates, tmp_path: Path) -> None:
    with (
        web_archive(tmp_path / "home", https=True, **certificates.settings()) as archive,
        served(archive) as connection,
    ):
        port = archive.resources.settings.http_port
        url = f"https://localhost:{port}/healthz"
        trusting = ["curl", "--silent", "--fail", "--cacert", str(certificates.folder / "authority.pem"), url]
        good = subprocess.run(trusting, capture_output=True, text=True, timeout=20, check=False)
        plain = subprocess.run(["curl", "--silent", url], capture_output=True, timeout=20, check=False)
        old = handshake(port, certificates, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
        del connection

    assert (good.returncode, good.stdout) == (0, '{"alive":true}')
    assert plain.returncode == 60  # an authority that it does not know
    assert old.returncode != 0
