"""Subjects of certificates as text and as attributes (RFC 4514)."""

from collections.abc import Iterable, Iterator
from typing import Final

SHORT_NAMES: Final = {
    "commonName": "CN",
    "countryName": "C",
    "emailAddress": "emailAddress",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "serialNumber": "serialNumber",
    "stateOrProvinceName": "ST",
}
"""Attribute types of a subject by the names that OpenSSL gives them; others keep those."""
Attributes = tuple[tuple[str, str], ...]


def subject_attributes(text: str) -> Attributes:
    r"""Attributes of a subject written as in `CN=ct1,O=Hospital`, sorted; a comma in a value has a backslash before it.

    Raises
    ------
    ValueError
        The text is not written so.
    """
    pairs = []
    for part in _parts(text):
        name, equals, value = part.partition("=")
        if not (name.strip() and equals and value.strip()):
            raise ValueError(f"{text!r} is no subject of a certificate: write one as CN=ct1,O=Hospital")
        pairs.append((name.strip(), value.strip()))
    return tuple(sorted(pairs))


def peer_attributes(subject: Iterable[Iterable[tuple[str, str]]]) -> Attributes:
    """Attributes of a subject as `ssl.SSLSocket.getpeercert` gives it, sorted."""
    return tuple(sorted((SHORT_NAMES.get(name, name), value) for part in subject for name, value in part))


def _parts(text: str) -> Iterator[str]:
    """Yield what stands between commas that have no backslash before them."""
    part = ""
    for piece in text.split(",") if text else ():
        part += piece
        if piece.endswith("\\"):
            part = f"{part[:-1]},"
        else:
            yield part
            part = ""
    if part:
        yield part
