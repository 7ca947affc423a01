"""What a receiver takes of memory while an object arrives: little, and nothing that grows with the object."""

import struct
from pathlib import Path

import pytest

from tests.benchmarks.ingest import our_receivers
from tests.node.dicom.test_upper_layer import STORAGE, p_data, store_command
from tests.node.ingest.test_receiver import octets_of, picture
from tests.support.dicom.wire import Wire, pdv
from tests.support.running import wait_until

BYTES = 2_000_000_000
PIECE = 131_060
MOST_RESIDENT_BYTES = 250_000_000


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_gigabytes_in_one_object_take_a_few_megabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))  # a first start: the search kernels are compiled
    with our_receivers(tmp_path / "home", number=1) as receiver:
        process, log = receiver.processes[0], tmp_path / "home.1.log"
        wait_until(lambda: "kernels are ready" in log.read_text(), "the search kernels")
        before = process.memory_info().rss
        address = (receiver.peer.host, receiver.peer.port)

        with Wire.associate(*address, timeout_s=300) as wire:
            head = octets_of(picture(NumberOfFrames=4000))
            head = head[: head.index(b"\xe0\x7f\x10\x00")] + b"\xe0\x7f\x10\x00OW\0\0" + struct.pack("<I", BYTES)
            wire.send(p_data(pdv(STORAGE, 3, store_command()), pdv(STORAGE, 0, head)))
            left, most = BYTES, before
            while left:
                size = min(PIECE, left)
                left -= size
                wire.send(p_data(pdv(STORAGE, 0 if left else 2, bytes(size))))
                if left % 100 == 0:
                    most = max(most, process.memory_info().rss)
            status = wire.status()
        most = max(most, process.memory_info().rss)
        [kept] = (tmp_path / "home" / "spool" / "incoming").iterdir()

        assert status == 0
        assert kept.stat().st_size > BYTES
        print(f"resident before {before / 1e6:.0f} MB, most {most / 1e6:.0f} MB")
        assert most - before < 20e6
        assert most < MOST_RESIDENT_BYTES
