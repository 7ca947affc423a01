"""Settings of the HTTP services: who may use DICOMweb, and how much one request may cost."""

import re

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from node.options.access import THIS_MACHINE, valid_networks

VIEWER = r"(https?|weasis)://[^\s{}<>\"]*(\{(study|series|instance)\}[^\s{}<>\"]*)+"
ORIGIN = r"https?://[A-Za-z0-9.\-\[\]:]+"


class WebSettings(BaseSettings):
    """The part of `node.settings.Settings` that concerns HTTP."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    dicomweb_networks: tuple[str, ...] = THIS_MACHINE
    """Address ranges of clients that DICOMweb serves, which returns names and IDs; the default is this machine."""
    cors_origins: tuple[str, ...] = ()
    """Origins of web viewers that may read DICOMweb, such as https://viewer.hospital; none by default."""
    viewers: dict[str, str] = Field({})
    """Addresses of viewers by name, to which the page links; {study}, {series} and {instance} stand for UIDs."""
    picture_side: int = Field(2048, ge=0, le=8192)
    """Longest side, in pixels, of pictures made from originals that are kept or fetched; 0 shows previews only."""
    web_requests: int = Field(16, ge=1)
    """Number of DICOMweb requests served at once; further ones get 503 and try again."""
    web_timeout_s: float = Field(30, gt=0)
    """Seconds that a DICOMweb request may search, or wait for the next bytes of its client."""
    max_example_bytes: int = Field(256 << 20, gt=0)
    """Size in bytes above which a file posted as an example is refused."""

    max_stored_part_bytes: int = Field(4 << 30, gt=0)
    """Size in bytes above which an instance is refused that is stored by DICOMweb."""
    max_stored_request_bytes: int = Field(64 << 30, gt=0)
    """Size in bytes above which a whole request is refused that stores by DICOMweb."""

    @field_validator("dicomweb_networks")
    @classmethod
    def _valid_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        return valid_networks(networks)

    @field_validator("cors_origins")
    @classmethod
    def _valid_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not re.fullmatch(ORIGIN, origin):
                raise ValueError(f"{origin!r} is no origin: write one as https://viewer.hospital")
        return origins

    @field_validator("viewers")
    @classmethod
    def _valid_viewers(cls, viewers: dict[str, str]) -> dict[str, str]:
        for name, address in viewers.items():
            if not re.fullmatch(VIEWER, address):
                example = "https://viewer.hospital/viewer?StudyInstanceUIDs={study}"
                raise ValueError(f"the address of {name!r} is none of a viewer: write one as {example}")
        return viewers
