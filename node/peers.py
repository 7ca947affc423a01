"""The table of remote application entities in the settings."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydicom.charset import python_encoding


class RemoteEntity(BaseModel):
    """Address and properties of one remote application entity; its AE title is its key in the table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(pattern=r"^[^\s\[\]/]+$", description="Name or address of its machine.")
    port: int = Field(ge=1, le=65535, description="Its DICOM port.")
    move_destination: bool = Field(False, description="True: images may be sent there by C-MOVE through this node.")
    unsupported_match: Literal["warn", "refuse"] = Field(
        "warn", description="Answer to a query with a key that is not supported: flagged responses (FF01), or A900."
    )
    assume_charset: str = Field(
        "", description="Specific Character Set of its requests that name none; empty: the default repertoire."
    )
    maximum_pdu_size: int = Field(131072, ge=4096, description="Largest PDU we ask it to send, bytes.")

    @field_validator("assume_charset")
    @classmethod
    def _known_character_set(cls, name: str) -> str:
        if name and name not in python_encoding:
            raise ValueError(f"{name!r} is no Specific Character Set: write one as ISO_IR 100 or ISO_IR 192")
        return name
