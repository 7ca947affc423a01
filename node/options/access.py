"""Settings of trust: who may do what, over which connections."""

import ipaddress
import re
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from node.options.certificate_names import subject_attributes

THIS_MACHINE = ("127.0.0.0/8", "::1/128")
AE_TITLE = r"[ -\[\]-~]{0,15}[!-\[\]-~]"  # not only spaces (PS3.5 section 6.2)


class Right(StrEnum):
    """What a caller may be allowed to do."""

    STORE = "store"
    FIND = "find"
    SIMILAR = "similar"
    RETRIEVE = "retrieve"
    ASK = "ask"
    ADMIN = "admin"


class Disclosure(StrEnum):
    """How much of a patient's identity answers hold."""

    FULL = "FULL"
    MASKED = "MASKED"
    BLIND = "BLIND"


class CallerEntry(BaseModel):
    """One caller, as the table `callers` has it; its name there is that of the log."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    ae_titles: tuple[str, ...] = ()
    """Calling AE titles of its associations; none: it cannot use DICOM."""
    web: bool = False
    """True: HTTP requests from its networks are its own, without a login."""
    networks: tuple[str, ...] = THIS_MACHINE
    """Address ranges from which it comes; the default is this machine."""
    certificate: str = ""
    """Subject of its client certificate, as in CN=ct1,O=Hospital; then it is known over TLS only."""
    token: str = ""
    """Value that the claim `token_claim` of its tokens has, such as a group of users; then only tokens prove it."""
    passcode: str = Field("", pattern=r"^$|^[0-9a-f]{32}:[0-9a-f]{64}$")
    """What `lookalike passcode` made of its passcode, which User Identity Negotiation brings with the entry's name."""
    rights: tuple[Right, ...] = ()
    """What it may do: store, find, similar, retrieve, ask, admin (corrections of the PACS)."""
    disclosure: Disclosure = Disclosure.MASKED
    """What it sees of patients: FULL, MASKED or BLIND."""
    requests_per_minute: int = Field(0, ge=0)
    """Number of queries, retrievals and questions that it may begin in a minute; 0: no limit."""

    @field_validator("ae_titles")
    @classmethod
    def _valid_ae_titles(cls, titles: tuple[str, ...]) -> tuple[str, ...]:
        for title in titles:
            if not re.fullmatch(AE_TITLE, title):
                raise ValueError(f"{title!r} is no AE title")
        return titles

    @field_validator("networks")
    @classmethod
    def _valid_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        return valid_networks(networks)

    @field_validator("certificate")
    @classmethod
    def _valid_subject(cls, subject: str) -> str:
        subject_attributes(subject)
        return subject


def valid_networks(networks: tuple[str, ...]) -> tuple[str, ...]:
    """Return address ranges that can be read.

    Raises
    ------
    ValueError
        A text is no address range.
    """
    for network in networks:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            raise ValueError(f"{network!r} is no address range: write one as 10.1.0.0/16") from error
    return networks


def is_loopback(host: str) -> bool:
    """Return True if an address or name is reached by programs of this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return host.lower() == "localhost"


class AccessSettings(BaseSettings):
    """The part of `node.settings.Settings` that concerns trust."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    callers: dict[str, CallerEntry] = Field({})
    """Who may use the node, one table for each; empty: programs of this machine, which may do everything."""
    allow_plain_dicom: bool = False
    """True: DICOM without TLS is offered to other machines, too; False: `port` is for this machine only."""
    allow_plain_http: bool = False
    """True: page and DICOMweb are offered to other machines without TLS."""
    tls_port: int = Field(0, ge=0, le=65535)
    """TCP port of DICOM over TLS, with certificates of both sides; 0: none. 2762 is the registered one."""
    https: bool = False
    """True: `http_port` speaks HTTPS."""
    tls_certificate: Path | None = None
    """File of the node's certificate chain (PEM), for TLS both ways."""
    tls_key: Path | None = None
    """File of the private key of `tls_certificate` (PEM, not encrypted)."""
    tls_authorities: Path | None = None
    """File of the certificates (PEM) by which certificates of others are checked; none of the system counts."""
    audit_collector: str = Field("", pattern=r"^(.+:[0-9]{1,5})?$")
    """Collector of audit messages, as HOST:PORT of syslog over TLS; empty: they stay in the folder `audit`."""
    audit_files: int = Field(100_000, ge=1)
    """Number of files of audit messages that may wait or stay; beyond it the oldest are deleted."""
    token_keys: Path | None = None
    """File of the public keys (JWK set or PEM) of the identity provider; None: tokens are not accepted."""
    token_issuer: str = ""
    """Issuer (`iss`) of tokens."""
    token_audience: str = ""
    """Audience (`aud`) of tokens: the name of this node at the identity provider."""
    token_claim: str = "sub"  # noqa: S105 -- no secret
    """Claim of a token whose value, or one of whose values, names a caller by its `token`."""
    link_minutes: float = Field(5, gt=0, le=1440)
    """Minutes for which a link may be followed that `lookalike link` or `POST /api/links` made."""
    link_once: bool = False
    """True: a link opens one session; whoever follows it after that has to log in."""
    session_minutes: float = Field(60, gt=0, le=1440)
    """Minutes for which a browser that followed a link may use the page."""
    encryption_key: str = Field("", pattern=r"^$|^file:/.+|^env:[A-Za-z_][A-Za-z0-9_]*$|^command:.+")
    """Where the key comes from that encrypts the home folder: file:/PATH, env:NAME or command:COMMAND; empty: none."""
