import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from hashing.images.frames import Limits, quiet, sampled_frames, stored_frame
from hashing.images.pixel_error import PixelError
from tests.support.hashing.images import image, scene


@pytest.mark.parametrize(
    ("count", "most", "expected"),
    [(1, 8, [0]), (3, 8, [0, 1, 2]), (75, 5, [0, 19, 37, 56, 74]), (75, 1, [37]), (4, 3, [0, 2, 3]), (None, 8, [0])],
)
def test_sampled_frames_are_evenly_spaced_from_the_first_to_the_last(
    count: int | None, most: int, expected: list[int]
) -> None:
    dataset = Dataset()
    if count is not None:
        dataset.NumberOfFrames = count

    assert sampled_frames(dataset, most) == expected


@given(count=st.integers(1, 3000), most=st.integers(2, 40))
def test_a_sample_of_frames_has_no_gap_wider_than_even_spacing_needs(count: int, most: int) -> None:
    dataset = Dataset()
    dataset.NumberOfFrames = count

    frames = sampled_frames(dataset, most)

    assert len(frames) == min(count, most)
    assert frames[0] == 0
    assert frames[-1] == count - 1
    gaps = np.diff(frames)
    assert gaps.size == 0 or (gaps.min() >= 1 and np.ptp(gaps) <= 1)


def test_only_the_wanted_frame_is_decoded() -> None:
    pixels = np.stack([np.full((4, 6), k, np.uint8) for k in range(5)])

    stored = stored_frame(image(pixels), frame=3)

    assert stored.pixels.shape == (4, 6)
    assert (stored.pixels == 3).all()


@pytest.mark.parametrize("frame", [-1, 5])
def test_a_frame_that_is_not_there_is_refused(frame: int) -> None:
    with pytest.raises(PixelError) as caught:
        stored_frame(image(np.zeros((5, 4, 6), np.uint8)), frame)

    assert caught.value.reason == "no such frame"


def test_a_report_has_no_pixel_data() -> None:
    with pytest.raises(PixelError) as caught:
        stored_frame(Dataset())

    assert caught.value.reason == "no pixel data"


@pytest.mark.parametrize("limits", [Limits(pixels=99), Limits(frames=2)])
def test_more_than_the_limit_is_refused_before_decoding(limits: Limits) -> None:
    with pytest.raises(PixelError) as caught:
        stored_frame(image(np.zeros((3, 10, 10), np.uint8)), limits=limits)

    assert caught.value.reason == "too large"


def test_announced_pixels_that_are_not_there_are_no_reason_to_take_memory() -> None:
    dataset = image(np.zeros((10, 10), np.uint8), Rows=9999, Columns=9999)

    with pytest.raises(PixelError) as caught:
        stored_frame(dataset)

    assert caught.value.reason == "undecodable"


@pytest.mark.parametrize("uid", [JPEG2000Lossless, JPEGLSLossless])
def test_a_compressed_frame_of_another_size_than_announced_is_refused(uid: str) -> None:
    dataset = image(scene(64, 48, 256).astype(np.uint8))
    dataset.compress(uid)
    dataset.Rows = 32

    with pytest.raises(PixelError, match=r"\(64, 48\) pixels announced") as caught:
        stored_frame(dataset)

    assert caught.value.reason == "undecodable"


@pytest.mark.parametrize("uid", [JPEG2000Lossless, JPEGLSLossless, RLELossless])
def test_broken_compressed_data_is_undecodable_and_makes_no_noise(uid: str, caplog: pytest.LogCaptureFixture) -> None:
    dataset = image(scene(64, 48, 256).astype(np.uint8))
    dataset.compress(uid)
    dataset.PixelData = dataset.PixelData[:16] + b"\xff" * (len(dataset.PixelData) - 24) + dataset.PixelData[-8:]

    with quiet(), pytest.raises(PixelError) as caught:
        stored_frame(dataset)

    assert caught.value.reason == "undecodable"
    assert not caplog.records


def test_a_transfer_syntax_nobody_knows_is_unsupported() -> None:
    with pytest.raises(PixelError) as caught:
        stored_frame(image(np.zeros((4, 4), np.uint8), transfer_syntax_uid="1.2.3.4"))

    assert caught.value.reason == "unsupported"


def test_a_data_set_without_meta_information_is_taken_for_uncompressed() -> None:
    dataset = image(scene(8, 8, 4096).astype(np.uint16))
    del dataset.file_meta

    assert (stored_frame(dataset).pixels == scene(8, 8, 4096)).all()


@pytest.mark.parametrize(("decoded_bytes", "expected"), [(1, [2]), (3 * 24, [0, 3, 5]), (6 * 24, [0, 1, 2, 3, 4, 5])])
def test_fewer_frames_are_sampled_of_large_ones(decoded_bytes: int, expected: list[int]) -> None:
    dataset = image(np.zeros((6, 4, 6), np.uint8))

    assert sampled_frames(dataset, 8, Limits(decoded_bytes=decoded_bytes)) == expected


def test_a_decoder_that_lacks_memory_says_nothing_of_the_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = image(scene(16, 16, 256).astype(np.uint8))
    dataset.compress(RLELossless, generate_instance_uid=False)

    def lacking(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("pydicom.pixels.decoders.base.Decoder.as_array", lacking)

    with pytest.raises(MemoryError):
        stored_frame(dataset)
