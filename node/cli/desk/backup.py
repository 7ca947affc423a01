"""`lookalike backup` and `lookalike restore-backup`: a verified copy of the database, taken while the node runs."""

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from node.access.data_key import FILE as DATA_KEY
from node.access.data_key import vault_of
from node.cli.terminal import console_for, plain
from node.configuration import load_settings
from node.errors import NodeError
from node.home import make_private, open_database
from node.processes import Role, node_lock, role_lock
from node.settings import FILE_NAME, Settings
from node.version import __version__
from storage.corrections.copying import copy_database
from storage.database.database import Database
from storage.durable import make_private_folder, sync_folder, write_durably
from storage.record import Level
from storage.vault import Vault

console = console_for()
app = typer.Typer()

DATA: Final = "data.mdb"
MANIFEST: Final = "manifest.json"
PIECE_BYTES: Final = 1 << 20

Home = Annotated[Path | None, typer.Option(help="Folder of settings.toml and database.  [default: var]")]


class BackupError(NodeError):
    """A backup cannot be made, or is not what was made."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds."""

    release: str
    model: str
    code_length: int
    studies: int
    instances: int
    codes: int
    sha256: str


@app.command(epilog="Example: lookalike backup /backup/2026-11-30 --home /srv/lookalike")
def backup(folder: Annotated[Path, typer.Argument(help="A new folder.")], home: Home = None) -> None:
    """Copy the database, as of one moment, into a new folder, and verify the copy; the node may run."""
    made = make_backup(load_settings(home=home), folder)
    console.print(plain(f"{made.instances:,} instances of {made.studies:,} studies in {folder}"), highlight=False)


@app.command("restore-backup", epilog="Example: lookalike restore-backup /backup/2026-11-30 --home /srv/lookalike-2")
def restore_backup(folder: Annotated[Path, typer.Argument(help="A backup.")], home: Home = None) -> None:
    """Verify a backup, and put its database into a home folder that has none; the node must not run."""
    restored = restore(load_settings(home=home), folder)
    console.print(plain(f"{restored.instances:,} instances of {restored.studies:,} studies restored"), highlight=False)


def make_backup(settings: Settings, folder: Path) -> Manifest:
    """Make a backup in a new folder; one that is not whole is removed.

    Raises
    ------
    BackupError, storage.errors.StorageError, OSError, lmdb.Error
        It cannot be made, or the copy is not as a database must be.
    """
    if folder.exists():
        raise BackupError(f"{folder} is there already: name a new folder")
    open_database(settings).close()  # refuses what is none
    make_private_folder(folder)
    try:
        copy = folder / "database"
        make_private_folder(copy)
        copy_database(settings.database_path, copy, settings.map_size_bytes)
        manifest = _verified(copy, vault_of(settings))
        for name in (FILE_NAME, DATA_KEY):
            if (settings.home / name).exists():
                shutil.copyfile(settings.home / name, folder / name)
        (folder / MANIFEST).write_text(json.dumps(asdict(manifest), indent=2))
        _sync(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return manifest


def restore(settings: Settings, folder: Path) -> Manifest:
    """Put the database of a backup into a home folder that has none.

    Raises
    ------
    BackupError
        The backup is damaged, or the home folder has a database.
    node.locks.InUseError
        A node runs there.
    """
    try:
        expected = Manifest(**json.loads((folder / MANIFEST).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise BackupError(f"{folder} is no backup: its {MANIFEST} cannot be read") from error
    make_private(settings)
    with node_lock(settings), role_lock(settings, Role.INDEX):
        target = settings.database_path / DATA
        if target.exists():
            raise BackupError(f"{settings.database_path} has a database: choose another home folder (--home)")
        if (settings.home / DATA_KEY).exists():
            raise BackupError(f"{settings.home} has a key of its own: choose another home folder (--home)")
        if _sha256(folder / "database" / DATA) != expected.sha256:
            raise BackupError(f"{folder} is damaged: its database is not the one that was copied")
        part = target.with_suffix(".part")
        shutil.copyfile(folder / "database" / DATA, part)
        part.chmod(0o600)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        if (folder / DATA_KEY).exists():
            write_durably([(folder / DATA_KEY).read_bytes()], settings.run_path / DATA_KEY, settings.home / DATA_KEY)
        part.rename(target)
        sync_folder(settings.database_path)
    return expected


def _verified(copy: Path, vault: Vault) -> Manifest:
    """What a copy holds, once every invariant of it was looked at."""
    with Database.open(copy, vault=vault) as database:
        for problem in database.verify():
            raise BackupError(f"the copy is no good database: {problem}")
        with database.snapshot() as snapshot:
            counts = snapshot.count(Level.STUDY), snapshot.count(Level.IMAGE), snapshot.rows
            facts = snapshot.model, snapshot.code_length
    return Manifest(__version__, *facts, *counts, _sha256(copy / DATA))


def _sync(folder: Path) -> None:
    for path in (folder / "database" / DATA, folder / MANIFEST):
        with path.open("rb") as file:
            os.fsync(file.fileno())
    for inside in (folder / "database", folder, folder.absolute().parent):
        sync_folder(inside)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                digest.update(piece)
    except FileNotFoundError:
        return ""
    return digest.hexdigest()
