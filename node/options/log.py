"""Settings of the log, and of when monitoring warns."""

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class LogSettings(BaseSettings):
    """The part of `node.settings.Settings` that concerns the log and monitoring."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    log_to: str = Field("stderr", pattern=r"^(stderr|files|syslog:(/.+|.+:[0-9]{1,5}))$")
    """Where log lines go: stderr; files: `log/` of the home folder; syslog:/dev/log or syslog:HOST:PORT (UDP)."""
    log_format: Literal["text", "json"] = "text"
    """Form of a line: text, or json with time, level, process, request and message."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least level of the node's own events that are logged; of libraries only errors are."""
    log_file_bytes: int = Field(16 << 20, ge=1 << 16)
    """Size in bytes at which a process begins another file."""
    log_files: int = Field(10, ge=1)
    """Number of full files that stay of each process; older ones are deleted."""
    alarm_waiting_s: float = Field(900, gt=0)
    """Age in seconds of the oldest waiting instance above which `status --nagios` warns."""
    alarm_set_aside: int = Field(20, ge=0)
    """Number of objects of the last 24 hours that were set aside, reports and the like apart, above which it warns."""
