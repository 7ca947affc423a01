"""Logins with programs that are not ours: DCMTK with User Identity Negotiation, curl with a client certificate."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from node.access.certificates import Authority
from node.access.logins import hashed_passcode
from tests.node.ingest.test_receiver import picture
from tests.support.dicom.answering import ITEMS, Node, answering_node
from tests.support.running import program, run_peer
from tests.support.web.web_archive import served, web_archive

PASSCODE = "correct horse battery"
KEY = ec.generate_private_key(ec.SECP256R1())
CLAIMS: dict[str, Any] = {"iss": "https://login.hospital", "aud": "lookalike", "sub": "ct2"}
pytestmark = pytest.mark.peers


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("logins")
    keys = folder / "keys.pem"
    keys.write_bytes(KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    entries = {
        "ct": {"ae_titles": ["CT1"], "passcode": hashed_passcode(PASSCODE), "rights": ["store"]},
        "ct2": {"ae_titles": ["CT2"], "token": "ct2", "rights": ["store"]},
    }
    chosen = {"callers": entries, "token_keys": keys, "token_issuer": CLAIMS["iss"], "token_audience": CLAIMS["aud"]}
    with answering_node(folder / "home", ITEMS, **chosen) as node:
        yield node


def store(node: Node, folder: Path, title: str, *login: str | Path) -> str:
    """What storescu says of its try to store an image."""
    path = folder / "image.dcm"
    picture().save_as(path, enforce_file_format=True)
    address = ["-aet", title, "-aec", node.settings.ae_title, node.settings.host, str(node.settings.port)]
    result = run_peer(program("storescu"), "-v", *login, *address, path, check=False)
    return "stored" if result.returncode == 0 else result.stderr


def test_dcmtk_stores_with_the_passcode_of_its_entry_only(node: Node, tmp_path: Path) -> None:
    assert store(node, tmp_path, "CT1", "-rsp", "--user", "ct", "--password", PASSCODE) == "stored"
    for login in (
        (),
        ("--user", "ct", "--password", "wrong"),
        ("--user", "ct"),
        ("--user", "ct2", "--password", PASSCODE),
    ):
        assert "Association Rejected" in store(node, tmp_path, "CT1", *login)


def test_dcmtk_stores_with_a_token_of_its_entry_only(node: Node, tmp_path: Path) -> None:
    genuine, old = tmp_path / "genuine", tmp_path / "old"
    for path, seconds in ((genuine, 60), (old, -60)):
        path.write_text(jwt.encode({**CLAIMS, "exp": time.time() + seconds}, KEY, "ES256"))

    assert store(node, tmp_path, "CT2", "-rsp", "--jwt", genuine) == "stored"
    assert "Association Rejected" in store(node, tmp_path, "CT2", "--jwt", old)
    assert "Association Rejected" in store(node, tmp_path, "CT1", "--jwt", genuine)


def test_a_client_certificate_names_a_caller_of_https(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path / "ours", days=2)
    for name in ("node", "viewer", "stranger"):
        authority.issue(name, ("localhost", "127.0.0.1"), days=2)
    Authority.open(tmp_path / "theirs", days=2).issue("viewer", ("localhost",), days=2)
    ours = tmp_path / "ours"
    entry = {"web": True, "certificate": "CN=viewer", "rights": ["similar"]}
    files: dict[str, Any] = {
        "tls_certificate": ours / "node.pem",
        "tls_key": ours / "node.key",
        "tls_authorities": ours / "authority.pem",
    }
    with web_archive(tmp_path / "home", callers={"viewer": entry}, https=True, **files) as archive, served(archive):
        url = f"https://localhost:{archive.resources.settings.http_port}/api/cases"
        curl = [program("curl"), "-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", str(ours / "authority.pem")]

        def status(*options: str) -> str:
            return run_peer(*curl, *options, url, check=False).stdout

        assert status("--cert", str(ours / "viewer.pem"), "--key", str(ours / "viewer.key")) == "200"
        assert status("--cert", str(ours / "stranger.pem"), "--key", str(ours / "stranger.key")) == "403"
        assert status() == "403"
        foreign = tmp_path / "theirs"
        assert status("--cert", str(foreign / "viewer.pem"), "--key", str(foreign / "viewer.key")) == "000"
