"""C-FIND over many studies: time to the first response by each common key and by example, and memory of a receiver."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
import psutil
from pydicom.dataset import Dataset

from node.dicom.client import Peer
from node.dicom.private import Element
from node.home import open_for_writing
from node.settings import Settings
from storage.database.database import Database
from tests.benchmarks.find_client import FindClient
from tests.benchmarks.find_data import Study
from tests.benchmarks.find_server import our_receiver
from tests.benchmarks.report import Row
from tests.support.dicom.archive import identifier, instance, uid
from tests.support.running import free_port

BATCH: Final = 20_000
CLIENTS: Final = 16
UNIQUE_LIMIT_MS, FILTER_LIMIT_MS, EXAMPLE_LIMIT_MS, BUSY_LIMIT_MS = 10, 300, 20, 50
KIB_IN_MIB: Final = 1024
RETURNED: Final = dict.fromkeys(["PatientID", "PatientName", "StudyDate", "ModalitiesInStudy"], "")


def large(folder: Path, count: int, repeats: int, receivers: int = 2) -> Iterator[Row]:
    """Rows for an index of `count` studies of one image each, in a folder that is made or found again."""
    settings = Settings(home=folder, port=free_port(), http_port=free_port(), receivers=receivers)
    with open_for_writing(settings) as database:
        fill(database, count)
    with ExitStack() as stack:
        processes = [stack.enter_context(our_receiver(settings, number)) for number in range(1, receivers + 1)]
        peer = Peer(settings.ae_title, settings.host, settings.port)
        yield from _by_keys(peer, count, repeats)
        yield from _by_example(peer, count, repeats)
        yield from _memory([process for _, process in processes], count)


def fill(database: Database, count: int) -> None:
    """Append studies with random codes up to `count`; those that are there already stay."""
    with database.snapshot() as snapshot:
        first = snapshot.rows
    for start in range(first, count, BATCH):
        numbers = range(start, min(start + BATCH, count))
        words = database.header.layout.words
        codes = np.random.default_rng(start).integers(0, 1 << 64, (len(numbers), 1, words), np.uint64, endpoint=False)
        studies = [Study(number) for number in numbers]
        items = [instance(f"{one.number + 1}.1.1", 0, attributes=one.attributes) for one in studies]
        database.append([replace(item, codes=code) for item, code in zip(items, codes, strict=True)])


def _by_keys(peer: Peer, count: int, repeats: int) -> Iterator[Row]:
    middle = Study(count // 2 + 1)  # every hundredth has a modality of its own
    day = {"StudyDate": middle.date, "ModalitiesInStudy": "CT"}
    named = {"PatientName": f"{middle.family}^Given{f'{middle.number:05}'[:-3]}*"}
    queries = {
        "Patient ID": ({"PatientID": middle.attributes["PatientID"]}, UNIQUE_LIMIT_MS),
        "Accession Number": ({"AccessionNumber": middle.attributes["AccessionNumber"]}, UNIQUE_LIMIT_MS),
        "Study Instance UID": ({"StudyInstanceUID": middle.attributes["StudyInstanceUID"]}, UNIQUE_LIMIT_MS),
        "one Study Date with a modality": (day, FILTER_LIMIT_MS),
        "Patient's Name that ends in a wildcard": (named, FILTER_LIMIT_MS),
        "Patient's Name that begins with a wildcard": ({"PatientName": f"*Given{middle.number:05}"}, FILTER_LIMIT_MS),
    }
    with FindClient.associate(peer) as client:
        for name, (keys, limit_ms) in queries.items():
            request = identifier("STUDY", keys={**RETURNED, "StudyInstanceUID": "", **keys})
            answers = [client.ask(request) for _ in range(repeats)]
            work = f"{name}, {count:,} studies, {answers[0].responses} match, first response"
            yield _row(work, median(1e3 * answer.first_s for answer in answers), limit_ms)


def _by_example(peer: Peer, count: int, repeats: int) -> Iterator[Row]:
    """K = 20 studies by example: alone, and with many clients at once."""
    with FindClient.associate(peer) as client:
        client.ask(_question(0))  # codes and kernels are loaded by the first
        times = [1e3 * client.ask(_question(number)).first_s for number in range(repeats)]
    work = f"20 look-alikes among {count:,} studies, first response"
    yield _row(f"{work}, one client", median(times), EXAMPLE_LIMIT_MS)
    with ThreadPoolExecutor(CLIENTS) as pool:
        busy = sorted(
            time_ms for times in pool.map(lambda n: _asking(peer, n, repeats), range(CLIENTS)) for time_ms in times
        )
    yield _row(f"{work}, {CLIENTS} clients, 99 of 100", busy[int(len(busy) * 0.99)], BUSY_LIMIT_MS)


def _asking(peer: Peer, number: int, repeats: int) -> list[float]:
    with FindClient.associate(peer) as client:
        client.ask(_question(number))
        return [1e3 * client.ask(_question(number * repeats + one)).first_s for one in range(repeats)]


def _question(number: int) -> Dataset:
    return identifier(
        "STUDY", {Element.EXAMPLE_SOP_INSTANCE_UID: uid(f"{number + 1}.1.1"), Element.SIMILARITY_RANK: ""}, RETURNED
    )


def _memory(processes: Sequence[psutil.Process], count: int) -> Iterator[Row]:
    """Memory of the receiver that holds most, without mapped pages of the database, which the system may take back."""
    statuses = [Path(f"/proc/{process.pid}/status").read_text() for process in processes]
    own = [int(status.split("RssAnon:")[1].split()[0]) / KIB_IN_MIB for status in statuses]
    yield Row(f"memory of a receiver after these queries, {count:,} studies", "MiB", max(own))


def _row(work: str, time_ms: float, limit_ms: float) -> Row:
    return Row(work, "ms", time_ms, {}, limit_ms, limit_ms / time_ms, 1.0)
