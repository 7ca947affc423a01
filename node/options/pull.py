"""Settings of the role `pull`: its jobs, and how it treats the archives it asks."""

import re
from datetime import date
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

DEFAULT_HOME = Path("var")
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAY, _CLOCK = "|".join(DAYS), r"([01]\d|2[0-4]):([0-5]\d)"
OPEN_HOURS = re.compile(rf"({_DAY})(-({_DAY}))? {_CLOCK}-{_CLOCK}")
FIRST_DATE = date(1970, 1, 1)


class PullJob(BaseModel):
    """Settings of one job: which studies it brings in, from which archive, and how fast; its name is its key."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    source: str
    """AE title in `peers` of the archive."""
    transport: Literal["C-GET", "C-MOVE", "WADO-RS"] = "C-GET"
    """How images come: C-GET, C-MOVE (to this node, which the archive must know), or WADO-RS at `dicomweb_url`."""
    first_date: date = FIRST_DATE
    """Earliest Study Date."""
    last_date: date | None = None
    """Latest Study Date; None: no limit, so that dates in the future are found, too."""
    undated: bool = True
    """True: studies are searched by Patient ID, too, which finds those without a date; not if `last_date` is set."""
    work_list: Path | None = None
    """File of studies to bring in instead: CSV of Study Instance UIDs, or a DICOM Inventory object."""
    modalities: tuple[str, ...] = ()
    """Modalities of which a study must have one; empty: all."""
    descriptions: tuple[str, ...] = ()
    """Patterns of Study Description with * and ?, in upper or lower case, of which one must match; empty: all."""
    every_nth: int = Field(1, ge=1)
    """Take every n-th image of a series, in the order of Instance Number."""
    middle: int = Field(0, ge=0)
    """Take so many images from the middle of each series; 0: all."""
    one_series: bool = False
    """True: take only the series with most images of each study."""
    follow: bool = True
    """True: the job looks for new and changed studies once history is in."""
    reconcile: bool = True
    """True: what the job has brought in is compared with the archive every night."""
    studies_per_hour: float = Field(0, ge=0)
    """Number of studies to begin in an hour; 0: no limit."""
    megabytes_per_s: float = Field(0, ge=0)
    """Megabytes (10^6 bytes) to take in a second; 0: no limit."""
    associations: int = Field(1, ge=1, le=64)
    """Number of associations, or HTTP connections, that are open to the archive at once."""
    open_hours: tuple[str, ...] = ()
    """Times in which the archive may be asked, as in Mon-Fri 19:00-06:00; empty: always."""
    holidays: tuple[date, ...] = ()
    """Dates on which the archive may be asked all day."""
    time_zone: str = "UTC"
    """Time zone of `open_hours`, `holidays` and the archive's dates, as in Europe/Berlin."""
    token_file: Path | None = None
    """File with the bearer token for WADO-RS; it is read for each study, so that it can be renewed."""
    certificate: Path | None = None
    """File with certificate and key of this node for WADO-RS over TLS, in PEM."""
    authority: Path | None = None
    """File with the certificates of authorities to trust for WADO-RS over TLS, in PEM; None: those of the system."""

    @field_validator("open_hours")
    @classmethod
    def _valid_hours(cls, hours: tuple[str, ...]) -> tuple[str, ...]:
        for text in hours:
            if not OPEN_HOURS.fullmatch(text):
                raise ValueError(f"{text!r} is no span of hours: write one as Mon-Fri 19:00-06:00 or Sat 00:00-24:00")
        return hours

    @field_validator("time_zone")
    @classmethod
    def _known_time_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ValueError, OSError) as error:
            raise ValueError(f"{name!r} is no time zone: write one as Europe/Berlin or UTC") from error
        return name


class PullSettings(BaseSettings):
    """The part of `node.settings.Settings` that concerns the role `pull`, and the home folder where its jobs lie."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    home: Path = DEFAULT_HOME
    """Folder that holds settings.toml, the database and the spool."""
    pull_jobs: dict[str, PullJob] = Field({})
    """Jobs that bring in studies from archives, by name, one table for each; each begins when the node starts."""
    pull_max_waiting: int = Field(2000, ge=1)
    """Number of instances waiting to be indexed above which nothing is pulled: live ingest goes first."""
    pull_window_results: int = Field(1000, ge=10)
    """Number of studies above which a query is cancelled and its range of dates halved."""
    pull_attempts: int = Field(5, ge=1)
    """Number of attempts to bring in a study, after which it is parked with the reason."""
    pull_retry_s: float = Field(60, gt=0)
    """Seconds before a failed study is tried again; twice as long after each further failure, with jitter."""
    pull_slow_factor: float = Field(4, gt=1)
    """Ratio of an archive's response time to its usual one above which pulling pauses."""
    pull_max_pause_s: float = Field(900, gt=0)
    """Longest pause in seconds while an archive is slow, or cannot be reached."""
    pull_poll_s: float = Field(300, gt=0)
    """Seconds between searches for new studies in the archive."""
    pull_follow_days: int = Field(3, ge=1)
    """Number of latest days that these searches cover."""
    pull_reconcile_at: str = Field("02:30", pattern=r"^([01]\d|2[0-3]):[0-5]\d$")
    """Time of day, in a job's time zone, from which what it has brought in is compared with the archive."""

    @property
    def pull_path(self) -> Path:
        """Folder of the progress of jobs that bring in studies."""
        return self.home / "pull"

    @property
    def pulls(self) -> bool:
        """True if there are such jobs, in the settings or by command: then the role `pull` runs."""
        return bool(self.pull_jobs) or (self.pull_path / "data.mdb").is_file()
