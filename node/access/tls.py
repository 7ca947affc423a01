"""Contexts of TLS: what is offered and asked for, as the BCP 195 profile of PS3.15 B.12 has it."""

import ssl
from pathlib import Path
from typing import Final

from node.errors import SettingsError
from node.peers import RemoteEntity
from node.settings import Settings

CIPHERS_OF_1_2: Final = "ECDHE+AESGCM"
"""Cipher suites of TLS 1.2 (RFC 9325 section 4.2): forward secrecy and authenticated encryption."""
TRY_IT: Final = "`lookalike cert` makes some to try"


def dicom_context(settings: Settings) -> ssl.SSLContext:
    """Context of the DICOM port: TLS 1.2 or later, and peers show a certificate of `tls_authorities`.

    Raises
    ------
    SettingsError
        A file is not set, or cannot be used.
    """
    context = _server(settings, "tls_port")
    _trust(context, settings)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def https_context(settings: Settings) -> ssl.SSLContext:
    """Context of the page and of DICOMweb: TLS 1.2 or later; clients are asked for a certificate if a caller needs one.

    Raises
    ------
    SettingsError
        A file is not set, or cannot be used.
    """
    context = _server(settings, "https")
    if any(entry.web and entry.certificate for entry in settings.callers.values()):
        _trust(context, settings)
        context.verify_mode = ssl.CERT_OPTIONAL  # of others none is needed; a wrong one is refused
    return context


def peer_context(settings: Settings, peer: RemoteEntity) -> tuple[ssl.SSLContext, str]:
    """Context of connections to a peer, and the name that its certificate must have.

    Raises
    ------
    SettingsError
        A file is not set, or cannot be used.
    """
    return client_context(settings), peer.tls_name or peer.host


def client_context(settings: Settings) -> ssl.SSLContext:
    """Context of connections that the node makes; it checks the certificate and the name of the other side.

    Raises
    ------
    SettingsError
        A file is not set, or cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _harden(context)
    _trust(context, settings)
    if settings.tls_certificate is not None:
        _identify(context, settings.tls_certificate, settings.tls_key)
    return context


def _server(settings: Settings, needed_by: str) -> ssl.SSLContext:
    if settings.tls_certificate is None:
        raise SettingsError(f"{needed_by} needs tls_certificate and tls_key: {TRY_IT}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context)
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_RENEGOTIATION
    _identify(context, settings.tls_certificate, settings.tls_key)
    return context


def _harden(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS_OF_1_2)


def _identify(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (OSError, ValueError) as error:
        raise SettingsError(f"tls_certificate {certificate} and tls_key {key} cannot be used: {error}") from error


def _trust(context: ssl.SSLContext, settings: Settings) -> None:
    if settings.tls_authorities is None:
        raise SettingsError(f"TLS needs tls_authorities, by which certificates of others are checked: {TRY_IT}")
    try:
        context.load_verify_locations(settings.tls_authorities)
    except (OSError, ValueError) as error:
        raise SettingsError(f"tls_authorities {settings.tls_authorities} cannot be used: {error}") from error


def _no_password() -> str:
    """Raise instead of asking on the terminal (a key that is encrypted)."""
    raise ValueError("the key is encrypted")
