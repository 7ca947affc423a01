"""What an operator reads about an object that was set aside: why, since when, and from whom."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydicom import dcmread

from node.errors import printable
from storage.spool.set_aside import SetAside
from storage.vault import Vault

MAX_TITLE: Final = 16


@dataclass(frozen=True, slots=True)
class AsideEntry:
    """One object that was set aside; holds no patient data.

    Attributes
    ----------
    received
        When it came, ISO 8601, local time.
    sender
        AE title of who sent it; "" if its file does not say.
    size_bytes
        Size of its file; None if that was not kept.
    """

    name: str
    reason: str
    detail: str
    received: str
    sender: str
    study_instance_uid: str
    sop_instance_uid: str
    size_bytes: int | None


def aside_entry(note: SetAside, vault: Vault) -> AsideEntry:
    """Describe a note; its file is opened to see who sent it."""
    received = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(note.received_ns / 1e9))
    return AsideEntry(
        note.name,
        note.reason,
        note.detail,
        received,
        _sender(note.path, vault),
        note.uids.get("StudyInstanceUID", ""),
        note.uids.get("SOPInstanceUID", ""),
        note.path.stat().st_size if note.path is not None else None,
    )


def _sender(path: Path | None, vault: Vault) -> str:
    """Sending AE title that the node wrote before the data set."""
    if path is None:
        return ""
    try:
        with vault.open(path) as file:
            meta = dcmread(file, stop_before_pixels=True, specific_tags=[]).file_meta
        return printable(str(meta.get("SourceApplicationEntityTitle", "")), MAX_TITLE)
    except Exception:  # what follows may be anything
        return ""
