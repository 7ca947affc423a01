"""The table of remote application entities in the settings."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydicom.charset import python_encoding


class RemoteEntity(BaseModel):
    """Address and properties of one remote application entity; its AE title is its key in the table."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    host: str = Field(pattern=r"^[^\s\[\]/]+$")
    """Name or address of the peer's machine."""
    port: int = Field(ge=1, le=65535)
    """TCP port of the peer's DICOM service."""
    tls: bool = False
    """True: associations with the peer are made over TLS only, with certificates of both sides."""
    tls_name: str = ""
    """Name that the peer's certificate must have; empty: `host`."""
    move_destination: bool = False
    """True: images may be sent to the peer by C-MOVE through this node."""
    answers_to: str = ""
    """AE title of the peer that gets the answers to questions this one sends; empty: `source_peer`."""
    views: bool = False
    """True: the peer may query `view_ae_title`, where a study that is named by its number gives its look-alikes."""
    unsupported_match: Literal["warn", "refuse"] = "warn"
    """Answer to a query with a key that is not supported: warn: flagged responses (FF01); refuse: A900."""
    assume_charset: str = ""
    """Specific Character Set of the peer's requests that name none; empty: the default repertoire."""
    maximum_pdu_size: int = Field(131072, ge=4096)
    """Size in bytes of the largest PDU that the peer may send to us."""

    dicomweb_url: str = Field("", pattern=r"^(https?://[^\s?#]+)?$")
    """Address of its DICOMweb, as in http://pacs:8042/dicom-web; retrievals over HTTP go there; empty: by C-GET."""
    dicomweb_redirect: bool = False
    """True: web clients are redirected to `dicomweb_url`, which they must reach; False: the node passes data on."""

    @field_validator("assume_charset")
    @classmethod
    def _known_character_set(cls, name: str) -> str:
        if name and name not in python_encoding:
            raise ValueError(f"{name!r} is no Specific Character Set: write one as ISO_IR 100 or ISO_IR 192")
        return name
