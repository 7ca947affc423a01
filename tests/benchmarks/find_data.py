"""Studies for the benchmark of C-FIND: the same for us, as rows, and for the peers, as files."""

import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from node.dicom.client import Peer
from storage.database.database import Database
from tests.support.dicom.archive import CT, instance, uid
from tests.support.running import program

SIX_KEYS = dict.fromkeys(
    ["PatientID", "PatientName", "StudyInstanceUID", "StudyDate", "AccessionNumber", "StudyDescription"], ""
)
"""Keys of a usual query."""
FAMILIES, DAYS = 97, 400
"""Numbers of different family names and Study Dates."""


@dataclass(frozen=True, slots=True)
class Study:
    """One study of one image."""

    number: int

    @property
    def family(self) -> str:
        """Family name, shared with every 97th study."""
        return f"Name{self.number % FAMILIES:02}"

    @property
    def date(self) -> str:
        """Study Date, shared with every 400th study."""
        return f"{date(2020, 1, 1) + timedelta(self.number % DAYS):%Y%m%d}"

    @property
    def attributes(self) -> dict[str, str]:
        """Values by keyword."""
        return {
            "PatientID": f"P{self.number:06}",
            "PatientName": f"{self.family}^Given{self.number:05}",
            "StudyInstanceUID": uid(f"{self.number + 1}"),
            "SeriesInstanceUID": uid(f"{self.number + 1}.1"),
            "SOPInstanceUID": uid(f"{self.number + 1}.1.1"),
            "SOPClassUID": CT,
            "StudyDate": self.date,
            "AccessionNumber": f"A{self.number:06}",
            "StudyDescription": f"Study number {self.number}",
            "Modality": "NM" if self.number % 100 == 0 else ("CT", "MR", "CR")[self.number % 3],
        }


def stored(database: Database, studies: Sequence[Study]) -> None:
    """Append the studies to a database of ours."""
    code = np.zeros((1, database.header.layout.words), np.uint64)
    items = [instance(f"{study.number + 1}.1.1", 0, attributes=study.attributes) for study in studies]
    database.append([replace(item, codes=code) for item in items])


def sent(peer: Peer, folder: Path, studies: Iterable[Study]) -> None:
    """Send the studies to a peer."""
    folder.mkdir()
    for study in studies:
        data_set = Dataset()
        for keyword, value in study.attributes.items():
            setattr(data_set, keyword, value)
        data_set.file_meta = FileMetaDataset()
        data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data_set.save_as(folder / f"{study.number}.dcm", enforce_file_format=True)
    command = [program("dcmsend"), "-q", "-nuc", "-aec", peer.ae_title, peer.host, str(peer.port), "+sd", str(folder)]
    subprocess.run(command, env={"TCP_NODELAY": "1"}, check=True)
