"""Settings: one TOML file in the home folder, overridden by the environment and then by the command line."""

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from node.errors import SettingsError

DEFAULT_HOME = Path("var")
FILE_NAME = "settings.toml"


class Settings(BaseSettings):
    """Everything an operator can choose. `LOOKALIKE_PORT=104` in the environment sets `port`, and so on."""

    model_config = SettingsConfigDict(env_prefix="LOOKALIKE_", frozen=True, extra="forbid")

    home: Path = Field(DEFAULT_HOME, description="Folder of settings.toml, database and spool.")
    host: str = Field("127.0.0.1", description="Address to listen on; only this machine unless changed.")
    port: int = Field(11112, ge=1, le=65535, description="DICOM port (the registered one).")
    http_port: int = Field(8080, ge=1, le=65535, description="Port of the web page.")
    ae_title: str = Field("LOOKALIKE", pattern=r"^[ -\[\]-~]{1,16}$", description="Our application entity title.")
    retrieve_ae_title: str = Field("", description="AE title of the archive that holds the images; empty: the sender.")
    max_associations: int = Field(32, ge=1, description="Associations served at once; more are rejected, to try later.")
    maximum_pdu_size: int = Field(131072, ge=4096, description="Largest PDU we ask peers to send, bytes.")
    network_timeout_s: float = Field(60, gt=0, description="An association silent for so long is ended.")
    max_find_responses: int = Field(5000, ge=1, description="An ordinary query with more matches is refused.")

    model_path: Path | None = Field(None, description="Hash model (.safetensors); none: the one shipped.")
    code_length: int = Field(64, description="Bits of a code: 16, 32, 48, 64 or 128. Fixed for a database.")
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="Where to encode; auto: GPU if any.")
    map_size_bytes: int = Field(1 << 40, gt=0, description="Upper bound of the database file; sparse, not reserved.")

    spool_capacity: int = Field(100_000, ge=1, description="Instances that may wait; above it senders get A700.")
    spool_free_bytes: int = Field(1 << 30, ge=0, description="Disk space kept free; below it senders get A700.")
    batch_size: int = Field(32, ge=1, description="Instances indexed in one transaction.")
    decode_workers: int = Field(2, ge=1, description="Processes that decode pixels.")
    decode_timeout_s: float = Field(60, gt=0, description="An instance that takes longer is set aside.")
    decode_memory_bytes: int = Field(4 << 30, gt=0, description="Address space of a decode worker beyond its start.")
    max_frames: int = Field(8, ge=1, description="Frames sampled from a multi-frame instance.")

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
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors(include_url=False)
        )
        raise SettingsError(problems) from error
    except ValueError as error:  # the TOML itself
        raise SettingsError(f"{FILE_NAME}: {error}") from error
