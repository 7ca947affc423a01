"""How fast is C-FIND? python -m tests.benchmarks.find [--quick] [--json FILE].

The same studies lie in our receiver, in Orthanc, in DCMTK's dcmqrscp (500 of them: it answers no more) and in a server
on pynetdicom that yields prepared identifiers. One client asks them in turn over open associations and reads bytes
without decoding them, so that what is measured is the server's.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from pynetdicom import AE, _config, evt

from node.dicom.client import Peer
from node.dicom.sop_classes import STUDY_ROOT_FIND, VERIFICATION
from node.home import open_for_writing
from node.processes import Role
from node.settings import Settings
from tests.archive import identifier
from tests.benchmarks.find_client import Answer, FindClient
from tests.benchmarks.find_data import Study, sent, stored
from tests.benchmarks.ingest import answers, orthanc, started
from tests.benchmarks.report import Row, arguments, followed, interleaved, publish
from tests.running import free_port, program, wait_until

OURS, DCMTK, ORTHANC, PYNETDICOM = "ours", "dcmqrscp", "Orthanc", "pynetdicom"
MAX_DCMTK = 500
REACH = 0.7
"""What our responses a second are to be over Orthanc's."""
SIX_KEYS = dict.fromkeys(
    ["PatientID", "PatientName", "StudyInstanceUID", "StudyDate", "AccessionNumber", "StudyDescription"], ""
)
CONFIGURATION = """NetworkTCPPort = {port}
MaxPDUSize = 131072
MaxAssociations = 16
HostTable BEGIN
HostTable END
VendorTable BEGIN
VendorTable END
AETable BEGIN
DCMTK {folder} RW (500, 4096mb) ANY
AETable END
"""


def main() -> None:
    """Run all rows."""
    options = arguments(__doc__ or "")
    count, repeats = (1000, 5) if options.quick else (5000, 11)
    studies = [Study(number) for number in range(count)]
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        settings = Settings(home=folder / "ours", port=free_port(), http_port=free_port(), receivers=1)
        database = stack.enter_context(open_for_writing(settings))
        servers = {
            OURS: stack.enter_context(our_receiver(settings)),
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
            rows += followed(latencies(clients, count, repeats))
    publish(rows, options.json)


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


@contextmanager
def our_receiver(settings: Settings) -> Iterator[Peer]:
    """One receiver of ours, without the rest of the node."""
    environment = os.environ | {
        "LOOKALIKE_HOME": str(settings.home), "LOOKALIKE_PORT": str(settings.port), "LOOKALIKE_RECEIVERS": "1",
    }  # fmt: skip
    peer = Peer(settings.ae_title, settings.host, settings.port)
    command = [sys.executable, "-m", "node", "role", Role.DICOM, "1", "--supervisor", str(os.getpid())]
    with started(command, peer, settings.home.with_suffix(".log"), environment):
        yield peer


@contextmanager
def dcmqrscp(folder: Path) -> Iterator[Peer]:
    """DCMTK's archive, a process for each association."""
    folder.mkdir()
    peer = Peer("DCMTK", "127.0.0.1", free_port())
    configuration = folder.with_suffix(".cfg")
    configuration.write_text(CONFIGURATION.format(port=peer.port, folder=folder))
    command = [program("dcmqrscp"), "-c", str(configuration)]
    with started(command, peer, folder.with_suffix(".log"), dict(os.environ)):
        yield peer


@contextmanager
def pynetdicom_server(studies: list[Study]) -> Iterator[Peer]:
    """A server on pynetdicom as it comes, which finds nothing but yields what it has."""
    peer = Peer("ANY-SCP", "127.0.0.1", free_port())
    process = get_context("spawn").Process(target=_serve, args=(peer.port, studies), daemon=True)
    process.start()
    try:
        wait_until(lambda: answers(peer), "the server on pynetdicom")
        yield peer
    finally:
        process.terminate()
        process.join()


def _serve(port: int, studies: list[Study]) -> None:
    _config.LOG_REQUEST_IDENTIFIERS = _config.LOG_RESPONSE_IDENTIFIERS = False
    ae = AE()
    ae.add_supported_context(STUDY_ROOT_FIND)
    ae.add_supported_context(VERIFICATION)
    found = [identifier("STUDY", keys={key: study.attributes[key] for key in SIX_KEYS}) for study in studies]
    handlers: list[Any] = [(evt.EVT_C_FIND, lambda _: ((0xFF00, one) for one in found))]
    ae.start_server(("127.0.0.1", port), block=True, evt_handlers=handlers)


if __name__ == "__main__":
    main()
