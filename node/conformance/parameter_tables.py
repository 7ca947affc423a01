"""Tables of association parameters and settings for the conformance statement."""

from typing import Final

from node.conformance.markdown import markdown_table
from node.dicom.association_request import APPLICATION_CONTEXT, DEFAULT_MAXIMUM_LENGTH
from node.peers import RemoteEntity
from node.settings import Settings
from node.version import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

DICOM_SETTINGS: Final = (
    "ae_title", "host", "port", "tls_port", "allow_plain_dicom",
    "retrieve_ae_title", "source_peer", "peer_timeout_s", "retrieve_timeout_s",
    "fetch_missing_example", "fetch_limit_s", "max_relayed_bytes", "max_associations", "max_associations_each",
    "maximum_pdu_size", "network_timeout_s", "accept_unknown_sop_classes", "max_find_responses", "ranking",
    "spool_capacity", "spool_free_bytes", "receiver_memory_bytes", "busy_share", "closed_share", "longest_delay_s",
    "other_content", "retain", "commitment_limit_s",
)  # fmt: skip
"""Settings that change how the node behaves towards other application entities."""


def association_table(settings: Settings) -> str:
    """Parameters of associations, as acceptor and as requestor."""
    rows = [
        ("Application Context Name", APPLICATION_CONTEXT),
        ("Implementation Class UID", IMPLEMENTATION_CLASS_UID),
        ("Implementation Version Name", f"`{IMPLEMENTATION_VERSION_NAME}`"),
        (
            "maximum PDU length received",
            f"{settings.maximum_pdu_size:,} bytes (`maximum_pdu_size`, and that of a peer)",
        ),
        ("maximum PDU length of a peer that states none", f"{DEFAULT_MAXIMUM_LENGTH:,} bytes"),
        ("concurrent associations as acceptor", f"{settings.max_associations} (`max_associations`)"),
        ("of these with one calling AE title", f"{settings.max_associations_each} (`max_associations_each`)"),
        ("concurrent associations as requestor", "one for each retrieval or fetch of a caller"),
        ("outstanding asynchronous operations", "1; asynchronous operations are not negotiated"),
        ("silence that ends an association", f"{settings.network_timeout_s:g} s (`network_timeout_s`)"),
        ("time to answer an association request of ours", f"{settings.peer_timeout_s:g} s (`peer_timeout_s`)"),
    ]
    return markdown_table(("parameter", "value"), rows)


def setting_table(settings: Settings) -> str:
    """Settings of the DICOM services and their values."""
    rows = (
        (f"`{name}`", f"`{getattr(settings, name)}`", Settings.model_fields[name].description)
        for name in DICOM_SETTINGS
    )
    return markdown_table(("setting", "value", "meaning"), rows)


def peer_table() -> str:
    """Keys of an entry of the table of remote application entities."""
    rows = (
        (f"`{name}`", "required" if field.is_required() else f"`{field.default}`", field.description)
        for name, field in RemoteEntity.model_fields.items()
    )
    return markdown_table(("key", "default", "meaning"), rows)
