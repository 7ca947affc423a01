"""The command `lookalike`."""

import logging
import os
import sys
import warnings
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from node.cli import cert, correct, index
from node.cli.desk import aside, backup, encrypting, listing, logins
from node.cli.log_lines import log_lines_above_bars
from node.cli.models import commands as model
from node.cli.pull import commands as pull
from node.cli.terminal import console_for, plain, print_json
from node.configuration import load_settings
from node.errors import REFUSALS, explanation
from node.logs import configure_logging
from node.processes import Role, running_node, title
from node.settings import Settings
from node.version import __version__

if TYPE_CHECKING:
    from node.dicom.client import Peer

console, errors = console_for(), console_for(stderr=True)
app = typer.Typer(
    name="lookalike",
    help="A DICOM node that finds look-alike cases.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for group in (index, cert, aside, backup, encrypting, listing, logins, correct, pull, model):
    app.add_typer(group.app)

Home = Annotated[Path | None, typer.Option(help="Folder of settings.toml, database and spool.  [default: var]")]
Host = Annotated[str | None, typer.Option(help="Address to listen on.  [default: 127.0.0.1]")]
Port = Annotated[int | None, typer.Option(help="DICOM port.  [default: 11112]")]
HttpPort = Annotated[int | None, typer.Option(help="Port of the web page.  [default: 8080]")]
Server = Annotated[str | None, typer.Option(help="A node, as AETITLE@HOST:PORT.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document, for programs.")]
Nagios = Annotated[bool, typer.Option("--nagios", help="Print one line, and exit as a plug-in of Nagios does.")]


def main() -> None:
    """Run the command; whatever it refuses is one clear line and a non-zero exit."""
    os.environ["PYTHONSAFEPATH"] = "1"  # decode workers and others that Python starts do not search this folder
    try:
        app()
    except Exception as error:
        message = explanation(error)
        if message is None:
            raise
        _fail(message)


@app.callback(invoke_without_command=True)
def lookalike(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    """A DICOM node that finds look-alike cases in a hospital's PACS."""
    from pydicom import config

    # pydicom's warnings quote the values they are about, which may be a patient's
    config.settings.reading_validation_mode = config.settings.writing_validation_mode = config.IGNORE
    warnings.filterwarnings("ignore", module=r"pydicom\b")
    logging.getLogger("pydicom").addHandler(logging.NullHandler())
    if version:
        console.print(__version__, highlight=False)
        raise typer.Exit


@app.command(epilog="Example: lookalike serve --home /srv/lookalike --port 104")
def serve(
    home: Home = None,
    host: Host = None,
    port: Port = None,
    http_port: HttpPort = None,
    samples: Annotated[int, typer.Option(min=0, help="Load phantom cases of so many patients, if empty.")] = 0,
) -> None:
    """Run the node until Ctrl-C or SIGTERM."""
    from node.cli.welcome import welcome
    from node.roles.supervisor import Supervisor

    settings = load_settings(home=home, host=host, port=port, http_port=http_port)
    with log_lines_above_bars(errors) if samples else nullcontext() as log:
        configure_logging(
            settings, "supervisor", None if log is None else os.fdopen(log, "w", buffering=1, closefd=False)
        )
        supervisor = Supervisor(settings, log=log)
        supervisor.run(lambda: welcome(settings, samples, supervisor.stop, console, bars=errors if log else None))


@app.command(epilog="Example: lookalike role dicom 2 --home /srv/lookalike")
def role(
    name: Annotated[Role, typer.Argument(help="Which role.")],
    number: Annotated[int, typer.Argument(help="Number among the processes of this role.", min=1)] = 1,
    home: Home = None,
    supervisor: Annotated[int | None, typer.Option(help="Process number of the supervisor.", hidden=True)] = None,
) -> None:
    """Run one role alone, for service managers; `serve` runs them all."""
    from node.roles.application import run_role
    from node.roles.supervisor import REFUSED

    try:
        settings = load_settings(home=home)
        configure_logging(settings, f"{name}-{number}")
        run_role(name, settings, number, supervisor)
    except REFUSALS as error:
        _fail(f"role {title(name, number)}: {explanation(error) or error}", REFUSED)
    except Exception:
        logging.getLogger(__name__).exception("role %s ends by a fault of its own", title(name, number))
        raise typer.Exit(1) from None


@app.command(hidden=True)
def compile_kernels(code_length: int, parent: int) -> None:
    """Compile the search kernels into the cache, as a child of a role."""
    from node.roles import kernel_cache

    kernel_cache.compile_kernels(code_length, parent)


@app.command(epilog="Example: lookalike check --home /srv/lookalike")
def check(
    home: Home = None,
    host: Host = None,
    port: Port = None,
    http_port: HttpPort = None,
    as_json: Json = False,
    nagios: Nagios = False,
) -> None:
    """Try settings, model, database, ports and the running node, and say what to do about each fault."""
    from node.cli.check import run_checks
    from node.cli.desk.monitoring import exit_as_plugin, state_of_checks

    settings = _as_running(load_settings(home=home, host=host, port=port, http_port=http_port))
    outcomes = []
    for outcome in run_checks(settings):
        outcomes.append(outcome)
        mark = Text("ok   ", style="green") if outcome.good else Text("fault", style="red")
        if not (as_json or nagios):
            console.print(mark, plain(f"{outcome.subject}: {outcome.finding}"), highlight=False, soft_wrap=True)
    if nagios:
        exit_as_plugin(*state_of_checks(outcomes))
    if as_json:
        print_json([asdict(outcome) for outcome in outcomes])
    if not all(outcome.good for outcome in outcomes):
        raise typer.Exit(1)


@app.command(epilog="Example: lookalike status --home /srv/lookalike")
def status(home: Home = None, as_json: Json = False, nagios: Nagios = False) -> None:
    """Show what is indexed, what waits, and what was set aside and why."""
    from node.cli.desk.monitoring import exit_as_plugin, state_of
    from node.cli.status import read_status, status_table

    settings = load_settings(home=home)
    found = read_status(settings)
    if nagios:
        exit_as_plugin(*state_of(settings, found))
    if as_json:
        print_json(asdict(found))
    else:
        console.print(status_table(found))


@app.command(epilog="Example: lookalike send ~/studies --server LOOKALIKE@127.0.0.1:11112")
def send(
    folder: Annotated[Path, typer.Argument(help="A folder, searched through, or one file.", exists=True)],
    server: Server = None,
    home: Home = None,
) -> None:
    """Send DICOM files to a node by C-STORE."""
    from node.cli.send import STORED, send_folder

    outcomes = send_folder(folder, _peer(server, home), errors)
    for outcome, paths in sorted(outcomes.items(), key=lambda item: -len(item[1])):
        console.print(plain(f"{len(paths):6d} {outcome}"), highlight=False, soft_wrap=True)
        for path in paths if outcome != STORED else ():
            console.print(plain(f"         {path}"), highlight=False, soft_wrap=True)
    total = sum(map(len, outcomes.values()))
    failed = total - len(outcomes.get(STORED, ()))
    if failed or not total:
        _fail(f"{failed} of {total} files were not stored" if total else f"no files in {folder}")


@app.command(
    epilog="Examples: lookalike similar chest.dcm -k 5   ·   "
    "lookalike similar 1.2.3.4 --level STUDY --modality DX --server LOOKALIKE@127.0.0.1:11112"
)
def similar(
    example: Annotated[str, typer.Argument(metavar="FILE_OR_UID", help="A DICOM file, or a SOP Instance UID.")],
    k: Annotated[int, typer.Option("-k", help="How many.", min=1, max=500)] = 10,
    level: Annotated[str, typer.Option(help="IMAGE, SERIES or STUDY.")] = "IMAGE",
    modality: Annotated[str, typer.Option(help="Only images of this modality, as CT or CT\\\\MR.")] = "",
    other_patients: Annotated[bool, typer.Option(help="Leave out the example's own patient.")] = False,
    ranking: Annotated[
        str, typer.Option(help="HAMMING, ASYMMETRIC, OUTPUTS or CLASSES.  [default: as the node is set]")
    ] = "",
    distinct: Annotated[str, typer.Option(help="One case of each SERIES, STUDY or PATIENT, or NONE.")] = "NONE",
    server: Server = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Print the cases that look most like an image, from the database of --home or from a running node."""
    from node.cli.similar import WARNING, Asking, ask_database, ask_node, ranked_table

    asking = Asking.of(example, k, level, modality, other_patients=other_patients, ranking=ranking, distinct=distinct)
    if server is not None:
        cases = ask_node(_peer(server, home), asking)
    else:
        cases = ask_database(load_settings(home=home), asking)
    if as_json:
        print_json({"warning": WARNING, "example": asking.sop_instance_uid, "cases": [asdict(case) for case in cases]})
    else:
        console.print(ranked_table(cases, asking))


@app.command(epilog="Example: lookalike sample phantoms --patients 50 --seed 7")
def sample(
    directory: Annotated[Path, typer.Argument(help="Folder to write to.")],
    patients: Annotated[int, typer.Option(min=1)] = 12,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Write a phantom hospital: computed patients as DICOM files, with truth.csv beside them."""
    from hashing.phantoms.hospital import count, write_samples
    from hashing.progress import progress

    paths = write_samples(directory, patients, seed, workers=os.cpu_count() or 1)
    written = sum(1 for _ in progress(paths, "computing phantoms", count(patients)))
    console.print(plain(f"{written} instances of {patients} phantom patients in {directory}"), highlight=False)


@app.command(epilog="Example: lookalike dictionary > lookalike.dic")
def dictionary() -> None:
    """Print the private elements as a data dictionary for DCMTK (DCMDICTPATH)."""
    from node.dicom.private import dcmtk_dictionary

    sys.stdout.write(dcmtk_dictionary())


@app.command(epilog="Example: lookalike conformance --home /srv/lookalike > conformance.md")
def conformance(
    home: Home = None,
    defaults: Annotated[bool, typer.Option("--defaults", help="Use no settings but the defaults.")] = False,
) -> None:
    """Print the DICOM conformance statement of a node with these settings, as Markdown."""
    from node.conformance.statement import conformance_statement

    settings = Settings.model_construct() if defaults else load_settings(home=home)
    sys.stdout.write(conformance_statement(settings))


def _peer(server: str | None, home: Path | None) -> "Peer":
    from node.dicom.client import Peer

    return Peer.parse(server) if server else _own(load_settings(home=home))


def _own(settings: Settings) -> "Peer":
    from node.dicom.client import Peer

    running = _as_running(settings)
    return Peer(running.ae_title, running.plain_dicom_host, running.port)


def _as_running(settings: Settings) -> Settings:
    """Return the settings with the address of the node that runs in their home folder, whatever set that."""
    node = running_node(settings)
    if node is None:
        return settings
    address = {"ae_title": node.ae_title, "host": node.host, "port": node.port, "http_port": node.http_port}
    return settings.model_copy(update=address)


def _fail(message: str, status: int = 1) -> None:
    errors.print(Text("lookalike:", style="red"), plain(message), highlight=False, soft_wrap=True)
    sys.exit(status)
