"""One damaged frame is no reason to refuse the others."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.encaps import generate_frames
from pydicom.uid import UID, JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless, RLELossless

from node.ingest.outcome import Prepared, Unusable
from node.ingest.preparation import prepare
from tests.support.hashing.images import encapsulated, image, jpeg, scene

SIZE = 32
UIDS = {"SOPInstanceUID": "2.25.1.1.1", "SeriesInstanceUID": "2.25.1.1", "StudyInstanceUID": "2.25.1"}
FRAMES = [(np.roll(scene(64, 64, 256), 9 * number, 1) % 256).astype(np.uint8) for number in range(6)]


def frames_encoded(syntax: UID) -> list[bytes]:
    if syntax == JPEGBaseline8Bit:
        return [jpeg(frame) for frame in FRAMES]
    dataset = image(np.stack(FRAMES))
    dataset.compress(syntax, encoding_plugin="")
    return list(generate_frames(dataset.PixelData, number_of_frames=len(FRAMES)))


@pytest.mark.parametrize("bad", [{0}, {3}, {5}, {0, 1, 2, 4}, {1, 2, 3, 4, 5}])
@pytest.mark.parametrize("damage", ["zeros", "ones", "cut"])
@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEG2000Lossless, JPEGLSLossless, RLELossless])
def test_the_good_frames_of_an_object_are_shown(tmp_path: Path, syntax: UID, damage: str, bad: set[int]) -> None:
    frames = frames_encoded(syntax)
    whole = prepare(written_frames(frames, tmp_path, syntax), 5, SIZE, 8)
    damages: dict[str, Callable[[bytes], bytes]] = {
        "zeros": lambda _: bytes(500),
        "ones": lambda _: b"\xff" * 500,
        "cut": lambda frame: frame[:15],
    }
    frames = [damages[damage](frame) if number in bad else frame for number, frame in enumerate(frames)]

    outcome = prepare(written_frames(frames, tmp_path, syntax), 5, SIZE, 8)

    good = tuple(number for number in range(6) if number not in bad)
    assert isinstance(outcome, Prepared)
    assert isinstance(whole, Prepared)
    assert outcome.record.frames == good
    assert (outcome.images == whole.images[list(good)]).all()


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, RLELossless])
def test_an_object_without_a_good_frame_is_undecodable(tmp_path: Path, syntax: UID) -> None:
    outcome = prepare(written_frames([bytes(500)] * 6, tmp_path, syntax), 5, SIZE, 8)

    assert isinstance(outcome, Unusable)
    assert outcome.reason == "undecodable"


@pytest.mark.parametrize("present", [1, 3])
@pytest.mark.parametrize("compressed", [False, True])
def test_frames_that_are_announced_and_not_there_are_left_out(tmp_path: Path, compressed: bool, present: int) -> None:
    path = tmp_path / "frames.dcm"
    if compressed:
        path = written_frames(frames_encoded(JPEGLSLossless)[:present], tmp_path, JPEGLSLossless)
    else:
        pixels = np.stack([*FRAMES[:present]])
        dataset = image(pixels.reshape(present, 64, 64), **UIDS, NumberOfFrames="6")
        dataset.save_as(path, enforce_file_format=True)

    outcome = prepare(path, 5, SIZE, 8)

    assert isinstance(outcome, Prepared)
    assert outcome.record.frames == tuple(range(present))


@pytest.mark.parametrize("offsets", [[0] * 6, [0xFFFFFF00] * 6, [0, 10, 20, 30, 40, 50], [0], [7] * 9])
def test_an_offset_table_that_lies_hides_no_frame(tmp_path: Path, offsets: list[int]) -> None:
    frames = [jpeg(frame) for frame in FRAMES]
    path = written_frames(frames, tmp_path, JPEGBaseline8Bit)
    good = prepare(path, 5, SIZE, 8)
    dataset = image(FRAMES[0], **UIDS, Modality="US", NumberOfFrames="6")
    encapsulated(dataset, frames, JPEGBaseline8Bit)
    table = struct.pack(f"<2HL{len(offsets)}L", 0xFFFE, 0xE000, 4 * len(offsets), *offsets)
    dataset.PixelData = table + dataset.PixelData[8 + 4 * 6 :]
    dataset.save_as(path, enforce_file_format=True)

    outcome = prepare(path, 5, SIZE, 8)

    assert isinstance(outcome, Prepared)
    assert isinstance(good, Prepared)
    assert outcome.record.frames == tuple(range(6))
    assert (outcome.images == good.images).all()


def test_decoders_that_lack_memory_do_not_make_a_frame_damaged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("pydicom.pixels.decoders.base.Decoder.as_array", exhausted)

    outcome = prepare(written_frames([jpeg(frame) for frame in FRAMES], tmp_path, JPEGBaseline8Bit), 5, SIZE, 8)

    assert isinstance(outcome, Unusable)
    assert outcome.reason == "memory-limit"


def written_frames(frames: list[bytes], folder: Path, syntax: UID) -> Path:
    path = folder / "frames.dcm"
    dataset = image(FRAMES[0], **UIDS, Modality="US", NumberOfFrames="6")
    encapsulated(dataset, frames, syntax).save_as(path, enforce_file_format=True)
    return path
