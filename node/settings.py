"""Settings: one TOML file in the home folder, overridden by the environment and then by the command line."""

import json
import os
import re
import socket
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings import SettingsError as EnvironmentValueError

from node.errors import SettingsError
from node.peers import RemoteEntity

DEFAULT_HOME = Path("var")
FILE_NAME = "settings.toml"
PREFIX = "LOOKALIKE_"
"""What the environment variable of a setting begins with."""
DEFAULT = "default"
AE_TITLE = r"[ -\[\]-~]{0,15}[!-\[\]-~]"  # not only spaces (PS3.5 section 6.2)
Backend = Literal["auto", "torch", "openvino"]  # as in hashing.model.backends, which loads torch
CODE_LENGTHS = (16, 32, 48, 64, 128)


class Settings(BaseSettings):
    """Everything an operator can choose. `LOOKALIKE_PORT=104` in the environment sets `port`, and so on."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid")

    home: Path = Field(DEFAULT_HOME, description="Folder of settings.toml, database and spool.")
    host: str = Field("127.0.0.1", description="Address to listen on; only this machine unless changed.")
    port: int = Field(11112, ge=1, le=65535, description="DICOM port (the registered one).")
    http_port: int = Field(8080, ge=1, le=65535, description="Port of the web page.")
    ae_title: str = Field("LOOKALIKE", description="Our application entity title.")
    retrieve_ae_title: str = Field(
        "", description="AE title of the archive that holds the images, named in responses; empty: none is named."
    )
    peers: dict[str, RemoteEntity] = Field({}, description="Remote application entities by AE title, a table each.")
    source_peer: str = Field(
        "", description="The one of `peers` that holds the images; empty: C-MOVE and C-GET are not offered."
    )
    peer_timeout_s: float = Field(10, gt=0, description="Time a peer may take to answer an association request.")
    retrieve_timeout_s: float = Field(
        600, gt=0, description="A retrieval of which the source PACS says nothing for so long fails."
    )
    fetch_missing_example: bool = Field(
        False, description="Fetch the unknown example of a query from the source PACS; needs `source_peer`."
    )
    fetch_limit_s: float = Field(10, gt=0, le=10, description="Time that fetching and indexing it may take.")
    max_relayed_bytes: int = Field(4 << 30, gt=0, description="A larger instance is not relayed in a C-GET, bytes.")
    receivers: int = Field(2, ge=1, le=64, description="Processes that receive and answer, sharing the port.")
    max_associations: int = Field(32, ge=1, description="Associations served at once; more are rejected, to try later.")
    max_associations_each: int = Field(16, ge=1, description="The same for one calling AE title, so others get in.")
    maximum_pdu_size: int = Field(131072, ge=4096, description="Largest PDU we ask peers to send, bytes.")
    network_timeout_s: float = Field(60, gt=0, description="An association silent for so long is ended.")
    accept_unknown_sop_classes: bool = Field(
        True, description="Store objects of private SOP classes, too; otherwise only classes of the standard."
    )
    max_find_responses: int = Field(5000, ge=1, description="An ordinary query with more matches is refused.")
    relational_queries: Literal["lenient", "strict"] = Field(
        "lenient", description="Queries that need relational queries but did not negotiate them: answered, or refused."
    )
    empty_matches: bool = Field(
        True, description="An empty stored value of a Required key matches any key (PS3.4 C.2.2.1.2); false: only none."
    )

    heartbeat_limit_s: float = Field(
        10, ge=5, description="A receiver or page without a sign of life for so long is restarted."
    )
    index_heartbeat_limit_s: float = Field(
        300, ge=60, description="The same for the index role, in addition to `decode_timeout_s`."
    )
    start_limit_s: float = Field(
        300, ge=30, description="A role that is not ready so long after its start is restarted."
    )

    ranking: Literal["HAMMING", "ASYMMETRIC", "CLASSES"] = Field(
        "HAMMING", description="Order of look-alikes unless the question says: HAMMING, ASYMMETRIC or CLASSES."
    )

    model_path: Path | None = Field(None, description="Hash model (.safetensors); none: the one shipped.")
    code_length: int = Field(64, description="Bits of a code: 16, 32, 48, 64 or 128. Fixed for a database.")
    device: str = Field("auto", description="Where to encode: auto, cpu, cuda or cuda:1; auto: a GPU if there is one.")
    encoder_backend: Backend = Field("auto", description="Encode by torch or openvino; auto: the quickest there.")
    map_size_bytes: int = Field(1 << 40, gt=0, description="Upper bound of the database file; sparse, not reserved.")

    spool_capacity: int = Field(100_000, ge=1, description="Instances that may wait; above it senders get A700.")
    spool_free_bytes: int = Field(1 << 30, ge=0, description="Disk space kept free; below it senders get A700.")
    receiver_memory_bytes: int = Field(
        1 << 30, gt=0, description="Memory of a receiver, without mapped files; above it A700."
    )
    busy_share: float = Field(0.8, gt=0, lt=1, description="Part of these three limits above which responses wait.")
    closed_share: float = Field(0.95, gt=0, description="Part above which associations that store are rejected.")
    longest_delay_s: float = Field(2.0, ge=0, le=10, description="How long a response waits at the limit itself.")
    other_content: Literal["keep_first", "replace", "quarantine"] = Field(
        "quarantine", description="A known SOP Instance UID with other content: keep_first, replace or quarantine."
    )
    set_aside_notes: int = Field(100_000, ge=1, description="Notes on what was set aside; beyond, the oldest go.")
    set_aside_bytes: int = Field(
        16 << 30, ge=0, description="Disk for objects that were set aside; beyond, the oldest are deleted."
    )
    batch_size: int = Field(32, ge=1, description="Instances indexed in one transaction.")
    batch_delay_s: float = Field(0.05, ge=0, description="How long a decoded instance may wait for others.")
    decode_workers: int = Field(2, ge=1, description="Processes that decode pixels.")
    decode_timeout_s: float = Field(60, gt=0, description="Processor time an instance may take; then it is set aside.")
    decode_elapsed_s: float = Field(600, gt=0, description="Time it may take by the clock, if its decoder only waits.")
    decode_kept_bytes: int = Field(
        512 << 20, gt=0, description="A decode worker that holds more after an instance is replaced."
    )
    max_decoded_bytes: int = Field(
        512 << 20, gt=0, description="Pixels of all sampled frames, decoded; fewer are sampled of larger ones."
    )
    decode_memory_bytes: int = Field(4 << 30, gt=0, description="Address space of a decode worker beyond its start.")
    max_frames: int = Field(8, ge=1, description="Frames sampled from a multi-frame instance.")
    max_announced_frames: int = Field(100_000, ge=1, description="An instance that announces more is set aside.")
    max_pixels: int = Field(100_000_000, ge=1, description="A frame with more (rows x columns) is set aside.")
    max_inflated_bytes: int = Field(1 << 30, ge=1, description="A deflated data set that grows larger is set aside.")

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

    @field_validator("ae_title", "retrieve_ae_title")
    @classmethod
    def _valid_ae_title(cls, title: str, info: ValidationInfo) -> str:
        if not re.fullmatch(AE_TITLE, title) and (title or info.field_name == "ae_title"):
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
        """Environment variables from which another process reads these settings; a table is written as JSON."""
        values = self.model_dump(mode="json", exclude_none=True)
        texts = {name: json.dumps(v) if isinstance(v, dict) else str(v) for name, v in values.items()}
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
    def run_path(self) -> Path:
        """Folder where running roles leave their process numbers."""
        return self.home / "run"

    @property
    def retrieve_ae_titles(self) -> tuple[str, ...]:
        """Retrieve AE Titles of responses: that of the archive if it is set, and ours if we relay retrievals."""
        ours = self.ae_title if self.source_peer else ""
        return tuple(title for title in (self.retrieve_ae_title, ours) if title)

    @property
    def address_family(self) -> socket.AddressFamily:
        """Family of sockets that listen on `host`."""
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    @property
    def url(self) -> str:
        """Address of the web page."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.http_port}/"


