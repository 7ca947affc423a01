"""How near does the whole way come to its stages? python -m tests.benchmarks.pipeline [--quick] [--json FILE].

From the first byte sent to the last instance searchable, beside the limit that the stages set. Each stage is run alone
in the same run, with every core at its disposal where it has use for them; the limit is the number of cores over the
core-seconds that all stages take for an instance. The sender's work on the same cores is not in the limit.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from itertools import cycle, islice
from multiprocessing import get_context
from multiprocessing.pool import Pool
from pathlib import Path
from statistics import median

import numpy as np
import psutil
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless
from rich.console import Console
from rich.table import Table

from hashing.images.frames import stored_frame
from hashing.images.pixels import decode, preprocess
from hashing.model.encoder import Encoder
from hashing.model.network import INPUT_SIZE
from hashing.phantoms.hospital import samples
from node.ingest.decode_worker import limit_process
from node.ingest.outcome import Prepared
from node.ingest.preparation import prepare
from node.processes import Role
from storage.database.database import Database, Item
from storage.record import Level
from tests.benchmarks.report import Row, arguments, publish
from tests.support.running import RunningNode, run_peer, running_node, wait_until

CORES = len(os.sched_getaffinity(0))
ENCODINGS = {
    "raw": ExplicitVRLittleEndian,
    "JPEG lossless": JPEGLosslessSV1,
    "JPEG-LS": JPEGLSLossless,
    "JPEG 2000": JPEG2000Lossless,
    "RLE": RLELossless,
}
DISTINCT = 24
REACH = 0.7
BATCH = 32
LONGEST_S = 600.0


@dataclass(frozen=True, slots=True)
class Stages:
    """Core-milliseconds of an instance; the first four are parts of `prepare`, timed in one process."""

    read: float
    decode: float
    window: float
    resample: float
    prepare: float
    encode: float
    commit: float
    receive: float

    @property
    def limit(self) -> float:
        """Instances a second, if every core were always busy with one of the stages."""
        return CORES * 1e3 / (self.receive + self.prepare + self.encode + self.commit)


STAGES = tuple(field.name for field in fields(Stages))


def main() -> None:
    """Run all rows."""
    options = arguments(__doc__ or "")
    count, repeats = (96, 1) if options.quick else (240, 3)
    rows, table = [], Table("core-ms an instance", *STAGES, "limit/s", "reached/s", "of it")
    with tempfile.TemporaryDirectory() as name, bench(Path(name)) as one:
        sources = sections()
        for number, encoding in enumerate(ENCODINGS):
            paths = written(Path(name) / encoding, encoding, sources, count * repeats, f"{number}")
            if not paths:
                continue
            trials = [one.trial(paths[trial::repeats]) for trial in range(repeats)]
            shutil.rmtree(Path(name) / encoding)
            rate, limit = median(rate for rate, _ in trials), median(stages.limit for _, stages in trials)
            figures = [f"{median(getattr(stages, stage) for _, stages in trials):.2f}" for stage in STAGES]
            table.add_row(encoding, *figures, f"{limit:.1f}", f"{rate:.1f}", f"{rate / limit:.0%}")
            work = f"first byte to searchable, CT 512x512 {encoding}, {CORES} cores, median of {repeats}"
            reach = REACH if encoding == "raw" else None
            rows.append(Row(work, "instances/s", rate, limit=limit, ratio=rate / limit, reach=reach))
    Console(width=160).print(table)
    publish(rows, options.json)


@contextmanager
def bench(folder: Path) -> Iterator["Bench"]:
    """All that trials share, ready."""
    workers = get_context("forkserver").Pool(CORES, limit_process, [4 << 30])
    database = Database.create_or_open(folder / "database", 64, "benchmark", 1 << 36)
    with running_node(folder / "home") as node, workers as pool:
        yield Bench(node, pool, Encoder.load(), database)
    database.close()


@dataclass(frozen=True, slots=True)
class Bench:
    """A node, and what each stage takes to be run alone."""

    node: RunningNode
    pool: Pool
    encoder: Encoder
    database: Database

    def trial(self, paths: list[Path]) -> tuple[float, Stages]:
        """The rate of the whole way, and its stages just before, on a third of the instances."""
        first, rest = paths[::3], paths[1::3] + paths[2::3]
        receive = receiving(self.node, first)
        return searchable(self.node, rest), self.stages(first, receive)

    def stages(self, paths: list[Path], receive: float) -> Stages:
        """Each stage alone."""
        self.pool.map(prepared, paths[: 2 * CORES], chunksize=1)
        datasets = [dcmread(path) for path in paths]
        pictures = [decode(dataset) for dataset in datasets]
        ready = [outcome for path in paths if isinstance(outcome := prepare(path, 0, INPUT_SIZE, 1), Prepared)]
        images = np.concatenate([one.images for one in ready])
        batches = [images[at : at + BATCH] for at in range(0, len(images), BATCH)]
        encoding = self.encoder.encode(images, ["CT"] * len(images))
        items = [
            Item(one.record, part.codes, one.images, one.pixel_digest, part.outputs.relaxed, part.outputs.class_scores)
            for one, part in zip(ready, encoding.split(range(1, len(ready))), strict=True)
        ]
        decoding = timed(lambda: [stored_frame(dataset) for dataset in datasets])
        seconds = {
            "read": timed(lambda: [dcmread(path) for path in paths]),
            "decode": decoding,
            "window": timed(lambda: [decode(dataset) for dataset in datasets]) - decoding,
            "resample": timed(lambda: [preprocess(picture) for picture in pictures]),
            "prepare": timed(lambda: self.pool.map(prepared, paths, chunksize=1)) * CORES,
            "encode": timed(lambda: [self.encoder.encode(batch, ["CT"] * len(batch)) for batch in batches]) * CORES,
            "commit": timed(
                lambda: [self.database.append(items[at : at + BATCH]) for at in range(0, len(items), BATCH)]
            ),
        }
        return Stages(**{stage: taken * 1e3 / len(paths) for stage, taken in seconds.items()}, receive=receive)


def sections() -> list[Dataset]:
    """Some CT sections of 512 x 512, uncompressed."""
    found = [sample.dataset for sample in islice(samples(DISTINCT), 8 * DISTINCT) if sample.truth.modality == "CT"]
    for dataset in found[:DISTINCT]:
        if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
            dataset.decompress(generate_instance_uid=False)
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return found[:DISTINCT]


def written(folder: Path, encoding: str, sources: Sequence[Dataset], count: int, root: str) -> list[Path]:
    """That many instances in an encoding, each with its own UID below 2.25.root; none where the encoder is missing."""
    folder.mkdir()
    encoded = []
    for number, source in enumerate(sources):
        path = folder / f"source-{number}"
        source.save_as(path, enforce_file_format=True)
        if encoding == "JPEG lossless":
            if shutil.which("dcmcjpeg") is None:
                Console().print("dcmcjpeg is not installed: no row for JPEG lossless")
                return []
            run_peer("dcmcjpeg", "+e1", path, path)
        dataset = dcmread(path)
        if encoding not in ("raw", "JPEG lossless"):
            dataset.compress(ENCODINGS[encoding], generate_instance_uid=False)
        encoded.append(dataset)
        path.unlink()
    paths = []
    for number, dataset in islice(enumerate(cycle(encoded)), count):
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = UID(f"2.25.1{root}{number:06d}")
        paths.append(folder / f"{number:04d}.dcm")
        dataset.save_as(paths[-1], enforce_file_format=True)
    return paths


def receiving(node: RunningNode, paths: list[Path]) -> float:
    """CPU milliseconds that receiving an instance takes, durably, while nothing is indexed."""
    indexer = psutil.Process(node.pids()["index"])
    indexer.suspend()
    before = receiver_seconds(node)
    send(node, paths)
    spent = receiver_seconds(node) - before
    indexer.resume()
    node.wait_indexed()
    return spent * 1e3 / len(paths)


def receiver_seconds(node: RunningNode) -> float:
    """CPU time so far of every process of the receiving role."""
    assert node.process is not None
    everyone = psutil.Process(node.process.pid).children(recursive=True)
    times = [one.cpu_times() for one in everyone if str(Role.DICOM) in one.cmdline()]
    return float(sum(time.user + time.system for time in times))


def send(node: RunningNode, paths: list[Path]) -> None:
    """Over one association, by DCMTK if it is there."""
    if dcmsend := shutil.which("dcmsend"):
        run_peer(dcmsend, "-q", "-aec", node.peer.ae_title, node.peer.host, str(node.peer.port), *paths)
    else:
        assert {stored.status for stored in node.peer.store(paths)} == {0}


def searchable(node: RunningNode, paths: list[Path]) -> float:
    """Instances a second from the first byte until the last is in the snapshot that queries see."""
    database = Database.open(node.settings.database_path)

    def indexed() -> int:
        with database.snapshot() as snapshot:
            return snapshot.count(Level.IMAGE)

    expected = indexed() + len(paths)
    started = time.perf_counter()
    send(node, paths)
    wait_until(lambda: indexed() >= expected, "every instance to be searchable", LONGEST_S)
    elapsed = time.perf_counter() - started
    database.close()
    return len(paths) / elapsed


def prepared(path: Path) -> bool:
    """Prepare an instance in a worker, and keep the result there."""
    return isinstance(prepare(path, 0, INPUT_SIZE, 1), Prepared)


def timed(work: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
