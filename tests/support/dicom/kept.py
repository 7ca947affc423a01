"""Instances that a node has indexed and kept."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian

from node.home import open_objects
from node.settings import Settings
from storage.database.database import Item
from tests.support.dicom.archive import instance
from tests.support.peers.pacs import numbered

KEEPING: dict[str, Any] = {"retain": "all"}


def images(count: int) -> list[Dataset]:
    """Images of one series of the study of `tests.support.peers.pacs`."""
    return [numbered(number) for number in range(count)]


def items(datasets: Iterable[Dataset]) -> list[Item]:
    """The same, as they are indexed."""
    return [
        instance(f"9.1.{dataset.SOPInstanceUID.rsplit('.', 1)[1]}", 0, SOPClassUID=dataset.SOPClassUID)
        for dataset in datasets
    ]


def keep(settings: Settings, datasets: Iterable[Dataset], syntax: UID = ExplicitVRLittleEndian) -> None:
    """Keep objects, as the node would after indexing them."""
    folder = settings.home / "sources"
    folder.mkdir(exist_ok=True)
    files: dict[str, Path] = {}
    for dataset in datasets:
        uid = str(dataset.SOPInstanceUID)
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        if syntax.is_encapsulated:  # as if it were compressed
            dataset.PixelData = encapsulate([dataset.PixelData])
        files[uid] = folder / uid
        dataset.save_as(
            files[uid],
            implicit_vr=syntax.is_implicit_VR,
            little_endian=syntax.is_little_endian,
            enforce_file_format=True,
        )
    open_objects(settings).keep(files)
