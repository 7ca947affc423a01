"""Work lists from outside: a CSV of Study Instance UIDs, or a DICOM Inventory object (PS3.3 A.88, Supplement 223)."""

import csv
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from pydicom import dcmread

from node.errors import SettingsError
from node.pull.search.responses import UID, text
from storage.durable import write_durably

HEADINGS: Final = frozenset({"studyinstanceuid", "studyuid", "uid"})
INVENTORY: Final = "1.2.840.10008.5.1.4.1.1.201.1"
"""SOP class of Inventory Storage."""


def take_work_list(source: Path, target: Path) -> int:
    """Copy a work list, as one UID a line, and return how many studies it names; the original may then go.

    Raises
    ------
    SettingsError
        The file names no study, or has a line that does not.
    OSError
        It cannot be read, or the copy cannot be written.
    """
    try:
        uids = list(dict.fromkeys(_inventoried(source) if _is_dicom(source) else _listed(source)))
    except SettingsError:
        raise
    except Exception as error:  # reading arbitrary bytes as DICOM raises anything, an OSError of no system call, too
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise SettingsError(f"{source} cannot be read: {type(error).__name__}") from error
    if not uids:
        raise SettingsError(f"{source} names no study")
    write_durably((f"{uid}\n".encode("ascii") for uid in uids), target.with_suffix(".tmp"), target)
    return len(uids)


def work_list_uids(path: Path, offset: int, limit: int) -> tuple[list[str], int]:
    """Return some Study Instance UIDs of a copied work list from a byte on, and the byte after them."""
    with path.open("rb") as file:
        file.seek(offset)
        lines = list(islice(file, limit))
    return [line.decode("ascii").strip() for line in lines], offset + sum(map(len, lines))


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _inventoried(path: Path) -> Iterator[str]:
    """Yield the studies of an Inventory object: Inventoried Studies Sequence (0008,0423)."""
    dataset = dcmread(path)
    if dataset.get("SOPClassUID") != INVENTORY:
        raise SettingsError(f"{path} is no Inventory object: its SOP class is {text(dataset, 'SOPClassUID')}")
    for number, item in enumerate(dataset.get("InventoriedStudiesSequence") or [], 1):
        uid = text(item, "StudyInstanceUID")
        if not UID.fullmatch(uid):
            raise SettingsError(f"{path}: item {number} of the studies has no Study Instance UID")
        yield uid


def _listed(path: Path) -> Iterator[str]:
    """Yield the studies of a CSV: the column named StudyInstanceUID, or else the first one."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        column = 0
        for number, row in enumerate(csv.reader(file), 1):
            headings = [re.sub(r"[^a-z]", "", cell.lower()) for cell in row]
            named = [place for place, heading in enumerate(headings) if heading in HEADINGS]
            if number == 1 and named:
                column = named[0]
            elif row and any(row):
                uid = row[column].strip() if column < len(row) else ""
                if not UID.fullmatch(uid):
                    raise SettingsError(f"{path}, line {number}: no Study Instance UID in column {column + 1}")
                yield uid
