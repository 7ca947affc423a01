"""What do TLS, callers, audit and encryption cost? python -m tests.benchmarks.trust [--quick] [--json FILE].

The same receiver three times: open (plain, no callers, no audit, which only this benchmark can switch off), guarded
(TLS 1.3 with certificates of both sides, an entry of `callers`, audit messages), and guarded with a key that encrypts
the home folder. DCMTK's storescu sends, and one client of C-FIND counts responses without decoding them; the servers
take turns.
"""

import os
import ssl
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from node.access.certificates import Authority
from node.dicom.client import Peer
from node.home import open_for_writing
from node.settings import Settings
from tests.benchmarks.find_client import FindClient
from tests.benchmarks.find_data import SIX_KEYS, Study, stored
from tests.benchmarks.ingest import emptied, started, write_loads
from tests.benchmarks.report import Row, arguments, interleaved, publish
from tests.support.dicom.archive import identifier
from tests.support.running import free_port, program

OPEN, GUARDED, SEALED = "open", "TLS, callers, audit", "and a key"
REACH: Final = 0.7
"""What the rate of a guarded node is to be of an open one's."""
CALLER: Final = "BENCHMARK"
WITHOUT_AUDIT: Final = "from node.access.audit_trail import AuditTrail; AuditTrail.record = lambda *_: None; "
RECEIVER: Final = "from node.cli.main import main; main()"


def main() -> None:
    """Run all rows."""
    options = arguments(__doc__ or "")
    objects, studies, repeats = (60, 500, 3) if options.quick else (200, 2000, 9)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        certificates = certified(folder / "certificates")
        [load, _] = write_loads(folder / "objects", "CT", objects, 512)
        guarded = {**certificates, "callers": {"benchmark": entry()}}
        key = folder / "key"
        key.write_bytes(b64encode(os.urandom(32)))
        key.chmod(0o600)
        sealed = {**guarded, "encryption_key": f"file:{key}"}
        chosen: Mapping[str, dict[str, Any]] = {OPEN: {}, GUARDED: guarded, SEALED: sealed}
        servers = {
            who: stack.enter_context(receiver(folder / str(number), studies, settings))
            for number, (who, settings) in enumerate(chosen.items())
        }
        rows = [*ingest(servers, load.folders[0], objects, repeats), *find(servers, studies, repeats)]
    publish(rows, options.json)


def entry() -> dict[str, Any]:
    """What the caller of this benchmark may do."""
    return {"ae_titles": [CALLER], "certificate": f"CN={CALLER}", "rights": ["store", "find"], "disclosure": "FULL"}


def certified(folder: Path) -> dict[str, Path]:
    """Settings of certificates, made for this run."""
    authority = Authority.open(folder, days=2)
    for name in ("node", CALLER):
        authority.issue(name, ["localhost", "127.0.0.1"], days=2)
    files = {"tls_certificate": "node.pem", "tls_key": "node.key", "tls_authorities": "authority.pem"}
    return {name: folder / file for name, file in files.items()}


@contextmanager
def receiver(home: Path, studies: int, chosen: Mapping[str, Any]) -> Iterator[Settings]:
    """One receiver of a home folder with some studies, without the rest of the node."""
    tls_port: dict[str, Any] = {"tls_port": free_port()} if chosen else {}
    settings = Settings(home=home, port=free_port(), http_port=free_port(), receivers=1, **tls_port, **chosen)
    with open_for_writing(settings) as database:
        stored(database, [Study(number) for number in range(studies)])
    peer = Peer(settings.ae_title, settings.host, settings.port, settings.ae_title)  # to itself it answers C-ECHO
    patch = "" if chosen else WITHOUT_AUDIT
    command = [sys.executable, "-c", patch + RECEIVER, "role", "dicom", "1", "--supervisor", str(os.getpid())]
    with started(command, peer, home.with_suffix(".log"), os.environ | settings.environment()):
        yield settings


def ingest(servers: Mapping[str, Settings], folder: Path, count: int, repeats: int) -> Iterator[Row]:
    """Objects a second over one association, durable."""
    runs = {who: partial(send, settings, folder, count) for who, settings in servers.items()}
    yield from rows_of(f"C-STORE of {count} CT, 1 association", "objects/s", interleaved(runs, repeats))


def send(settings: Settings, folder: Path, count: int) -> float:
    """Objects a second, the handshake included."""
    emptied(settings.spool_path / "incoming")
    os.sync()
    port, options = settings.port, list[str]()
    if settings.tls_authorities is not None:
        own, port = settings.tls_authorities.parent / CALLER, settings.tls_port
        options = ["+tls", f"{own}.key", f"{own}.pem", "+cf", str(settings.tls_authorities)]
    command = [program("storescu"), "-q", *options, "-aet", CALLER, "-aec", settings.ae_title, "-pdu", "131072"]
    started_s = time.perf_counter()
    subprocess.run(
        [*command, "localhost", str(port), "+sd", str(folder)], check=True, env=os.environ | {"TCP_NODELAY": "1"}
    )
    return count / (time.perf_counter() - started_s)


def find(servers: Mapping[str, Settings], studies: int, repeats: int) -> Iterator[Row]:
    """Responses a second, and small queries a second, over open associations."""
    every, one = identifier("STUDY", keys=SIX_KEYS), identifier("STUDY", keys={**SIX_KEYS, "PatientID": "P000007"})
    with ExitStack() as stack:
        clients = {who: stack.enter_context(client(settings)) for who, settings in servers.items()}
        rates = interleaved({who: partial(responses, asking, every) for who, asking in clients.items()}, repeats)
        yield from rows_of(f"C-FIND, {studies} responses with 6 keys", "responses/s", rates)
        rates = interleaved({who: partial(queries, asking, one) for who, asking in clients.items()}, repeats)
        yield from rows_of("C-FIND by Patient ID, one response", "queries/s", rates)


def client(settings: Settings) -> FindClient:
    """An association of this benchmark's caller."""
    peer = Peer(settings.ae_title, "localhost", settings.tls_port or settings.port)
    if settings.tls_authorities is None:
        return FindClient.associate(peer)
    context = ssl.create_default_context(cafile=settings.tls_authorities)
    own = settings.tls_authorities.parent / CALLER
    context.load_cert_chain(f"{own}.pem", f"{own}.key")
    return FindClient.associate(peer, context)


def responses(asking: FindClient, request: Any) -> float:
    """Responses a second of one query."""
    answer = asking.ask(request)
    return answer.responses / answer.total_s


def queries(asking: FindClient, request: Any, count: int = 40) -> float:
    """Queries a second, one after the other."""
    return count / sum(asking.ask(request).total_s for _ in range(count))


def rows_of(work: str, unit: str, rates: Mapping[str, float]) -> Sequence[Row]:
    """A row for each way to guard, beside the open node."""
    return [
        Row(f"{work}: {who}", unit, rates[who], {OPEN: rates[OPEN]}, ratio=rates[who] / rates[OPEN], reach=REACH)
        for who in (GUARDED, SEALED)
    ]


if __name__ == "__main__":
    main()
