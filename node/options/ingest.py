"""Settings of receiving and indexing: the spool, what is kept, corrections, and how much one instance may cost."""

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class IngestSettings(BaseSettings):
    """The part of `node.settings.Settings` that concerns receiving and indexing."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    spool_capacity: int = Field(100_000, ge=1)
    """Number of instances that may wait to be indexed; senders then get A700."""
    spool_free_bytes: int = Field(1 << 30, ge=0)
    """Free disk space in bytes below which senders get A700."""
    receiver_memory_bytes: int = Field(1 << 30, gt=0)
    """Memory of a receiver in bytes, without mapped files, above which senders get A700."""
    busy_share: float = Field(0.8, gt=0, lt=1)
    """Fraction of these three limits above which responses to C-STORE are delayed."""
    closed_share: float = Field(0.95, gt=0)
    """Fraction of these three limits above which associations for storage are rejected."""
    longest_delay_s: float = Field(2.0, ge=0, le=10)
    """Seconds by which a response is delayed when a limit is reached."""
    other_content: Literal["keep_first", "replace", "quarantine"] = "quarantine"
    """Policy for a known SOP Instance UID with other content: keep_first, replace or quarantine."""
    corrections_from: tuple[str, ...] = ()
    """AE titles of the callers whose corrections are followed; empty: those of every caller."""
    retain: Literal["none", "preview", "all"] = "preview"
    """What stays of images after indexing: none; preview: 224 x 224 pixels; all: the objects, too, to be retrieved."""
    preview_days: float = Field(0, ge=0)
    """Days after its arrival for which the previews of an image stay; 0: for good."""
    preview_bytes: int = Field(0, ge=0)
    """Disk space in bytes for previews; beyond it the oldest are deleted; 0: no limit."""
    object_days: float = Field(0, ge=0)
    """Days after its arrival for which an object stays, with `retain` all; 0: for good."""
    object_bytes: int = Field(0, ge=0)
    """Disk space in bytes for objects; beyond it the oldest are deleted; 0: no limit."""
    keep_reports: bool = False
    """True: text and PDF reports are kept, and shown beside images to callers who see names (`FULL`)."""
    max_report_bytes: int = Field(16 << 20, ge=1)
    """Size in bytes above which the PDF of a report is not kept."""
    commitment_limit_s: float = Field(86_400, gt=0)
    """Seconds for which a report of storage commitment waits for its instances and is offered to its peer."""
    correction_limit_s: float = Field(10, gt=0)
    """Seconds after which a correction that is not in force yet is answered with A700."""
    set_aside_notes: int = Field(100_000, ge=1)
    """Number of notes about instances that were set aside; beyond it the oldest notes are deleted."""
    set_aside_bytes: int = Field(16 << 30, ge=0)
    """Disk space in bytes for instances that were set aside; beyond it the oldest are deleted."""
    batch_size: int = Field(32, ge=1)
    """Number of instances that one transaction indexes."""
    batch_delay_s: float = Field(0.05, ge=0)
    """Seconds that a decoded instance may wait for others of its batch."""
    decode_workers: int = Field(2, ge=1)
    """Number of processes that decode pixels."""
    decode_timeout_s: float = Field(60, gt=0)
    """Processor seconds for one instance; a decoder that needs more is ended, and the instance set aside."""
    decode_elapsed_s: float = Field(600, gt=0)
    """Seconds by the clock for one instance, for a decoder that waits instead of computing."""
    decode_kept_bytes: int = Field(512 << 20, gt=0)
    """Memory in bytes that a decode worker may hold after an instance; above it the worker is replaced."""
    max_decoded_bytes: int = Field(512 << 20, gt=0)
    """Size in bytes of all sampled frames of an instance, decoded; above it fewer frames are sampled."""
    decode_memory_bytes: int = Field(4 << 30, gt=0)
    """Address space in bytes that a decode worker may add to that of its start."""
    max_frames: int = Field(8, ge=1)
    """Number of frames that are sampled from a multi-frame instance."""
    max_announced_frames: int = Field(100_000, ge=1)
    """Number of Frames above which an instance is set aside."""
    max_pixels: int = Field(100_000_000, ge=1)
    """Number of pixels of a frame (rows x columns) above which an instance is set aside."""
    max_inflated_bytes: int = Field(1 << 30, ge=1)
    """Size in bytes to which a deflated data set may grow; above it the instance is set aside."""

    @property
    def keeps_for_good(self) -> bool:
        """True if objects are kept, and deleted by corrections only: the node may commit itself to them."""
        return self.retain == "all" and not (self.object_days or self.object_bytes)
