"""From a spooled file to what is encoded and stored; runs in decode workers that may be killed, without torch."""

import hashlib
import json
import re
from collections.abc import Mapping
from errno import ENOENT
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset
from pydicom.multival import MultiValue
from pydicom.valuerep import PersonName

from hashing.images.attributes import read
from hashing.images.pixels import DEFAULT_LIMITS, Limits, PixelError, network_inputs
from node import character_sets  # noqa: F401 - mends how pydicom reads one of them
from node.dicom.hierarchy import ATTRIBUTES, UNIQUE
from node.errors import NO_PIXELS
from node.ingest.outcome import MEMORY_LIMIT, READ_ERROR, Outcome, Prepared, Unusable
from node.ingest.reading import Received, read_received
from node.ingest.report_reading import report_of
from storage.record import LEVELS, Level, Record, patient_key
from storage.vault import CLEAR, Vault

UID_KEYWORDS: Final = tuple(UNIQUE[level] for level in LEVELS[1:])
UID: Final = re.compile(r"[0-9.]{1,64}")  # PS3.5 section 9.1
TEXTS: Final = (str, int, float, PersonName)
MAX_TEXT: Final = 1024  # characters; no attribute we keep may have as many (PS3.5 table 6.2-1)
NOT_DIGESTED: Final = frozenset(
    {"ImageLaterality", "PatientOrientation", "ImageOrientationPatient", "BurnedInAnnotation"}
)
"""Attributes that earlier releases did not keep: what they indexed must not look like other content when sent again."""
IMAGELESS_CLASSES: Final = tuple(f"1.2.840.10008.5.1.4.1.1.{branch}." for branch in ("9", "11", "88", "104")) + tuple(
    f"1.2.840.10008.5.1.4.1.1.481.{leaf}" for leaf in (3, 4, 5, 6, 7, 8, 9)
)
"""SOP classes, by their beginning, that have no pixel data (PS3.4 B.5): waveforms, presentation states, reports and key
objects, encapsulated documents; RT structure sets, plans and records."""


def prepare(
    path: Path,
    received_ns: int,
    size: int,
    max_frames: int,
    limits: Limits = DEFAULT_LIMITS,
    max_report_bytes: int = 0,
    vault: Vault = CLEAR,
) -> Outcome:
    """Read, check and preprocess one received file; it raises nothing but what ends a process.

    Parameters
    ----------
    received_ns
        Time of arrival, nanoseconds since the epoch.
    size
        Side of the network's input, pixels.
    max_frames
        Frames to sample at most.
    max_report_bytes
        Size above which the PDF of a report is not kept; 0 for no report at all.
    vault
        Opens the file if it is sealed.
    """
    uids: dict[str, str] = {}
    try:
        received = read_received(path, limits.inflated_bytes, vault)
        uids = known_uids(received.dataset)
        _check_uids(received.dataset)
        if not received.has_pixels:
            return _without_pixels(received, uids, max_report_bytes)
        frames, images = network_inputs(received.dataset, max_frames, size, limits)
        return prepared(received.dataset, frames, images, received_ns)
    except PixelError as error:
        return Unusable(error.reason.replace(" ", "-"), str(error), uids)
    except UIDError as error:
        return Unusable(error.reason, str(error), uids)
    except RecursionError:
        return Unusable("too-deep", "sequences are nested deeper than any real object's", uids)
    except MemoryError:
        return Unusable(MEMORY_LIMIT, "decoding takes more memory than decode_memory_bytes", uids)
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in (None, ENOENT):
            return Unusable(READ_ERROR, f"{type(error).__name__} while reading the file", uids)
        return Unusable("not-readable", f"{type(error).__name__} while reading the data set", uids)


class UIDError(ValueError):
    """A data set lacks a UID that says where it belongs, or gives several, or something else."""

    def __init__(self, reason: str, keywords: list[str], todo: str) -> None:
        super().__init__(f"{', '.join(keywords)} {reason.removeprefix('uid-')}: {todo}")
        self.reason = reason


def known_uids(dataset: Dataset) -> dict[str, str]:
    """SOP, Series and Study Instance UIDs, those that are there and are UIDs."""
    found = {keyword: text(dataset, keyword) for keyword in UID_KEYWORDS}
    return {keyword: uid for keyword, uid in found.items() if UID.fullmatch(uid)}


