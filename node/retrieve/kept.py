"""The node as its own source: which kept objects a retrieval names, and their files in a wanted transfer syntax."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Final

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from node.dicom.hierarchy import UNIQUE, at_or_above, tag_of
from node.errors import Refusal, Status
from node.query import catalog
from node.query.matching import read_keys
from node.settings import Settings
from storage.database.database import Database
from storage.objects.object_store import ObjectStore
from storage.record import LEVELS, Level
from storage.vault import CLEAR, Vault

CONVERTIBLE: Final = frozenset({ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian})
"""Transfer syntaxes whose data sets are written anew in `NATIVE` ones without a change of the pixels."""
NATIVE: Final = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
META_START: Final = 132 + 12
"""Offset of the elements that File Meta Information Group Length counts (PS3.10 7.1), bytes."""
TOO_LARGE: Final = "too large to be converted: take it in the transfer syntax that it has"


@dataclass(frozen=True, slots=True)
class KeptInstance:
    """An indexed instance; `path` is its object, None if that is not kept, and `vault` opens it."""

    sop_instance_uid: str
    path: Path | None
    vault: Vault = CLEAR


class KeptObjects:
    """Finds kept objects of indexed instances: what is hidden or forgotten is not among them."""

    def __init__(self, settings: Settings, database: Database, objects: ObjectStore) -> None:
        self._settings, self._database, self._objects = settings, database, objects

    @property
    def are_served(self) -> bool:
        """True if the node is a source itself."""
        return self._settings.retain == "all"

    def serves(self, instances: Sequence[KeptInstance]) -> bool:
        """True if the node serves these itself; else the source PACS does, if one is set."""
        is_whole = bool(instances) and all(instance.path is not None for instance in instances)
        return self.are_served and (is_whole or not self._settings.source_peer)

    def instances(self, level: Level, unique_keys: Mapping[str, str], check: catalog.Check) -> list[KeptInstance]:
        r"""Instances below the entities that unique keys name.

        Parameters
        ----------
        unique_keys
            Values of the unique keys of the level and of those above, by keyword; several are joined by a backslash.
        """
        keys = read_keys(unique_keys)
        with self._database.snapshot() as snapshot:
            found = [
                uid
                for entity in catalog.find(snapshot, level, keys, check)
                for uid in catalog.descendants(snapshot, level, entity.uid, Level.IMAGE, check)
            ]
        kept = self._objects.kept(found)
        vault = self._objects.vault
        return [KeptInstance(uid, self._objects.file(uid) if uid in kept else None, vault) for uid in found]


def read_retrieval(identifier: Dataset, *, patient_root: bool) -> tuple[Level, dict[str, str]]:
    """Level of a retrieval, and its unique keys by keyword (PS3.4 C.4.2.2.1, C.4.3.2.1).

    Raises
    ------
    Refusal
        A900: the level is none of the model, its unique key has no value, or a key has a wild card.
    """
    levels = LEVELS if patient_root else LEVELS[1:]
    level = _text(identifier, "QueryRetrieveLevel")
    if level not in set(levels):
        comment = f"level must be one of {', '.join(levels)}"
        raise Refusal(Status.DATA_SET_MISMATCH, comment, tag_of("QueryRetrieveLevel"))
    texts = {UNIQUE[upper]: _text(identifier, UNIQUE[upper]) for upper in at_or_above(Level(level))}
    for keyword, text in texts.items():
        if {*"*?"} & {*text} or (keyword == UNIQUE[Level(level)] and not text):
            raise Refusal(Status.DATA_SET_MISMATCH, f"{keyword} must name what to retrieve", tag_of(keyword))
    return Level(level), {keyword: text for keyword, text in texts.items() if text}


def open_object(instance: KeptInstance, syntaxes: Collection[str], max_bytes: int) -> tuple[IO[bytes], UID, UID] | None:
    """A DICOM file of an object, its SOP class and its transfer syntax; None if it has none of those wanted.

    Parameters
    ----------
    instance
        One that is kept.
    syntaxes
        Transfer syntaxes that are wanted, the preferred first; none for whichever it has.
    max_bytes
        Size above which an object is not converted.

    Raises
    ------
    Refusal
        A700: it is too large to be converted.
    OSError
        The file cannot be read.
    """
    assert instance.path is not None, "it is kept"
    with instance.vault.open(instance.path) as file:
        meta = dcmread(file, specific_tags=[], stop_before_pixels=True).file_meta
    sop_class, syntax = UID(meta.MediaStorageSOPClassUID), UID(meta.TransferSyntaxUID)
    if not syntaxes or syntax in syntaxes:
        return instance.vault.open(instance.path), sop_class, syntax
    target = next((one for one in syntaxes if one in NATIVE), None)
    if target is None or syntax not in CONVERTIBLE:
        return None
    if instance.path.stat().st_size > max_bytes:
        raise Refusal(Status.OUT_OF_RESOURCES, TOO_LARGE)
    with instance.vault.open(instance.path) as file:
        return _converted(file, UID(target)), sop_class, UID(target)


def data_set_of(file: IO[bytes]) -> int:
    """Go to the first byte of the data set of a DICOM file; return its length in bytes."""
    file.seek(0)
    start = META_START + int(dcmread(file, specific_tags=[], stop_before_pixels=True).file_meta[0x00020000].value)
    size = file.seek(0, 2) - start
    file.seek(start)
    return size


def _converted(original: IO[bytes], syntax: UID) -> BytesIO:
    dataset, file = dcmread(original), BytesIO()
    dataset.file_meta.TransferSyntaxUID = syntax
    dcmwrite(file, dataset, implicit_vr=syntax.is_implicit_VR, little_endian=True, enforce_file_format=True)
    file.seek(0)
    return file


def _text(identifier: Dataset, keyword: str) -> str:
    try:
        value = identifier.get(keyword) or ""
    except Exception as error:  # whatever the reader of a value representation raises
        raise Refusal(Status.DATA_SET_MISMATCH, "the value of this key cannot be read", tag_of(keyword)) from error
    return str(value).strip() if isinstance(value, str) else "\\".join(str(part).strip() for part in value)
