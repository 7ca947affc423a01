"""Codes of DICOM files, block by block: the frames of each file, encoded as the node does."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, Protocol

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from hashing.images.pixels import PixelError, network_inputs
from hashing.model.encoder import Encoder

BLOCK: Final = 16
"""Files that are encoded together."""
COLUMNS: Final = ("file", "sop_instance_uid", "frame", "modality", "code", "fault")


@dataclass(frozen=True, slots=True)
class FileCodes:
    """The codes of one file.

    Attributes
    ----------
    frames
        0-based numbers of the frames that were encoded.
    codes
        Code of each as hexadecimal digits, 16 for each word of 64 bits, the word of bit 0 first.
    fault
        Why there are none; "" if there are.
    """

    file: str
    sop_instance_uid: str = ""
    modality: str = ""
    frames: tuple[int, ...] = ()
    codes: tuple[str, ...] = ()
    fault: str = ""


class EncodesFiles(Protocol):
    """Encodes blocks of files, here or on other machines."""

    def encode_files(self, blocks: Iterable[Sequence[Path]], max_frames: int) -> Iterator[list[FileCodes]]:
        """Yield the codes of each block, in the order of the blocks."""
        ...


class LocalFileEncoder:
    """Encodes files in this process."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def encode_files(self, blocks: Iterable[Sequence[Path]], max_frames: int) -> Iterator[list[FileCodes]]:
        """Yield the codes of each block, as `EncodesFiles` says."""
        for block in blocks:
            yield [file_codes(self._encoder, path, max_frames) for path in block]


def file_codes(encoder: Encoder, path: Path, max_frames: int) -> FileCodes:
    """Codes of a file, of at most so many evenly spaced frames; a file that cannot be encoded has a fault.

    Raises
    ------
    OSError
        The file cannot be read: it is not there, or belongs to somebody else.
    """
    try:
        dataset = dcmread(path)
        frames, images = network_inputs(dataset, max_frames)
    except (InvalidDicomError, PixelError) as error:
        return FileCodes(str(path), fault=f"{type(error).__name__}: {error}")
    modality = str(dataset.get("Modality", ""))
    codes = encoder.encode(images, [modality] * len(images)).codes
    texts = tuple("".join(f"{int(word):016x}" for word in code) for code in codes)
    return FileCodes(str(path), str(dataset.get("SOPInstanceUID", "")), modality, frames, texts)


def blocks_of(folder: Path) -> Iterator[list[Path]]:
    """Yield the files of a folder and of those below it, in alphabetical order, some at a time."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    while block := list(islice(files, BLOCK)):
        yield block


def write_codes(results: Iterable[list[FileCodes]], out: Path, folder: Path) -> Iterator[tuple[int, int]]:
    """Write one line a frame, or a fault, of each file as CSV; the file gets its name once it is whole.

    Yields
    ------
    int, int
        Files done and faults among them, after each block.
    """
    part, done, faults = out.with_name(out.name + ".part"), 0, 0
    with part.open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(COLUMNS)
        for block in results:
            for one in block:
                lines.writerows(_lines(one, folder))
                done, faults = done + 1, faults + bool(one.fault)
            yield done, faults
    part.rename(out)


def _lines(one: FileCodes, folder: Path) -> Iterator[tuple[str, ...]]:
    name = str(Path(one.file).relative_to(folder))
    if one.fault:
        yield name, "", "", "", "", one.fault
    for frame, code in zip(one.frames, one.codes, strict=True):
        yield name, one.sop_instance_uid, str(frame), one.modality, code, ""