def load_settings(**overrides: Any) -> Settings:
    """Settings with overrides from the command line; those that are None are not given.

    Raises
    ------
    SettingsError
        A value that cannot be used: which setting, what is wrong, and where the value comes from.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    file = Path(given.get("home") or _variable("home") or DEFAULT_HOME) / FILE_NAME
    try:
        settings = Settings(**given)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        raise SettingsError("; ".join(_problem(problem, given, file) for problem in problems)) from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file} is no TOML: {error}") from error
    except EnvironmentValueError as error:
        raise SettingsError(f"environment: {error}; a table is written as JSON") from error
    except (OSError, ValueError) as error:  # a file that cannot be read, or is no text
        raise SettingsError(f"{file} cannot be read: {error}") from error
    if settings.source_peer and settings.source_peer not in settings.peers:
        problem = f"source_peer: {settings.source_peer!r} is not in the table of peers"
        raise SettingsError(f"{problem} (set by {_source('source_peer', given, file)})")
    if settings.fetch_missing_example and not settings.source_peer:
        source = _source("fetch_missing_example", given, file)
        raise SettingsError(f"fetch_missing_example: there is no source_peer to fetch from (set by {source})")
    if settings.port == settings.http_port:
        problem = f"port and http_port are both {settings.port}: give each its own"
        sources = {_source(name, given, file) for name in ("port", "http_port")} - {DEFAULT}
        raise SettingsError(f"{problem} (set by {' and '.join(sorted(sources))})")
    return settings


def _problem(problem: ErrorDetails, given: Mapping[str, Any], file: Path) -> str:
    name = ".".join(map(str, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        what = "there is no such setting"
    elif problem["type"] == "value_error":  # ours, which name the value
        what = str(problem["ctx"]["error"])
    else:
        what = f"{problem['msg'].replace('Input', 'it')}, not {problem['input']!r}"
    return f"{name}: {what} (set by {_source(str(problem['loc'][0]), given, file)})"


def _source(name: str, given: Mapping[str, Any], file: Path) -> str:
    """Where a setting's value comes from, in the words of who set it."""
    if name in given:
        return f"the option --{name.replace('_', '-')}"
    if _variable(name):
        return f"the environment variable {PREFIX}{name.upper()}"
    return str(file) if name in _names_in(file) else DEFAULT


def _names_in(file: Path) -> Iterable[str]:
    return tomllib.loads(file.read_text()) if file.exists() else ()


def _variable(name: str) -> str | None:
    """Value of a setting's environment variable, whose name may be written in small letters; empty is none."""
    variables = {key.upper(): value for key, value in os.environ.items()}
    return variables.get(f"{PREFIX}{name.upper()}") or None
