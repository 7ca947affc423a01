"""Files of one segment."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hashing.codes import Codes
from storage.database.tables import SegmentEntry
from storage.errors import SegmentError
from storage.segments import segment_file
from storage.segments.layout import Blocks, layout_for
from storage.segments.segment_file import TRAILER, Segment, segment_path, write_segment
from tests.support.storage.invented import codes


def blocks_of(stored: Codes, size: int = 64) -> Blocks:
    return lambda: (np.ascontiguousarray(stored[i : i + size].T) for i in range(0, len(stored), size))


def write(
    folder: Path, stored: Codes, code_length: int = 64, first_row: int = 0, *, inline: bool = True
) -> SegmentEntry:
    blocks = blocks_of(stored)
    layout = layout_for(blocks, len(stored), code_length, inline=inline)
    return write_segment(folder, "name", first_row, layout, blocks)


@contextmanager
def written(stored: Codes, code_length: int, first_row: int = 0, *, inline: bool = True) -> Iterator[Segment]:
    with tempfile.TemporaryDirectory() as folder:
        entry = write(Path(folder), stored, code_length, first_row, inline=inline)
        yield Segment(Path(folder), entry, code_length)


@given(
    st.sampled_from([16, 48, 64, 128, 256]),
    st.integers(1, 300),
    st.booleans(),
    st.integers(0, 99),
)
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_a_segment_is_what_follows_from_the_codes(code_length: int, n: int, inline: bool, seed: int) -> None:
    stored = codes(n, code_length, seed)

    with written(stored, code_length, inline=inline and code_length <= 64) as segment:
        assert [segment.trusted, segment.check(), segment.trusted] == [False, True, True]
        assert list(segment.differences(blocks_of(stored, 77))) == []
        other = stored.copy()
        other[n // 2, 0] ^= np.uint64(1)
        assert list(segment.differences(blocks_of(other)))


@pytest.mark.parametrize(("inline", "most"), [(True, 36), (False, 12)])
def test_a_code_takes_so_many_bytes_beside_the_bounds_of_buckets(tmp_path: Path, inline: bool, most: int) -> None:
    n = 1 << 18
    entry = write(tmp_path, codes(n), inline=inline)
    segment = Segment(tmp_path, entry, 64)

    widths = segment.layout.partition.widths
    bounds, sample = int((4 * 2**widths).sum()), 8 * (1 << 12)
    assert segment_path(tmp_path, entry.name).stat().st_size <= n * most * len(widths) / 3 + bounds + sample + 4096


def overwritten(place: int) -> Callable[[bytes], bytes]:
    return lambda octets: octets[:place] + bytes([octets[place] ^ 1]) + octets[place + 1 :]


def test_a_changed_byte_among_the_buckets_is_found_by_the_check(tmp_path: Path) -> None:
    entry = write(tmp_path, codes(300))
    path = segment_path(tmp_path, entry.name)
    path.write_bytes(overwritten(5000)(path.read_bytes()))

    segment = Segment(tmp_path, entry, 64)

    assert not segment.check()
    assert not segment.trusted


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda octets: b"", "empty"),
        (lambda octets: octets[:8], "cut short"),
        (lambda octets: octets[:-8], "damaged"),
        (lambda octets: octets[16:], "another state"),
        (lambda octets: octets + b" ", "damaged"),
        (lambda octets: overwritten(len(octets) - TRAILER.size - 5)(octets), "damaged"),
    ],
)
def test_a_file_that_is_not_whole_is_refused_at_once(
    tmp_path: Path, damage: Callable[[bytes], bytes], reason: str
) -> None:
    entry = write(tmp_path, codes(300))
    path = segment_path(tmp_path, entry.name)
    path.write_bytes(damage(path.read_bytes()))

    with pytest.raises(SegmentError, match=reason) as caught:
        Segment(tmp_path, entry, 64)

    assert caught.value.path == path


def test_a_file_of_an_earlier_format_is_refused_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment_file, "FORMAT", 2)
    entry = write(tmp_path, codes(300))
    monkeypatch.undo()

    with pytest.raises(SegmentError, match="not of format 3"):
        Segment(tmp_path, entry, 64)


def test_a_missing_file_and_one_of_another_state_are_refused(tmp_path: Path) -> None:
    entry = write(tmp_path, codes(300))

    with pytest.raises(SegmentError, match="another state"):
        Segment(tmp_path, SegmentEntry(entry.name, 16, entry.rows, entry.checksum), 64)
    segment_path(tmp_path, entry.name).unlink()
    with pytest.raises(SegmentError, match="missing"):
        Segment(tmp_path, entry, 64)


def test_a_file_that_could_not_be_finished_leaves_nothing(tmp_path: Path) -> None:
    blocks = blocks_of(codes(300))
    layout = layout_for(blocks, 300, 64, inline=True)

    def fail(_octets: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="space"):
        write_segment(tmp_path, "name", 0, layout, blocks, fail)

    assert list(tmp_path.iterdir()) == []
