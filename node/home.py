"""The home folder of a node: it is made private, and its spool, database and retriever are opened."""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hashing.codes import CodeLengthError, words
from hashing.model.model_file import DEFAULT_MODEL, Model, read_model
from hashing.ranking_scores import Ranking
from node.access.data_key import vault_of
from node.errors import SettingsError
from node.remote_index import open_index
from node.settings import FILE_NAME, Settings
from storage.database.database import Database
from storage.errors import NoDatabase
from storage.objects.object_store import ObjectStore
from storage.objects.region_table import RegionTable
from storage.objects.report_table import ReportTable
from storage.progress.coverage import CoverageWatch
from storage.spool.outbox import Outbox, OutboxState
from storage.spool.questions import QuestionSpool
from storage.spool.queue import Retention, Spool

if TYPE_CHECKING:
    from node.query.retriever import Retriever

OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
"""Permissions of everybody but the owner; the home folder holds patient data, and grants none of them."""

NAMES: Final = (
    FILE_NAME, "ask", "audit", "commitments", "corrections", "data-key", "database", "log", "objects", "pull",
    "regions", "reports", "run", "spool",
)  # fmt: skip
"""Files and folders of the node in its home folder."""

HARMLESS: Final = ("lost+found", "*.log")
"""Patterns of other files that a home folder of its own may hold: the folder of a mount point, and log files."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The database, opened for reading only, and the retriever that searches it.

    Attributes
    ----------
    check_index
        Raises `storage.errors.StorageError` if the index does not answer.
    """

    database: Database
    retriever: "Retriever"
    check_index: Callable[[], object] = lambda: None


def model_of(settings: Settings) -> Model:
    """Return the name and the fingerprint of the model in use."""
    return read_model(settings.model_path or DEFAULT_MODEL)


def require_database(settings: Settings) -> None:
    """Refuse a folder in which no node ever started, before a command that was given it by mistake makes files there.

    Raises
    ------
    storage.errors.NoDatabase
        It holds no database.
    """
    if not any(settings.database_path.glob("*.mdb")):
        raise NoDatabase(settings.database_path)


def open_spool(settings: Settings) -> Spool:
    """Return the queue between receiving and indexing."""
    _make_folders(settings)
    retention = Retention(settings.set_aside_notes, settings.set_aside_bytes)
    vault = vault_of(settings)
    return Spool(settings.spool_path, settings.spool_capacity, settings.spool_free_bytes, retention, vault)


def open_objects(settings: Settings) -> ObjectStore:
    """Return the original objects that are kept; `retain` says whether new ones are."""
    return ObjectStore(settings.objects_path, vault_of(settings))


def open_reports(settings: Settings) -> ReportTable:
    """Return the reports that are kept; `keep_reports` says whether new ones are."""
    return ReportTable(settings.reports_path, vault_of(settings))


def open_regions(settings: Settings) -> RegionTable:
    """Return the codes of parts of images; `region_codes` says whether they are made and used."""
    model = f"{model_of(settings).identifier} {settings.code_length}"
    return RegionTable(settings.regions_path, model, words(settings.code_length), vault_of(settings))


def open_questions(settings: Settings) -> QuestionSpool:
    """Return the questions that were sent."""
    path, vault = settings.ask_path / "questions", vault_of(settings)
    return QuestionSpool(path, settings.ask_capacity, settings.spool_free_bytes, vault)


def open_outbox(settings: Settings) -> Outbox:
    """Return the answers on their way."""
    return Outbox(settings.ask_path / "outbox", vault_of(settings))


def open_mail(settings: Settings) -> tuple[QuestionSpool, Outbox] | None:
    """Return the questions that were sent and the answers on their way; None if nobody may ask or ever did."""
    if not settings.answers_questions and not settings.ask_path.is_dir():
        return None
    return open_questions(settings), open_outbox(settings)


def asked(settings: Settings) -> tuple[int, OutboxState]:
    """Number of questions that wait for an answer, and the state of the answers."""
    if not settings.ask_path.is_dir():
        return 0, OutboxState()
    return open_questions(settings).depth(), open_outbox(settings).state()