def _check_uids(dataset: Dataset) -> None:
    absent = sorted({*UID_KEYWORDS} - known_uids(dataset).keys())
    missing = [keyword for keyword in absent if (uid := text(dataset, keyword)) == "" or "\\" in uid]
    if missing:
        raise UIDError("uid-missing", missing, "the sender must give one")
    if absent:  # as a key it would be refused, cut, or mistaken for a path
        raise UIDError("uid-invalid", absent, "a UID has 1 to 64 digits and dots")


def _without_pixels(received: Received, uids: Mapping[str, str], max_report_bytes: int) -> Unusable:
    """Why a data set without a pixel data element is unusable.

    Its bytes are given up only if it was read to its end without doubt, and is of a kind that has no pixel data: an
    image may have lost its pixel data to a wrong length.
    """
    if not received.is_certain:
        return Unusable("not-readable", "no pixel data, and the data set cannot be read to its end", uids)
    is_imageless = text(received.dataset, "SOPClassUID").startswith(IMAGELESS_CLASSES)
    detail = "there is no image in this instance" if is_imageless else "the pixel data of this instance are missing"
    report = report_of(received.dataset, max_report_bytes) if max_report_bytes else None
    return Unusable(NO_PIXELS, detail, uids, keeps_bytes=not is_imageless, report=report)


def prepared(dataset: FileDataset, frames: tuple[int, ...], images: NDArray[np.uint8], received_ns: int) -> Prepared:
    """Join the network inputs of some frames with what is kept of their instance."""
    record = _record(dataset, frames, images, received_ns)
    return Prepared(record, images, int.from_bytes(hashlib.sha256(images.tobytes()).digest()[:8], "little"))


def attributes_of(dataset: Dataset) -> dict[Level, dict[str, str]]:
    """Stored attributes of an instance by level: those that are there, as text."""
    return {
        level: {keyword: text(dataset, keyword) for keyword in ATTRIBUTES[level] if keyword in dataset}
        for level in LEVELS
    }


def _record(dataset: FileDataset, frames: tuple[int, ...], images: NDArray[np.uint8], received_ns: int) -> Record:
    attributes = attributes_of(dataset)
    digest = _content_digest(attributes, images)
    source = text(dataset.file_meta, "SourceApplicationEntityTitle")
    return Record(
        sop_instance_uid=attributes[Level.IMAGE]["SOPInstanceUID"],
        series_instance_uid=attributes[Level.SERIES]["SeriesInstanceUID"],
        study_instance_uid=attributes[Level.STUDY]["StudyInstanceUID"],
        patient_key=patient_key(
            attributes[Level.PATIENT].get("PatientID", ""),
            attributes[Level.PATIENT].get("IssuerOfPatientID", ""),
            attributes[Level.STUDY]["StudyInstanceUID"],
        ),
        patient=attributes[Level.PATIENT],
        study=attributes[Level.STUDY],
        series=attributes[Level.SERIES],
        instance=attributes[Level.IMAGE] | {"RetrieveAETitle": source},
        frames=frames,
        content_digest=digest,
        received_ns=received_ns,
    )


def _content_digest(attributes: Mapping[Level, Mapping[str, str]], images: NDArray[np.uint8]) -> bytes:
    """Digest of the decoded content, not of the bytes received: a lossless re-encoding is the same content."""
    digested = {
        level: {keyword: text for keyword, text in kept.items() if keyword not in NOT_DIGESTED}
        for level, kept in attributes.items()
    }
    texts = json.dumps(digested, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(texts.encode() + images.tobytes()).digest()


def text(dataset: Dataset, keyword: str) -> str:
    r"""Value as text without padding, several values joined by a backslash.

    It is empty where the value is absent, unreadable or no text: a damaged one is no reason to refuse an image. Spaces
    around a value are not significant in any VR that is stored (PS3.5 6.2).
    """
    value = read(dataset, keyword)
    parts = value if isinstance(value, MultiValue | list) else [value]
    joined = "\\".join(str(part).replace("\0", "").strip() for part in parts if isinstance(part, TEXTS))
    return joined[:MAX_TEXT].encode(errors="replace").decode()  # what is no Unicode could be stored by nobody
