"""A segment: the multi-index of consecutive rows as a file, written once, mapped by every process, checked before use.

It holds nothing that the database does not. Whatever happens to a file, its rows can be scanned, and it can be built
again.
"""

import json
import mmap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from struct import Struct
from typing import Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from storage.database.tables import SegmentEntry
from storage.durable import write_durably
from storage.errors import SegmentError
from storage.segments.costs import Costs, predicted_distance
from storage.segments.layout import NUMBER_BYTES, Blocks, SegmentLayout, padding
from storage.segments.probe import NO_ADDRESSES, Buckets, ProbeQuery, probe
from storage.segments.substrings import Partition, gather, lookup
from storage.segments.top_k import new_results, new_top_k

FORMAT: Final = 3
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
    layout
        Where the sections of the file lie.
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
        self.layout = self._described(code_length)
        offsets, inline = self.layout.offsets, self.layout.inline
        self.costs = Costs(tuple(self.layout.partition.widths.tolist()), entry.rows, inline)
        self._bytes = np.frombuffer(self._memory, np.uint8, offsets[-1])
        self._numbers = self._bytes.view(np.uint32)
        self.sample = self._bytes.view(np.uint64)[: self.layout.sampled * self.layout.words].reshape(
            self.layout.words, -1
        )
        sections = np.array(offsets[1:-1]).reshape(-1, 2 + inline).T
        base = self._bytes.__array_interface__["data"][0]
        self._substrings = np.stack([*(sections[:2] // NUMBER_BYTES), self.layout.partition.widths])
        self._codes = (sections[2] + base).astype(np.uint64) if inline else NO_ADDRESSES
        self._masks = (self.layout.partition.reordered if inline else self.layout.partition).masks
        order = [self.layout.partition.order] if inline else []
        self._tables = np.stack(
            [lookup(bits, self.layout.words) for bits in (*self.layout.partition.substrings, *order)]
        )

    def buckets(self, blocks: NDArray[np.uint64], shift: int) -> Buckets:
        """As the search kernel takes them.

        Parameters
        ----------
        blocks : (blocks,)
            Addresses of the blocks of the database that hold the codes, 2**shift each; not needed when inline.
        """
        return Buckets(self._numbers, self._substrings, self._codes, blocks, shift, self._masks)

    def probe_query(self, query: NDArray[np.uint64]) -> ProbeQuery:
        """Prepare one query, (words,)."""
        gathered = gather(self._tables, query)
        substrings = len(self.layout.partition.substrings)
        return ProbeQuery(
            gathered[substrings:] if self.layout.inline else query, gathered[:substrings], self.entry.first_row
        )

    def check(self) -> bool:
        """Read the whole file and compare its checksum; return, and set, `trusted`."""
        checksum = 0
        for start in range(0, self._bytes.size, SLICE):
            checksum = crc32(memoryview(self._bytes[start : start + SLICE]), checksum)  # type: ignore[arg-type]
        self.trusted = checksum == self.entry.checksum
        return self.trusted

    def compile(self) -> None:
        """Make the search kernels ready, so that no question waits for the compiler."""
        query, top_k = np.zeros(self.layout.words, np.uint64), new_top_k(1, 0, self.layout.partition.code_length)
        buckets, work = self.buckets(NO_ADDRESSES, 0), np.zeros(2, np.int64)
        probe(buckets, self.probe_query(query), top_k, new_results(1), work, 0, 0, 0)
        predicted_distance(self.sample, query, 1.0)

    def differences(self, blocks: Blocks) -> Iterator[str]:
        """Compute every section again from the codes, and yield a sentence for each that differs from the file."""
        offsets = self.layout.offsets
        for number, section in enumerate(self.layout.sections(blocks)):
            stored = self._bytes[offsets[number] :][: section.nbytes]
            if not np.array_equal(section.reshape(-1).view(np.uint8), stored):
                yield f"segment {self.entry.name}: section {number} does not follow from the codes"

    def _map(self) -> mmap.mmap:
        try:
            with self.path.open("rb") as file:
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError as error:
            raise SegmentError(self.path, "it is missing") from error
        except (OSError, ValueError) as error:  # ValueError: it is empty
            raise SegmentError(self.path, str(error)) from error

    def _described(self, code_length: int) -> SegmentLayout:
        """Read the layout from the end of the file, and refuse a file that is damaged or of another state."""
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
        layout = SegmentLayout(self.entry.rows, fields["sampled"], partition, fields["inline"])
        known = [self.entry.name, self.entry.first_row, self.entry.rows, self.entry.checksum]
        if fields["entry"] != known or layout.offsets[-1] + size + TRAILER.size != len(self._memory):
            raise SegmentError(self.path, "it is of another state of the database")
        return layout


def segment_path(folder: Path, name: str) -> Path:
    """Path of the file of a segment, by the name in its entry."""
    return folder / f"{name}{SUFFIX}"


def write_segment(
    folder: Path,
    name: str,
    first_row: int,
    layout: SegmentLayout,
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
        """Yield the bytes of the file, and add to the checksum."""
        nonlocal checksum
        for section in layout.sections(blocks):
            data: memoryview = memoryview(section.reshape(-1).view(np.uint8))  # type: ignore[arg-type]
            slices = [data[start : start + SLICE] for start in range(0, len(data), SLICE)]
            for part in (*slices, memoryview(bytes(padding(len(data))))):
                checksum = crc32(part, checksum)
                yield part
                report(len(part))
        entries.append(SegmentEntry(name, first_row, layout.rows, checksum))
        yield from _description(entries[0], layout)

    write_durably(chunks(), folder / f"{name}.part", path)
    return entries[0]


def _description(entry: SegmentEntry, layout: SegmentLayout) -> Sequence[bytes]:
    """Return the last bytes of the file: the layout as JSON, and the trailer."""
    fields = {
        "format": FORMAT,
        "entry": [entry.name, entry.first_row, entry.rows, entry.checksum],
        "substrings": layout.partition.substrings,
        "sampled": layout.sampled,
        "inline": layout.inline,
    }
    described = json.dumps(fields).encode()
    return described, TRAILER.pack(MAGIC, len(described), crc32(described))
