"""A segment: the multi-index of consecutive rows as a file, written once, mapped by every process, checked before use.

It holds nothing that the database does not. Whatever happens to a file, its rows can be scanned, and it can be built
again.
"""

import json
import mmap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from struct import Struct
from typing import Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes
from storage.database.tables import SegmentEntry
from storage.durable import write_durably
from storage.errors import SegmentError
from storage.segments.costs import Costs, predicted_distance
from storage.segments.layout import NUMBER_BYTES, WORD_BYTES, Blocks, Design, padding
from storage.segments.probe import NO_ADDRESSES, Buckets, Question, probe
from storage.segments.substrings import Partition, gather, lookup
from storage.segments.top_k import Findings, look_at_all

FORMAT: Final = 2
MAGIC: Final = b"MULTIIDX"
TRAILER: Final = Struct("<8sII")
"""Ends the file: MAGIC, bytes of the description before it, and their CRC-32."""
SUFFIX: Final = ".segment"
SLICE: Final = 1 << 24
"""Bytes written or checked at a time."""


class Segment:
    """An open segment file.

    Attributes
    ----------
    entry
        The rows that the segment holds, as the database names them.
    design
        How the file is laid out.
    sample : (words, sampled) uint64
        Codes of rows drawn evenly, from which distances are predicted.
    costs
        Predicted costs of searching the segment.
    trusted
        True once `check` has found the checksum to be right; before that the segment must not be searched.

    Raises
    ------
    SegmentError
        The file is missing or damaged, or of another state of the database.
    """

    def __init__(self, folder: Path, entry: SegmentEntry, code_length: int) -> None:
        self.entry, self.trusted, self.path = entry, False, segment_path(folder, entry.name)
        self._memory = self._map()
        self.design = self._described(code_length)
        starts, inline = self.design.starts, self.design.inline
        self.costs = Costs(tuple(self.design.partition.widths.tolist()), entry.rows, inline)
        self._octets = np.frombuffer(self._memory, np.uint8, starts[-1])
        self._lines, self._numbers = self._octets.view(np.uint64), self._octets.view(np.uint32)
        self._beyond = self._numbers[starts[-2] // NUMBER_BYTES :][: self.design.beyond]
        self.sample = self._lines[: self.design.sampled * self.design.words].reshape(self.design.words, -1)
        places = np.array(starts[1:-2]).reshape(-1, 2 + inline).T
        base = self._octets.__array_interface__["data"][0]
        self._places = np.stack([places[0] // WORD_BYTES, places[1] // NUMBER_BYTES, self.design.partition.widths])
        self._codes = (places[2] + base).astype(np.uint64) if inline else NO_ADDRESSES
        self._masks = _contiguous(self.design.partition) if inline else self.design.partition.masks
        order = [self.design.partition.order] if inline else []
        self._tables = np.stack(
            [lookup(bits, self.design.words) for bits in (*self.design.partition.substrings, *order)]
        )

    def buckets(self, blocks: NDArray[np.uint64], shift: int) -> Buckets:
        """As the search kernel takes them.

        Parameters
        ----------
        blocks : (blocks,)
            Addresses of the blocks of the database that hold the codes, 2**shift each; not needed when inline.
        """
        where = self._lines, self._numbers, self._beyond, self._places, self._codes
        return Buckets(*where, blocks, shift, self._masks)

    def question(self, query: NDArray[np.uint64]) -> Question:
        """Ask for one code, (words,)."""
        gathered = gather(self._tables, query)
        substrings = len(self.design.partition.substrings)
        return Question(
            gathered[substrings:] if self.design.inline else query, gathered[:substrings], self.entry.first_row
        )

    def check(self, report: Callable[[int], object] = lambda _: None) -> bool:
        """Read the whole file and compare its checksum; return, and set, `trusted`.

        Parameters
        ----------
        report
            Called with the number of bytes of each step.
        """
        checksum = 0
        for start in range(0, self._octets.size, SLICE):
            part = self._octets[start : start + SLICE]
            checksum = crc32(memoryview(part), checksum)  # type: ignore[arg-type]
            report(part.size)
        self.trusted = checksum == self.entry.checksum
        return self.trusted

    def compile(self) -> None:
        """Make the search kernels ready, so that no question waits for the compiler."""
        counts = np.zeros(self.design.partition.code_length + 1, np.int64)
        findings = Findings(1, np.zeros(5, np.int64), counts, np.zeros(1, np.int64), np.zeros(1, np.uint16))
        query, no_rows = np.zeros(self.design.words, np.uint64), np.empty(0, np.int64)
        probe(self.buckets(NO_ADDRESSES, 0), self.question(query), findings, 0, 0, 0)
        look_at_all(NO_ADDRESSES, no_rows, no_rows, query, findings)
        predicted_distance(self.sample, query, 1.0)

    def differences(self, blocks: Blocks) -> Iterator[str]:
        """Compute every section again from the codes, and yield a sentence for each that differs from the file."""
        starts = self.design.starts
        for number, section in enumerate(self.design.sections(blocks)):
            kept = self._octets[starts[number] :][: section.nbytes]
            if not np.array_equal(section.reshape(-1).view(np.uint8), kept):
                yield f"segment {self.entry.name}: section {number} does not follow from the codes"

    def _map(self) -> mmap.mmap:
        try:
            with self.path.open("rb") as file:
                memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError as error:
            raise SegmentError(self.path, "it is missing") from error
        except (OSError, ValueError) as error:  # ValueError: it is empty
            raise SegmentError(self.path, str(error)) from error
        try:
            memory.madvise(mmap.MADV_HUGEPAGE)  # buckets are read at random: fewer pages, fewer walks of their tables
        except OSError:  # a kernel without them: slower, not wrong
            return memory
        return memory

    def _described(self, code_length: int) -> Design:
        if len(self._memory) < TRAILER.size:
            raise SegmentError(self.path, "it was cut short")
        magic, size, checksum = TRAILER.unpack(self._memory[-TRAILER.size :])
        described = self._memory[-TRAILER.size - size : -TRAILER.size] if magic == MAGIC else b""
        if magic != MAGIC or crc32(described) != checksum:
            raise SegmentError(self.path, "its end is damaged")
        fields = json.loads(described)
        if fields.pop("format") != FORMAT:
            raise SegmentError(self.path, f"it is not of format {FORMAT}")
        partition = Partition(code_length, tuple(map(tuple, fields["substrings"])))
        design = Design(self.entry.rows, fields["sampled"], partition, fields["inline"], fields["beyond"])
        known = [self.entry.name, self.entry.first_row, self.entry.rows, self.entry.checksum]
        if fields["entry"] != known or design.starts[-1] + size + TRAILER.size != len(self._memory):
            raise SegmentError(self.path, "it is of another state of the database")
        return design


def segment_path(folder: Path, name: str) -> Path:
    """Path of the file of a segment, by the name in its entry."""
    return folder / f"{name}{SUFFIX}"


def write_segment(
    folder: Path,
    name: str,
    first_row: int,
    design: Design,
    blocks: Blocks,
    report: Callable[[int], object] = lambda _: None,
) -> SegmentEntry:
    """Write the file of a segment, whole and durable when this returns.

    Parameters
    ----------
    name
        Name of the new file, without its suffix.
    first_row
        Row of the database that is the segment's first.
    report
        Called with the number of bytes of each step.
    """
    path, checksum = segment_path(folder, name), 0
    entries: list[SegmentEntry] = []

    def chunks() -> Iterator[bytes | memoryview]:
        nonlocal checksum
        for section in design.sections(blocks):
            octets: memoryview = memoryview(section.reshape(-1).view(np.uint8))  # type: ignore[arg-type]
            slices = [octets[start : start + SLICE] for start in range(0, len(octets), SLICE)]
            for part in (*slices, memoryview(bytes(padding(len(octets))))):
                checksum = crc32(part, checksum)
                yield part
                report(len(part))
        entries.append(SegmentEntry(name, first_row, design.rows, checksum))
        yield from _description(entries[0], replace(design, beyond=section.size))

    write_durably(chunks(), folder / f"{name}.part", path)
    return entries[0]


def _description(entry: SegmentEntry, design: Design) -> Sequence[bytes]:
    fields = {
        "format": FORMAT,
        "entry": [entry.name, entry.first_row, entry.rows, entry.checksum],
        "substrings": design.partition.substrings,
        "sampled": design.sampled,
        "inline": design.inline,
        "beyond": design.beyond,
    }
    described = json.dumps(fields).encode()
    return described, TRAILER.pack(MAGIC, len(described), crc32(described))


def _contiguous(partition: Partition) -> Codes:
    """(substrings, 1) masks of the substrings in a code whose bits were put in their order."""
    ends = np.cumsum(partition.widths)
    return np.array(
        [
            [(1 << end) - (1 << end - width)]
            for end, width in zip(ends.tolist(), partition.widths.tolist(), strict=True)
        ],
        np.uint64,
    )
