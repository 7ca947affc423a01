"""Frames whose headers announce more than the data set: the size check reads markers as decoders may."""

import struct
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from hashing.images.announced import FrameSize, announced_sizes, exceeds
from tests.support.hashing.images import scene

HUGE = struct.pack(">HH", 65535, 65535)
PICTURE = scene(48, 40, 256).astype(np.uint8)


def encoded(kind: str) -> bytes:
    stream = BytesIO()
    Image.fromarray(PICTURE).save(stream, kind)
    return stream.getvalue()


def frame_header(rows: int, columns: int, components: int = 1, marker: int = 0xC0) -> bytes:
    length = 8 + 3 * components
    return b"\xff" + struct.pack(">BHBHHB", marker, length, 8, rows, columns, components) + b"\1\x11\0" * components


def size_segment(rows: int, columns: int, components: int = 1) -> bytes:
    sizes = struct.pack(">HHH8LH", 0xFF51, 38 + 3 * components, 0, columns, rows, 0, 0, columns, rows, 0, 0, components)
    return sizes + b"\x07\1\1" * components


JPEG, JPEG_2000 = encoded("JPEG"), encoded("JPEG2000")


def test_an_ordinary_frame_announces_its_size() -> None:
    assert announced_sizes(JPEG) == announced_sizes(JPEG_2000) == [FrameSize(48, 40, 1)]
    assert not exceeds(JPEG, 48, 40)
    assert not exceeds(JPEG_2000, 48, 40)


@pytest.mark.parametrize(
    "codestream",
    [
        b"\xff\xd8" + frame_header(65535, 65535),
        b"\xff\xd8" + b"\xff" * 300 + frame_header(65535, 65535),
        b"\xff\xff\xff\xd8\xff\xff" + frame_header(65535, 65535, 3),
        b"\xff\xd8\xff\x01\xff\xd0" + frame_header(65535, 65535),
        JPEG[:-2] + frame_header(65535, 65535) + b"\xff\xd9",
        b"\xff\xd8\xff\xe0\xff\xff" + frame_header(65535, 65535) + JPEG[2:],
        b"\xff\xd8\xff\xe0\0\1" + frame_header(65535, 65535),
        b"\xff\xd8" + frame_header(64, 64, marker=0xC2) + frame_header(65535, 65535, marker=0xDE),
        b"\xff\xd8" + frame_header(65535, 65535, marker=0xF7),
        JPEG[:-2] + b"\xff\xdc\0\4\xff\xff\xff\xd9",
        b"\xff\xd8" + frame_header(0, 40, marker=0xF7) + b"\xff\xf8\0\x0c\4\4" + struct.pack(">LL", 1 << 20, 1 << 20),
        JPEG_2000.replace(struct.pack(">LL", 40, 48), struct.pack(">LL", 1 << 20, 1 << 20)),
        b"\xff\x4f" + b"\xff\x64\0\4\0\1" + size_segment(1 << 16, 1 << 16),
        size_segment(48, 40).join([b"\xff\x4f", size_segment(1 << 16, 1 << 16)]),
        JPEG_2000[: JPEG_2000.index(b"jp2c") + 4] + b"\0" * 7 + b"\xff\x4f" + size_segment(1 << 16, 1 << 16),
    ],
)  # fmt: skip
def test_no_header_that_announces_more_is_overlooked(codestream: bytes) -> None:
    assert exceeds(codestream, 48, 40)


def test_a_small_picture_inside_a_segment_is_no_reason_to_refuse_the_frame() -> None:
    thumbnail = b"\xff\xd8" + frame_header(16, 16) + b"\xff\xd9"
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail

    assert not exceeds(JPEG[:2] + segment + JPEG[2:], 48, 40)


@pytest.mark.parametrize("seed", range(3))
def test_noise_inside_a_segment_or_a_scan_is_no_reason_to_refuse_the_frame(seed: int) -> None:
    noise = np.random.default_rng(seed).bytes(60_000)
    segment = b"\xff\xe2" + struct.pack(">H", 2 + len(noise)) + noise

    assert not exceeds(JPEG[:2] + segment + JPEG[2:], 48, 40)
    assert not exceeds(JPEG_2000[:-2] + noise + JPEG_2000[-2:], 48, 40)


def test_what_is_no_codestream_announces_nothing() -> None:
    assert announced_sizes(b"") == announced_sizes(bytes(999)) == []
