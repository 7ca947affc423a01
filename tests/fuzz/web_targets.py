"""Parsers of what comes over HTTP: whole requests to the node's application, tokens, sessions and links.

An input is a request as text: method and path, headers, an empty line, the body. No answer may be 500.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from httpx2 import InvalidURL

from node.access.logins import LINK, SESSION, LoginError, sign, signed, token_groups
from node.settings import Settings
from node.web.dicomweb.dicom_json import json_object
from node.web.media_types import media_types
from tests.fuzz.feeding import Target
from tests.support.dicom.archive import uid
from tests.support.dicom.hostile import picture
from tests.support.web.web_archive import BASE, WebArchive, web_archive

ISSUER, AUDIENCE = "https://login.hospital", "lookalike"
METHODS: Final = ("GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE")
CALLERS: Final[dict[str, Any]] = {
    "reader": {"web": True, "rights": ["find", "similar", "retrieve", "store"], "disclosure": "FULL"},
    "masked": {"web": True, "token": "masked", "rights": ["find", "similar"], "disclosure": "MASKED"},
}
KEY: Final = ec.generate_private_key(ec.SECP256R1())


@contextmanager
def targets(folder: Path) -> Iterator[Mapping[str, Target]]:
    """Targets by name, over a small archive in a folder."""
    public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(KEY.public_key()))
    keys = folder / "keys.json"
    keys.write_text(json.dumps({"keys": [public | {"kid": "one"}]}))
    given: dict[str, Any] = {
        "callers": CALLERS, "token_keys": keys, "token_issuer": ISSUER, "token_audience": AUDIENCE,
        "token_claim": "groups", "web_timeout_s": 5, "example_limit_s": 1,
    }  # fmt: skip
    with web_archive(folder / "home", **given) as archive:
        settings = archive.resources.settings
        yield {
            "web requests": Target(lambda octets: _request(archive, octets), _requests(settings), head=300),
            "tokens": Target(lambda octets: _token(settings, octets), (_genuine().encode(),)),
            "links": Target(lambda octets: _link(settings, octets), (_own(settings, LINK), _own(settings, SESSION))),
            "media types": Target(_media_types, (b'multipart/related; type="application/dicom"; q=0.5, */*',)),
        }


def _request(archive: WebArchive, octets: bytes) -> str:
    """Send a request to the application, as far as a client can send such a thing."""
    head, _, body = octets.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    method, _, path = first.decode("latin-1").partition(" ")
    if method not in METHODS or not path.startswith("/"):
        return "no request"
    fields = (line.partition(b": ") for line in lines)
    headers = [(name, value) for name, _, value in fields if name and name.isascii()]
    try:
        answer = archive.client.request(method, path, headers=headers, content=body, follow_redirects=False)
    except (InvalidURL, UnicodeError):
        return "no request"
    assert answer.status_code != 500, answer.text
    archive.client.cookies.clear()
    return f"{method} {answer.status_code}"


def _token(settings: Settings, octets: bytes) -> str:
    try:
        return f"{len(token_groups(settings, octets.decode('latin-1')))} groups"
    except LoginError as error:
        return str(error).rpartition(" ")[2]


def _link(settings: Settings, octets: bytes) -> str:
    try:
        return str(signed(settings, LINK, octets.decode("latin-1"))["use"])
    except LoginError as error:
        return str(error).rpartition(" ")[2]


def _media_types(octets: bytes) -> str:
    return f"{min(3, len(media_types(octets.decode('latin-1'))))} types"


def _genuine() -> str:
    claims = {"exp": time.time() + 36_000, "iss": ISSUER, "aud": AUDIENCE, "sub": "anna", "groups": ["masked"]}
    return jwt.encode(claims, KEY, "ES256", headers={"kid": "one"})


def _own(settings: Settings, purpose: str) -> bytes:
    return sign(settings, purpose, "reader", 600, study=uid("1")).encode()


def _requests(settings: Settings) -> tuple[bytes, ...]:
    """A good request of each kind."""
    study, series, image = uid("1"), uid("1.1"), uid("1.1.1")
    paths = [
        f"{BASE}/studies?PatientID=A&limit=5&offset=1&includefield=all",
        f"{BASE}/studies?PatientName=Doe*&StudyDate=20200101-20201231&fuzzymatching=true",
        f"{BASE}/studies/{study}/series?Modality=CT&includefield=00081030,0020000D",
        f"{BASE}/instances?similarto={image}&frame=1&region=1,1,9,9&maxdistance=20",
        f"{BASE}/studies/{study}/similar?limit=3",
        f"{BASE}/studies/{study}/metadata",
        f"{BASE}/studies/{study}/series/{series}/instances/{image}/frames/1,2",
        f"{BASE}/studies/{study}/series/{series}/instances/{image}/rendered?viewport=64,64&window=40,400,linear",
        f"{BASE}/why?of={image}&to={image}",
        f"/api/similar/{image}?level=study&modality=CT&region=1,1,9,9&without={uid('2.1.1')}",
        "/api/cases?find=Doe&modality=CT&by=study&offset=0&limit=3",
        f"/api/series/{series}",
        f"/api/reports/{study}",
        f"/preview/{image}.png?frame=1",
        f"/open?token={quote(_own(settings, LINK).decode())}",
        "/api/histories", "/metrics", "/readyz", "/api/status", f"{BASE}/openapi.json",
    ]  # fmt: skip
    accept = b'\r\nAccept: application/dicom+json, multipart/related; type="application/dicom"; q=0.5\r\n\r\n'
    login = f"\r\nAuthorization: Bearer {_genuine()}\r\n\r\n".encode()
    return (*(f"GET {path}".encode() + accept for path in paths), b"GET /api/cases" + login, *_posts())


def _posts() -> tuple[bytes, ...]:
    """Requests with a body: a stored file, examples, a link."""
    stream = BytesIO()
    picture(1).save_as(stream, enforce_file_format=True)
    file = stream.getvalue()
    parts = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + file + b"\r\n--b--\r\n"
    related = b'multipart/related; type="application/dicom"; boundary=b'
    found = json.dumps([json_object({"PatientID": "A"}, {})]).encode()
    return (
        _post(f"{BASE}/studies", related, parts),
        _post(f"{BASE}/studies/{uid('1')}", related, parts),
        _post(f"{BASE}/studies", b"application/dicom+json", found),
        _post(f"{BASE}/similar?level=image&Modality=CT", b"image/x-none", file[:300]),
        _post(f"/api/links?study={uid('1')}", b"application/json", b"{}"),
    )


def _post(path: str, media_type: bytes, body: bytes) -> bytes:
    return f"POST {path}\r\nContent-Type: ".encode() + media_type + b"\r\n\r\n" + body
