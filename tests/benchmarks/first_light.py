"""How fast is the whole way? python -m tests.benchmarks.first_light [--quick] [--json FILE].

C-STORE beside pynetdicom's storescp (ours is durable, its is not), each stage of indexing alone, and the latency of a
query as a client sees it and in the search alone.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset

from hashing.codes import Codes
from hashing.images.frames import stored_frame
from hashing.images.pixels import decode, network_input, preprocess
from hashing.model.encoder import Encoder
from hashing.phantoms.hospital import write_samples
from node.dicom.client import Peer
from node.dicom.private import Element, add_block
from storage.database.database import Database
from storage.record import Level
from storage.search.local import LocalIndex
from tests.benchmarks.report import Row, arguments, interleaved, publish
from tests.support.running import free_port, running_node, wait_until
from tests.support.storage.invented import codes, item

QUERIES = 20
BATCH = 10_000


def main() -> None:
    """Run all rows."""
    options = arguments(__doc__ or "")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = [
            path for path in write_samples(folder / "phantoms", 4 if options.quick else 12) if path.suffix == ".dcm"
        ]
        rows = [*receiving(folder, paths, 3), *stages(paths), *searching(folder, quick=options.quick)]
    publish(rows, options.json)


def receiving(folder: Path, paths: list[Path], repeats: int) -> Iterator[Row]:
    """C-STORE over one association, dcmsend as the sender where it is installed."""
    with running_node(folder / "home") as node, storescp(folder / "storescp") as other:
        rates = interleaved(
            {"ours": lambda: rate(node.peer, paths), "pynetdicom storescp": lambda: rate(other, paths)}, repeats
        )
        ours = rates.pop("ours")
        yield Row("C-STORE, durable (peer: not)", "objects/s", ours, rates, ratio=ours / rates["pynetdicom storescp"])
        node.wait_indexed()
        example = str(dcmread(paths[0], stop_before_pixels=True).SOPInstanceUID)
        asking = [timed(lambda: list(node.peer.find(question(example)))) for _ in range(QUERIES)]
        yield Row(f"C-FIND by example, {len(paths)} images, association included", "ms", float(np.median(asking)) * 1e3)


@contextmanager
def storescp(folder: Path) -> Iterator[Peer]:
    """pynetdicom's own storage application, writing files."""
    folder.mkdir()
    port = free_port()
    command = [sys.executable, "-m", "pynetdicom", "storescp", str(port), "-od", str(folder), "-q"]
    with subprocess.Popen(command) as process:
        peer = Peer("ANY-SCP", "127.0.0.1", port)
        wait_until(lambda: answers(peer), "storescp to answer")
        yield peer
        process.terminate()


def answers(peer: Peer) -> bool:
    """Whether a peer accepts an association."""
    try:
        peer.echo()
    except Exception:
        return False
    return True


def rate(peer: Peer, paths: list[Path]) -> float:
    """Objects a second over one association."""
    dcmsend = shutil.which("dcmsend")
    started = time.perf_counter()
    if dcmsend:
        command = [dcmsend, "-q", "-aec", peer.ae_title, peer.host, str(peer.port), *map(str, paths)]
        subprocess.run(command, check=True, env={"TCP_NODELAY": "1"})
    else:
        for stored in peer.store(paths):
            assert stored.status == 0
    return len(paths) / (time.perf_counter() - started)


def stages(paths: list[Path]) -> Iterator[Row]:
    """Each stage of indexing alone, one process, on the phantoms as they are encoded."""
    datasets = [dcmread(path) for path in paths]
    pictures = [decode(dataset) for dataset in datasets]
    work: dict[str, Callable[[], object]] = {
        "decode pixels": lambda: [stored_frame(dataset, 0) for dataset in datasets],
        "decode and window": lambda: [decode(dataset) for dataset in datasets],
        "preprocess": lambda: [preprocess(picture) for picture in pictures],
    }
    for name, run in work.items():
        yield Row(name, "images/s", per_second(len(datasets), run))
    images = np.stack([network_input(dataset) for dataset in datasets[:64]])
    encoder = Encoder.load()
    encoder.encode(images[:8], ["CT"] * 8)
    batches = np.array_split(images, max(1, len(images) // 32))
    encoding = per_second(len(images), lambda: [encoder.encode(batch, ["CT"] * len(batch)) for batch in batches])
    yield Row("encode, batches of 32", "images/s", encoding)


def searching(folder: Path, *, quick: bool) -> Iterator[Row]:
    """Search alone: 64 bits, K = 20, one thread, numpy beside it."""
    for rows in (10_000, 100_000) if quick else (10_000, 100_000, 1_000_000):
        database = Database.create_or_open(folder / f"codes-{rows}", 64, "benchmark", 1 << 36)
        stored = codes(rows)
        for start in range(0, rows, BATCH):
            numbers = range(start, min(start + BATCH, rows))
            database.append(
                [replace(item(number, frame_codes=stored[number : number + 1]), previews=None) for number in numbers]
            )
        query = codes(1, seed=1)
        times = search_times(database, stored, query)
        database.close()
        yield Row(
            f"search, {rows:,} codes of 64 bits, K = 20", "ms", times["ours"] * 1e3, {"numpy": times["numpy"] * 1e3},
            ratio=times["numpy"] / times["ours"],
        )  # fmt: skip


def search_times(database: Database, stored: Codes, query: Codes) -> dict[str, float]:
    """Seconds of one search, ours and numpy's in turn."""
    with LocalIndex(database).view() as view:
        runs: dict[str, Callable[[], float]] = {
            "ours": lambda: timed(lambda: view.search(query, 20, Level.IMAGE)),
            "numpy": lambda: timed(lambda: nearest_by_numpy(stored, query)),
        }
        runs["ours"]()  # compiles, or loads what was compiled
        return interleaved(runs, QUERIES)


def nearest_by_numpy(stored: Codes, query: Codes) -> None:
    """The twenty nearest codes, in plain numpy."""
    np.argpartition(np.bitwise_count(stored ^ query).sum(axis=1), 20)[:20]


def question(example: str) -> Dataset:
    """A query by example for images."""
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "IMAGE"
    identifier.SOPInstanceUID = ""
    add_block(identifier, [(Element.EXAMPLE_SOP_INSTANCE_UID, example), (Element.HAMMING_DISTANCE, "")])
    return identifier


def timed(work: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def per_second(count: int, work: Callable[[], object]) -> float:
    """Items a second."""
    return count / timed(work)


if __name__ == "__main__":
    main()
