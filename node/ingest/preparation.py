"""From a spooled file to what is encoded and kept; runs in decode workers that may be killed, without torch."""

import hashlib
import json
import os
import re
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import config as pydicom_config
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.filereader import read_file_meta_info
from pydicom.multival import MultiValue
from pydicom.uid import DeflatedExplicitVRLittleEndian
from pydicom.valuerep import PersonName

from hashing.images.attributes import read
from hashing.images.pixels import DEFAULT_LIMITS, Limits, PixelError, network_inputs
from node.dicom.hierarchy import ATTRIBUTES, UNIQUE
from storage.record import LEVELS, Level, Record, patient_key

UID_KEYWORDS = tuple(UNIQUE[level] for level in LEVELS[1:])
UID = re.compile(r"[0-9.]{1,64}")  # PS3.5 section 9.1
TEXTS = (str, int, float, PersonName)
MEMORY_LIMIT = "decoding takes more memory than decode_memory_bytes"
LONGEST_TEXT = 1024  # characters; no attribute we keep may have as many (PS3.5 table 6.2-1)
PREAMBLE_BYTES, GROUP_LENGTH_BYTES, LONGEST_META = 132, 12, 4096
INFLATED_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Prepared:
    """An instance ready to be encoded.

    Attributes
    ----------
    images : (len(record.frames), size, size) uint8
        The network's inputs.
    pixel_digest
        64 bits over them: equal for the same picture under other UIDs.
    """

    record: Record
    images: NDArray[np.uint8]
    pixel_digest: int


@dataclass(frozen=True, slots=True)
class Unusable:
    """Why an instance is set aside.

    Attributes
    ----------
    reason
        Short name to count by; `detail` says more. Neither holds patient data.
    uids
        As far as they could be read.
    """

    reason: str
    detail: str
    uids: Mapping[str, str]


def prepare(
    path: Path, received_ns: int, size: int, max_frames: int, limits: Limits = DEFAULT_LIMITS
) -> Prepared | Unusable:
    """Read, check and preprocess one received file."""
    uids: dict[str, str] = {}
    try:
        _check_inflated(path, limits.inflated_bytes)
        dataset = dcmread(path)
        uids = known_uids(dataset)
        return _prepare(dataset, received_ns, size, max_frames, limits)
    except PixelError as error:
        return Unusable(error.reason.replace(" ", "-"), str(error), uids)
    except UIDError as error:
        return Unusable(error.reason, str(error), uids)
    except RecursionError:
        return Unusable("too-deep", "sequences are nested deeper than any real object's", uids)
    except MemoryError:
        return Unusable("memory-limit", MEMORY_LIMIT, uids)
    except Exception as error:
        return Unusable("not-readable", f"{type(error).__name__} while reading the data set", uids)


class UIDError(ValueError):
    """A data set lacks a UID that says where it belongs, or gives several, or something else."""

    def __init__(self, reason: str, keywords: list[str], todo: str) -> None:
        super().__init__(f"{', '.join(keywords)} {reason.removeprefix('uid-')}: {todo}")
        self.reason = reason


def known_uids(dataset: Dataset) -> dict[str, str]:
    """SOP, Series and Study Instance UIDs, those that are there and are UIDs."""
    found = {keyword: _text(dataset, keyword) for keyword in UID_KEYWORDS}
    return {keyword: uid for keyword, uid in found.items() if UID.fullmatch(uid)}


def _check_uids(dataset: Dataset) -> None:
    absent = sorted({*UID_KEYWORDS} - known_uids(dataset).keys())
    missing = [keyword for keyword in absent if (text := _text(dataset, keyword)) == "" or "\\" in text]
    if missing:
        raise UIDError("uid-missing", missing, "the sender must give one")
    if absent:  # as a key it would be refused, cut, or mistaken for a path
        raise UIDError("uid-invalid", absent, "a UID has 1 to 64 digits and dots")


def _check_inflated(path: Path, most: int) -> None:
    """Refuse a deflated data set that grows beyond the limit, before anybody inflates it whole."""
    with path.open("rb") as file:
        if DeflatedExplicitVRLittleEndian.encode() not in file.read(LONGEST_META):
            return
        meta = read_file_meta_info(path)
        file.seek(PREAMBLE_BYTES + GROUP_LENGTH_BYTES + meta.FileMetaInformationGroupLength)
        inflater, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while piece := inflater.unconsumed_tail or file.read(INFLATED_AT_ONCE):
            size += len(inflater.decompress(piece, INFLATED_AT_ONCE))
            if size > most:
                raise PixelError("too large", f"it inflates to more than {most} bytes, the limit")


def _prepare(dataset: FileDataset, received_ns: int, size: int, max_frames: int, limits: Limits) -> Prepared:
    _check_uids(dataset)
    frames, images = network_inputs(dataset, max_frames, size, limits)
    record = _record(dataset, frames, images, received_ns)
    return Prepared(record, images, int.from_bytes(hashlib.sha256(images.tobytes()).digest()[:8], "little"))


def _record(dataset: FileDataset, frames: tuple[int, ...], images: NDArray[np.uint8], received_ns: int) -> Record:
    attributes = {
        level: {keyword: _text(dataset, keyword) for keyword in ATTRIBUTES[level] if keyword in dataset}
        for level in LEVELS
    }
    digest = _content_digest(attributes, images)
    source = _text(dataset.file_meta, "SourceApplicationEntityTitle")
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
    """Over what is kept, not over the bytes received: a lossless re-encoding is the same content."""
    text = json.dumps(attributes, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode() + images.tobytes()).digest()


def _text(dataset: Dataset, keyword: str) -> str:
    """Value as text, empty where it is absent, unreadable or no text: a damaged one is no reason to refuse an image."""
    value = read(dataset, keyword)
    parts = value if isinstance(value, MultiValue | list) else [value]
    text = "\\".join(str(part).replace("\0", "").strip() for part in parts if isinstance(part, TEXTS))
    return text[:LONGEST_TEXT].encode(errors="replace").decode()  # what is no Unicode could be stored by nobody


def start_worker(memory_bytes: int) -> None:
    """Limit this process: address space, and life bound to its parent's; real-world files must not fill the log."""
    import resource

    import SimpleITK as sitk

    from node.processes import die_with_parent

    die_with_parent(os.getppid())  # the server of forks, which has just made this process
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # decoders print a page for a damaged file, and could fill the disk of the log
        os.dup2(silence, stream)
    Path("/proc/self/oom_score_adj").write_text("1000")  # if memory is short, this is what may go first
    used = _address_space_bytes()
    resource.setrlimit(resource.RLIMIT_AS, (used + memory_bytes, used + memory_bytes))
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)  # type: ignore[no-untyped-call]
    warnings.simplefilter("ignore")
    pydicom_config.settings.reading_validation_mode = pydicom_config.IGNORE


def _address_space_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * 4096
