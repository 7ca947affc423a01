"""How fast is C-FIND? python -m tests.benchmarks.find [--quick] [--json FILE] [--folder DIR] [SECTION].

Section `peers`: the same studies lie in our receiver, in Orthanc, in DCMTK's dcmqrscp (500 of them: it answers no more)
and in a server on pynetdicom that yields prepared identifiers. One client asks them in turn over open associations and
reads bytes without decoding them, so that what is measured is the server's. Section `large`: a million studies.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from node.dicom.client import Peer
from node.home import open_for_writing
from node.settings import Settings
from tests.benchmarks.find_client import Answer, FindClient
from tests.benchmarks.find_data import SIX_KEYS, Study, sent, stored
from tests.benchmarks.find_large import large
from tests.benchmarks.find_server import dcmqrscp, our_receiver, pynetdicom_server
from tests.benchmarks.ingest import orthanc
from tests.benchmarks.report import Row, followed, interleaved, publish, search_parser
from tests.support.dicom.archive import identifier
from tests.support.running import free_port

OURS, DCMTK, ORTHANC, PYNETDICOM = "ours", "dcmqrscp", "Orthanc", "pynetdicom"
MAX_DCMTK = 500
REACH = 0.7
"""What our responses a second are to be over Orthanc's."""


def main() -> None:
    """Run the sections that are named, or all."""
    options = search_parser(__doc__ or "", ["peers", "large"]).parse_args()
    sections, rows = options.sections or ["peers", "large"], list[Row]()
    with tempfile.TemporaryDirectory() as name:
        if "peers" in sections:
            rows += beside_peers(Path(name), *((1000, 5) if options.quick else (5000, 11)))
        if "large" in sections:
            folder = (options.folder or Path(name)) / "large"
            rows += followed(large(folder, *((20_000, 10) if options.quick else (1_000_000, 30))))
    publish(rows, options.json)


def beside_peers(folder: Path, count: int, repeats: int) -> list[Row]:
    """Responses a second and times of common keys, beside the peers."""
    studies = [Study(number) for number in range(count)]
    with ExitStack() as stack:
        settings = Settings(home=folder / "ours", port=free_port(), http_port=free_port(), receivers=1)
        database = stack.enter_context(open_for_writing(settings))
        servers = {
            OURS: stack.enter_context(our_receiver(settings))[0],
            ORTHANC: stack.enter_context(orthanc(folder / "orthanc")).peer,
            DCMTK: stack.enter_context(dcmqrscp(folder / "dcmtk")),
            PYNETDICOM: stack.enter_context(pynetdicom_server(studies[:MAX_DCMTK])),
        }
        first, rest = studies[:MAX_DCMTK], studies[MAX_DCMTK:]
        stored(database, first)
        for name in (ORTHANC, DCMTK):
            sent(servers[name], folder / f"to {name}", first)
        with clients_of(servers) as clients:
            rows = list(followed(throughput(clients, repeats)))
        stored(database, rest)
        sent(servers[ORTHANC], folder / "rest", rest)
        with clients_of({name: servers[name] for name in (OURS, ORTHANC)}) as clients:
            return [*rows, *followed(latencies(clients, count, repeats))]


@contextmanager
def clients_of(servers: Mapping[str, Peer]) -> Iterator[dict[str, FindClient]]:
    """An open association with each server: Orthanc ends those that are idle for half a minute."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(FindClient.associate(peer)) for name, peer in servers.items()}


def throughput(clients: Mapping[str, FindClient], repeats: int) -> Iterator[Row]:
    """Responses a second of a query that all studies match, while each server holds `MAX_DCMTK`."""
    request = identifier("STUDY", keys=SIX_KEYS)
    runs: dict[str, Callable[[], float]] = {
        name: lambda client=client: _rate(client.ask(request))  # type: ignore[misc]
        for name, client in clients.items()
    }
    rate = interleaved(runs, repeats)
    ours = rate.pop(OURS)
    yield Row(f"{MAX_DCMTK} responses with 6 keys", "responses/s", ours, rate, None, ours / rate[ORTHANC], REACH)


def latencies(clients: Mapping[str, FindClient], count: int, repeats: int) -> Iterator[Row]:
    """Time to the final response of queries by one common key each, beside Orthanc."""
    queries = {
        "Accession Number": {"AccessionNumber": f"A{count // 2:06}"},
        "Patient ID": {"PatientID": f"P{count // 2:06}"},
        "one Study Date": {"StudyDate": Study(7).date},
        "a week of Study Dates": {"StudyDate": f"{Study(7).date}-{Study(13).date}"},
        "Patient's Name with a wildcard": {"PatientName": f"{Study(11).family}*"},
        "Modalities in Study, a rare one": {"ModalitiesInStudy": "NM"},
    }
    for name, keys in queries.items():
        request = identifier("STUDY", keys={**SIX_KEYS, "ModalitiesInStudy": "", **keys})
        numbers = {who: client.ask(request).responses for who, client in clients.items()}
        if len(set(numbers.values())) != 1:
            raise RuntimeError(f"the servers disagree on {name}: {numbers}")
        runs: dict[str, Callable[[], float]] = {
            who: lambda client=client, request=request: 1e3 * client.ask(request).total_s  # type: ignore[misc]
            for who, client in clients.items()
        }
        times = interleaved(runs, 3 * repeats)
        work = f"{name}, {count:,} studies, {numbers[OURS]} match"
        yield Row(work, "ms", times[OURS], {ORTHANC: times[ORTHANC]}, None, times[ORTHANC] / times[OURS], 1.0)


def _rate(answer: Answer) -> float:
    if answer.responses != MAX_DCMTK:
        raise RuntimeError(f"{answer.responses} responses came, not {MAX_DCMTK}")
    return answer.responses / answer.total_s


if __name__ == "__main__":
    main()