def open_for_writing(settings: Settings) -> Database:
    """Return the database opened for writing; it is created if there is none.

    Raises
    ------
    SettingsError
        The database holds codes of another length.
    storage.errors.StorageError, lmdb.Error
        The database holds codes of another model, or cannot be read or written.
    """
    _make_folders(settings)
    path, model = settings.database_path, model_of(settings).identifier
    try:
        vault = vault_of(settings)
        return Database.create_or_open(path, settings.code_length, model, settings.map_size_bytes, vault=vault)
    except CodeLengthError as error:
        raise SettingsError(
            f"{path} holds codes of {error.found} bits, and code_length is {settings.code_length}: "
            f"set code_length to {error.found}, or choose another home folder"
        ) from error


def open_database(settings: Settings, *, readonly: bool = True) -> Database:
    """Return the database that is there; errors are those of `Database.open` and `vault_of`."""
    require_database(settings)
    return Database.open(settings.database_path, readonly=readonly, vault=vault_of(settings))


def open_for_reading(settings: Settings) -> Reading:
    """Return the database opened for reading, with its retriever."""
    from node.query.retriever import Retriever  # with Numba, which most processes of the command line do without
    from storage.search.regions import RegionIndex

    database = open_database(settings)
    model, ranking = model_of(settings), Ranking(settings.ranking)
    coverage, family_first = CoverageWatch(settings.pull_path, settings.map_size_bytes), settings.family_first
    view, check = open_index(settings, database)
    regions = RegionIndex(open_regions(settings), settings.region_shortlist) if settings.region_codes else None
    retriever = Retriever(
        open_spool(settings),
        view,
        model.identifier,
        ranking,
        coverage,
        family_first=not model.architecture.modality_bits if family_first is None else family_first,
        regions=regions,
        usual_distance=partial(model.usual_distance, settings.code_length),
    )
    return Reading(database, retriever, check)


def make_private(settings: Settings) -> None:
    """Make the home folder readable by its owner only, and everything that this process will write there.

    Files that an earlier release or another program left open to others are closed. A home folder that also holds
    other files keeps its permissions, since others may need them, and so do files of another user: `exposed_paths`
    names them.

    Raises
    ------
    SettingsError
        A file lies where a folder should be.
    OSError
        The folder cannot be made, or its permissions cannot be set.
    """
    os.umask(OTHERS)
    _make_folders(settings)
    for path in exposed_paths(settings):
        if _may_close(path) and (path != settings.home or _is_only_ours(path)):
            path.chmod(path.stat().st_mode & ~OTHERS)


def exposed_paths(settings: Settings) -> Iterator[Path]:
    """Yield the files and folders of a home folder that others than its owner may read or write.

    Folders come before their contents. The contents of a folder that only its owner can enter are not looked at:
    nobody else reaches them, and a spool may hold a million files.
    """
    if _is_exposed(settings.home):
        yield settings.home
    for name in NAMES:
        yield from _exposed_below(settings.home / name)


def _exposed_below(path: Path) -> Iterator[Path]:
    if path.is_symlink() or not _is_exposed(path):
        return
    inside = sorted(path.iterdir()) if path.is_dir() else []
    yield path
    for entry in inside:
        yield from _exposed_below(entry)


def _is_exposed(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & OTHERS)
    except FileNotFoundError:  # none yet, or indexed meanwhile
        return False


def _may_close(path: Path) -> bool:
    return path.exists() and os.geteuid() in (0, path.stat().st_uid)


def _is_only_ours(home: Path) -> bool:
    return all(any(path.match(pattern) for pattern in (*NAMES, *HARMLESS)) for path in home.iterdir())


def _make_folders(settings: Settings) -> None:
    """Make the folders that are missing, for their owner only, whatever the umask of this process."""
    for folder in (
        settings.home,
        settings.run_path,
        settings.spool_path,
        settings.database_path,
        settings.corrections_path,
    ):
        if folder.is_dir():
            continue
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=stat.S_IRWXU, exist_ok=True)
        except FileExistsError as error:
            raise SettingsError(f"{error.filename} is no folder: choose another home folder (--home)") from error
