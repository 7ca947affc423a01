"""Settings: one TOML file in the home folder, overridden by the environment and then by the command line."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from node.errors import SettingsError

DEFAULT_HOME = Path("var")
FILE_NAME = "settings.toml"
AE_TITLE = r"[ -\[\]-~]{0,15}[!-\[\]-~]"  # not only spaces (PS3.5 section 6.2)
Backend = Literal["auto", "torch", "openvino"]  # as in hashing.model.backends, which loads torch
CODE_LENGTHS = (16, 32, 48, 64, 128)


class Settings(BaseSettings):
    """Everything an operator can choose. `LOOKALIKE_PORT=104` in the environment sets `port`, and so on."""

    model_config = SettingsConfigDict(env_prefix="LOOKALIKE_", env_ignore_empty=True, frozen=True, extra="forbid")

    home: Path = Field(DEFAULT_HOME, description="Folder of settings.toml, database and spool.")
    host: str = Field("127.0.0.1", description="Address to listen on; only this machine unless changed.")
    port: int = Field(11112, ge=1, le=65535, description="DICOM port (the registered one).")
    http_port: int = Field(8080, ge=1, le=65535, description="Port of the web page.")
    ae_title: str = Field("LOOKALIKE", pattern=f"^{AE_TITLE}$", description="Our application entity title.")
    retrieve_ae_title: str = Field(
        "", pattern=f"^({AE_TITLE})?$", description="AE title of the archive that holds the images; empty: the sender."
    )
    receivers: int = Field(2, ge=1, le=64, description="Processes that receive and answer, sharing the port.")
    max_associations: int = Field(32, ge=1, description="Associations served at once; more are rejected, to try later.")
    max_associations_each: int = Field(16, ge=1, description="The same for one calling AE title, so others get in.")
    maximum_pdu_size: int = Field(131072, ge=4096, description="Largest PDU we ask peers to send, bytes.")
    network_timeout_s: float = Field(60, gt=0, description="An association silent for so long is ended.")
    accept_unknown_sop_classes: bool = Field(
        True, description="Store objects of private SOP classes, too; otherwise only classes of the standard."
    )
    max_find_responses: int = Field(5000, ge=1, description="An ordinary query with more matches is refused.")

    ranking: Literal["HAMMING", "ASYMMETRIC", "CLASSES"] = Field(
        "HAMMING", description="Order of look-alikes unless the question says: HAMMING, ASYMMETRIC or CLASSES."
    )

    model_path: Path | None = Field(None, description="Hash model (.safetensors); none: the one shipped.")
    code_length: int = Field(64, description="Bits of a code: 16, 32, 48, 64 or 128. Fixed for a database.")
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="Where to encode; auto: GPU if any.")
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
    other_content: str = Field(
        "quarantine",
        pattern="^(keep_first|replace|quarantine)$",
        description="A known SOP Instance UID with other content: keep_first, replace or quarantine.",
    )
    batch_size: int = Field(32, ge=1, description="Instances indexed in one transaction.")
    batch_delay_s: float = Field(0.05, ge=0, description="How long a decoded instance may wait for others.")
    decode_workers: int = Field(2, ge=1, description="Processes that decode pixels.")
    decode_timeout_s: float = Field(60, gt=0, description="An instance that takes longer is set aside.")
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
    def url(self) -> str:
        """Address of the web page."""
        return f"http://{self.host}:{self.http_port}/"


def load_settings(**overrides: Any) -> Settings:
    """Settings with overrides from the command line; those that are None are not given.

    Raises
    ------
    SettingsError
        A value that cannot be used, named with what is wrong.
    """
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        raise SettingsError("; ".join(map(_problem, error.errors(include_url=False)))) from error
    except (OSError, ValueError) as error:  # the TOML itself
        raise SettingsError(f"{FILE_NAME}: {error}") from error


def _problem(found: ErrorDetails) -> str:
    name = ".".join(map(str, found["loc"]))
    return f"{name}: " + ("there is no such setting" if found["type"] == "extra_forbidden" else found["msg"])
