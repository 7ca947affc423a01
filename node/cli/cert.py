"""`lookalike cert`: certificates to try TLS with."""

import re
from pathlib import Path
from typing import Annotated, Final

import typer

from node.cli.terminal import console_for, plain
from node.errors import NodeError

console = console_for()
app = typer.Typer()

FILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
SETTINGS: Final = """
# for settings.toml
tls_port = 2762
https = true
tls_certificate = "{folder}/{name}.pem"
tls_key = "{folder}/{name}.key"
tls_authorities = "{folder}/authority.pem"
"""


class CertificateNameError(NodeError):
    """A name cannot be that of a file."""


@app.command(
    epilog="Example: lookalike cert certificates --host node.hospital --host 10.0.0.5 --client CT1 --client PACS"
)
def cert(
    folder: Annotated[Path, typer.Argument(help="Folder to write to; an authority that lies there is used.")],
    name: Annotated[str, typer.Option(help="Name of the node's certificate.")] = "node",
    host: Annotated[list[str] | None, typer.Option(help="Name or address of the node.  [default: localhost]")] = None,
    client: Annotated[list[str] | None, typer.Option(help="Name of a caller or peer that gets one, too.")] = None,
    days: Annotated[int, typer.Option(help="How long they are valid.", min=1, max=3650)] = 30,
) -> None:
    """Make a test authority with certificates for TLS; a hospital uses those of its own authority."""
    from node.access.certificates import Authority

    hosts, clients = host or ["localhost", "127.0.0.1", "::1"], client or []
    for one in (name, *clients):
        if not FILE_NAME.fullmatch(one) or one == "authority":
            raise CertificateNameError(f"{one!r} is no name for a file: use letters, digits, dots and dashes")
    authority = Authority.open(folder, days)
    authority.issue(name, hosts, days)
    for one in clients:
        authority.issue(one, hosts, days)
    for line in SETTINGS.format(folder=folder.absolute(), name=name).strip().split("\n"):
        console.print(plain(line), highlight=False, soft_wrap=True)
