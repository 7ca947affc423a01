"""What may leave this machine unencrypted: nothing, unless the settings say so."""

from node.access.tls import TRY_IT, client_context, dicom_context, https_context, peer_context
from node.errors import SettingsError
from node.settings import Settings


def check_transport(settings: Settings) -> None:
    """Return if every connection to other machines is encrypted as set, and every certificate can be used.

    Raises
    ------
    SettingsError
        What would be open, or cannot be used, and what to do.
    """
    certificates = f"tls_certificate, tls_key and tls_authorities ({TRY_IT})"
    if not (settings.is_for_this_machine or settings.tls_port or settings.allow_plain_dicom):
        raise SettingsError(
            f"host {settings.host} is for other machines, and DICOM would go to them without TLS: set tls_port with "
            f"{certificates}, or write allow_plain_dicom = true"
        )
    if not (settings.is_for_this_machine or settings.https or settings.allow_plain_http):
        raise SettingsError(
            f"host {settings.host} is for other machines, and the page would go to them without TLS: set https = true "
            f"with {certificates}, or write allow_plain_http = true"
        )
    if settings.tls_port:
        dicom_context(settings)
    if settings.https:
        https_context(settings)
    if settings.audit_collector:
        client_context(settings)
    for peer in settings.peers.values():
        if peer.tls:
            peer_context(settings, peer)
