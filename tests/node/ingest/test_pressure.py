"""Back-pressure in its order: responses wait, associations that store are rejected, A700; and recovery by itself."""

import mmap
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from node.dicom.command_set import C_STORE_RQ, Request
from node.ingest.pressure import Fullness, Pressure, own_bytes
from node.ingest.refusals import read_refusals
from node.settings import Settings
from storage.spool.queue import Spool
from tests.node.ingest.test_receiver import octets_of, picture, receiver_of
from tests.support.dicom.answering import AMPLE_BYTES, MODELS, Node, answering_node
from tests.support.running import REPOSITORY


def pressure_of(spool: Spool, **values: Any) -> Pressure:
    return Pressure(spool, Settings(home=spool.path, **{"receiver_memory_bytes": AMPLE_BYTES, **values}))


def filled(path: Path, waiting: int, capacity: int = 10, free_bytes: int = 0) -> Spool:
    spool = Spool(path / "spool", capacity, free_bytes)
    for _ in range(waiting):
        spool.put([b"x"])
    return spool


def test_responses_wait_longer_the_fuller_the_spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.ingest.pressure.LEVEL_AGE_S", 0)
    spool = filled(tmp_path, 0)
    pressure, delays = pressure_of(spool, busy_share=0.5, longest_delay_s=2), []

    for _ in range(10):
        delays.append(pressure.delay_s())
        spool.put([b"x"])
    delays.append(pressure.delay_s())

    assert delays[:6] == [0] * 6
    assert delays[6:] == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0])


def test_associations_are_rejected_before_the_spool_is_full(tmp_path: Path) -> None:
    pressure = pressure_of(filled(tmp_path, 8), closed_share=0.9)
    assert pressure.rejects() is None

    fuller = pressure_of(filled(tmp_path, 1), closed_share=0.9)

    assert fuller.rejects() == Fullness("objects", 0.9)


def test_a_disk_that_fills_up_is_noticed_before_it_is_full(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free

    half = pressure_of(filled(tmp_path, 0, free_bytes=free // 2))

    assert half.level().resource == "disk"
    assert half.level().share == pytest.approx(0.5, abs=0.1)


def test_memory_counts_too(tmp_path: Path) -> None:
    spool = filled(tmp_path, 0)
    tight = pressure_of(spool, receiver_memory_bytes=own_bytes() // 2)

    assert tight.level().resource == "memory"
    assert tight.is_out_of_memory()
    refusal = store_with(spool, receiver_memory_bytes=1)
    assert refusal == (0xA700, "busy, retry")


def test_pages_of_a_mapped_file_do_not_count_as_memory(tmp_path: Path) -> None:
    path, size = tmp_path / "mapped", 64 << 20
    path.write_bytes(bytes(size))
    before = own_bytes()

    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert sum(mapped[::4096]) == 0

        assert own_bytes() - before < size // 2


def store_with(spool: Spool, **values: Any) -> tuple[int, str] | None:
    """Status and comment that a receiver with these settings gives."""
    request = Request(C_STORE_RQ, 1, SecondaryCaptureImageStorage, "2.25.1", has_data_set=True)
    receiving = receiver_of(spool, **values).begin(request, ExplicitVRLittleEndian, "MODALITY")
    receiving.write(memoryview(octets_of(picture())))
    refusal = receiving.finish()
    return None if refusal is None else (refusal.status, refusal.comment)


def test_a_response_waits_when_the_spool_is_nearly_full_and_says_success_all_the_same(tmp_path: Path) -> None:
    spool = filled(tmp_path, 9)

    before = time.monotonic()
    outcome = store_with(spool, longest_delay_s=0.3)
    waited = time.monotonic() - before

    assert outcome is None
    assert waited > 0.1  # nine or ten of ten wait


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with answering_node(tmp_path_factory.mktemp("node")) as node:
        yield node


def test_a_full_spool_rejects_who_would_store_and_serves_who_asks(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node.finder.retriever.spool, "capacity", 0)

    with pytest.raises(AssertionError):
        node.associate(SecondaryCaptureImageStorage)

    asking = node.associate(MODELS[0])
    assert asking.send_c_echo().Status == 0
    asking.release()
    node.receiver.refusals.write()
    assert [(entry.reason, entry.calling_ae_title) for entry in read_refusals(node.settings.run_path)] == [
        ("association: to try later: objects near the limit", "CLIENT")
    ]


def test_who_was_rejected_gets_in_when_there_is_room_again(node: Node) -> None:
    association = node.associate(SecondaryCaptureImageStorage)

    assert association.send_c_store(picture()).Status == 0

    association.release()
    node.finder.retriever.spool.remove(list(node.finder.retriever.spool))


FULL_DISK = """
import sys
from contextlib import suppress
from pathlib import Path
from node.dicom.quotas import Quotas
from node.ingest.refusals import Refusals, read_refusals
from storage.spool.queue import Spool
from tests.node.ingest.test_receiver import octets_of, picture, receiver_of, store
spool = Spool(Path(sys.argv[1]) / "spool", 1000, 0)
octets = octets_of(picture()) + b"\\xfc\\xff\\xfc\\xffOB\\0\\0" + (1 << 20).to_bytes(4, "little") + bytes(1 << 20)
outcomes = [store(spool, octets) for _ in range(12)]
kept = len(spool)
spool.remove(list(spool))
again = store(spool, octets)
left = list((spool.path / "tmp").iterdir())
run = Path(sys.argv[1]) / "run"
quotas, refusals = Quotas(run / "associations", 2, 2), Refusals(run, 1)
refusals.add("A700 busy", "CT")
with (Path(sys.argv[1]) / "filler").open("wb", buffering=0) as filler:
    with suppress(OSError):
        while filler.write(bytes(4096)):
            pass
refusals.write()
Refusals(run / "elsewhere", 2).write()
counted = len(read_refusals(run))
slot = quotas.take("CT") is not None
full = store(spool, octets).comment
(Path(sys.argv[1]) / "filler").unlink()
refusals.write()
print(counted, slot, full, len(read_refusals(run)), store(spool, octets), sep="|")
print([outcome and (int(outcome.status), outcome.comment) for outcome in outcomes], kept, again, left, sep="|")
"""


def test_a_disk_that_is_full_indeed_refuses_and_recovers(tmp_path: Path) -> None:
    inside = f"mount -t tmpfs -o size=8m none {tmp_path} && exec {sys.executable} -c '{FULL_DISK}' {tmp_path}"
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", inside]
    if os.geteuid() == 0:
        command = ["unshare", "--mount", "sh", "-c", inside]

    run = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=120, check=False)

    if "unshare:" in run.stderr or "mount:" in run.stderr:
        pytest.skip(f"no mount of our own here: {run.stderr.strip()}")
    assert run.returncode == 0, run.stderr
    counting, arriving = run.stdout.strip().splitlines()
    assert counting == "0|True|disk full, retry later|1|None", "counting raises nothing, and goes on when there is room"
    outcomes, kept, again, left = arriving.split("|")
    full = (0xA700, "disk full, retry later")
    assert outcomes == str([None] * int(kept) + [full] * (12 - int(kept)))
    assert 3 <= int(kept) <= 7
    assert (again, left) == ("None", "[]")
