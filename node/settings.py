"""Settings: one TOML file in the home folder, overridden by the environment and then by the command line."""

import json
import re
import socket
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from node.options.access import AE_TITLE, AccessSettings, is_loopback
from node.options.ask import AskSettings
from node.options.index import IndexSettings
from node.options.ingest import IngestSettings
from node.options.log import LogSettings
from node.options.pull import DEFAULT_HOME, PullSettings
from node.options.web import WebSettings
from node.peers import RemoteEntity

FILE_NAME = "settings.toml"
PREFIX = "LOOKALIKE_"
"""What the environment variable of a setting begins with."""
Backend = Literal["auto", "torch", "openvino"]  # as in hashing.model.backends, which loads torch
CODE_LENGTHS = (16, 32, 48, 64, 128)


class Settings(AccessSettings, IngestSettings, IndexSettings, AskSettings, PullSettings, WebSettings, LogSettings):
    """Everything an operator can choose. `LOOKALIKE_PORT=104` in the environment sets `port`, and so on."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid", use_attribute_docstrings=True
    )

    host: str = "127.0.0.1"
    """Address to listen on; the default admits programs of this machine only."""
    port: int = Field(11112, ge=1, le=65535)
    """TCP port of the DICOM services; the default is the registered one."""
    http_port: int = Field(8080, ge=1, le=65535)
    """TCP port of the web page."""
    ae_title: str = "LOOKALIKE"
    """Application entity title of this node."""
    ask_ae_title: str = "LOOKALIKE_ASK"
    """AE title under which received objects are questions: answered by objects sent back, and never indexed."""
    view_ae_title: str = "LOOKALIKE_VIEW"
    """AE title under which queries for a study are answered with its look-alikes, for peers with `views`."""
    retrieve_ae_title: str = ""
    """AE title of the archive that holds the images, returned in responses; empty: no archive is named."""
    peers: dict[str, RemoteEntity] = Field({})
    """Remote application entities by AE title, one table for each."""
    source_peer: str = ""
    """AE title in `peers` of the PACS that holds the images; empty: the node refuses C-MOVE and C-GET."""
    peer_timeout_s: float = Field(10, gt=0)
    """Seconds that a peer has to answer an association request."""
    retrieve_timeout_s: float = Field(600, gt=0)
    """Seconds of silence of the source PACS after which a retrieval fails."""
    fetch_missing_example: bool = False
    """True: the node fetches the unknown example of a query from the source PACS; it needs `source_peer`."""
    fetch_limit_s: float = Field(10, gt=0, le=10)
    """Seconds that fetching and indexing an example may take in all."""
    max_relayed_bytes: int = Field(4 << 30, gt=0)
    """Size in bytes above which an instance is not relayed in a C-GET."""
    receivers: int = Field(2, ge=1, le=64)
    """Number of processes that receive and answer; they share the DICOM port."""
    max_associations: int = Field(32, ge=1)
    """Number of concurrent associations; further ones are rejected as transient, so callers try again."""
    max_associations_each: int = Field(16, ge=1)
    """Number of concurrent associations of one calling AE title, so that others get in."""
    maximum_pdu_size: int = Field(131072, ge=4096)
    """Size in bytes of the largest PDU that peers may send."""
    network_timeout_s: float = Field(60, gt=0)
    """Seconds of silence after which an association is ended."""
    accept_unknown_sop_classes: bool = True
    """True: instances of private SOP classes are stored too; False: only those of the standard."""
    max_find_responses: int = Field(5000, ge=1)
    """Number of matches above which an ordinary query is refused, since it would be cut short."""
    relational_queries: Literal["lenient", "strict"] = "lenient"
    """Answer to a query that needs relational queries but did not negotiate them: responses, or A900."""
    empty_matches: bool = True
    """True: an empty stored value of a Required key matches any key (PS3.4 C.2.2.1.2); false: only an empty one."""

    heartbeat_limit_s: float = Field(10, ge=5)
    """Seconds without a sign of life after which a receiver or the page is restarted."""
    index_heartbeat_limit_s: float = Field(300, ge=60)
    """Seconds, added to `decode_timeout_s`, after which a silent index role is restarted."""
    start_limit_s: float = Field(300, ge=30)
    """Seconds after its start by which a role must be ready; otherwise it is restarted."""

    ranking: Literal["HAMMING", "ASYMMETRIC", "OUTPUTS", "CLASSES"] = "HAMMING"
    """Order of look-alikes where a query names no ranking: HAMMING, ASYMMETRIC, OUTPUTS or CLASSES."""
    family_first: bool | None = None
    """True: look-alikes of the example's family of modalities come first; None: if codes do not tell modalities."""

    model_path: Path | None = None
    """File of the hash model (.safetensors); None: the model that comes with the node."""
    code_length: int = 64
    """Bits of a code: 16, 32, 48, 64 or 128; a database holds codes of one length only."""
    device: str = "auto"
    """Device that encodes: auto, cpu, cuda or cuda:1; auto: a GPU if there is one."""
    encoder_backend: Backend = "auto"
    """Library that encodes: torch, openvino or auto; auto: the fastest that is installed."""
    map_size_bytes: int = Field(1 << 40, gt=0)
    """Upper bound of the database file in bytes; the file is sparse, so the disk is not reserved."""

    @field_validator("code_length")
    @classmethod
    def _of_the_model(cls, code_length: int) -> int:
        if code_length not in CODE_LENGTHS:
            raise ValueError(f"{code_length} is not one of {', '.join(map(str, CODE_LENGTHS))}")
        return code_length

    @field_validator("device")
    @classmethod
    def _known_device(cls, device: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
            raise ValueError(f"{device!r} is none of auto, cpu, cuda, cuda:0, cuda:1 and so on")
        return device

    @field_validator("ae_title", "ask_ae_title", "view_ae_title", "retrieve_ae_title")
    @classmethod
    def _valid_ae_title(cls, title: str, info: ValidationInfo) -> str:
        if not re.fullmatch(AE_TITLE, title) and (title or info.field_name != "retrieve_ae_title"):
            rule = "1 to 16 characters of ASCII, no backslash or control character, and no space at its end"
            raise ValueError(f"{title!r} is no AE title: it has {rule}")
        return title

    @field_validator("peers")
    @classmethod
    def _valid_peer_titles(cls, peers: dict[str, RemoteEntity]) -> dict[str, RemoteEntity]:
        for title in peers:
            if not re.fullmatch(AE_TITLE, title):
                raise ValueError(f"{title!r} is no AE title")
        return peers

    @field_validator("host")
    @classmethod
    def _without_spaces_or_brackets(cls, host: str) -> str:
        if not re.fullmatch(r"[^\s\[\]/]+", host):
            raise ValueError(f"{host!r} is no address to listen on: write one as 127.0.0.1, 0.0.0.0 or ::1")
        return host

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - one file is enough
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Command line before environment before file."""
        home = Path(init_settings().get("home") or env_settings().get("home") or DEFAULT_HOME)
        file = TomlConfigSettingsSource(settings_cls, toml_file=home / FILE_NAME)
        return init_settings, env_settings, file

    def environment(self) -> dict[str, str]:
        """Environment variables from which another process reads these settings; a table or list is written as JSON."""
        values = self.model_dump(mode="json", exclude_none=True)
        texts = {name: json.dumps(v) if isinstance(v, dict | list) else str(v) for name, v in values.items()}
        return {f"{PREFIX}{name.upper()}": text for name, text in texts.items()}

    @property
    def database_path(self) -> Path:
        """Folder of the LMDB environment."""
        return self.home / "database"

    @property
    def spool_path(self) -> Path:
        """Folder of instances waiting to be indexed."""
        return self.home / "spool"

    @property
    def objects_path(self) -> Path:
        """Folder of the original objects that are kept."""
        return self.home / "objects"

    @property
    def reports_path(self) -> Path:
        """File of the reports that are kept."""
        return self.home / "reports" / "reports.sqlite"

    @property
    def regions_path(self) -> Path:
        """File of the codes of parts of images."""
        return self.home / "regions" / "regions.sqlite"

    @property
    def commitments_path(self) -> Path:
        """Folder of requests for storage commitment that are not reported yet."""
        return self.home / "commitments"

    @property
    def ask_path(self) -> Path:
        """Folder of questions that were sent, and of their answers on the way."""
        return self.home / "ask"

    def answers_to(self, calling_ae_title: str) -> str:
        """AE title of the peer that gets the answers to a caller's questions; "" if nobody does: it cannot ask."""
        caller = self.peers.get(calling_ae_title)
        return (caller.answers_to if caller else "") or self.source_peer

    @property
    def answers_questions(self) -> bool:
        """True if anybody can ask by sending."""
        return bool(self.source_peer) or any(peer.answers_to for peer in self.peers.values())

    @property
    def offers_view(self) -> bool:
        """True if anybody may query `view_ae_title`."""
        return any(peer.views for peer in self.peers.values())

    @property
    def metrics_path(self) -> Path:
        """Folder in which processes count for `/metrics`."""
        return self.run_path / "metrics"

    @property
    def audit_path(self) -> Path:
        """Folder of audit messages."""
        return self.home / "audit"

    @property
    def log_path(self) -> Path:
        """Folder of log files."""
        return self.home / "log"

    @property
    def corrections_path(self) -> Path:
        """Folder of orders to the process that writes the database."""
        return self.home / "corrections"

    @property
    def run_path(self) -> Path:
        """Folder where running roles leave their process numbers."""
        return self.home / "run"

    @property
    def retrieve_ae_titles(self) -> tuple[str, ...]:
        """Retrieve AE Titles of responses: that of the archive if it is set, and ours if we serve retrievals."""
        ours = self.ae_title if self.source_peer or self.retain == "all" else ""
        return tuple(title for title in dict.fromkeys((self.retrieve_ae_title, ours)) if title)

    @property
    def is_for_this_machine(self) -> bool:
        """True if only programs of this machine reach the node."""
        return is_loopback(self.host)

    @property
    def plain_dicom_host(self) -> str:
        """Address on which DICOM without TLS is offered: `host`, or that of this machine."""
        return self.host if self.allow_plain_dicom or self.is_for_this_machine else "127.0.0.1"

    @property
    def address_family(self) -> socket.AddressFamily:
        """Family of sockets that listen on `host`."""
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    @property
    def url(self) -> str:
        """Address of the web page."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.https else ''}://{host}:{self.http_port}/"
