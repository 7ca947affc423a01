"""What lies in a home folder, opened: spool, database, and what answers questions from them."""

from dataclasses import dataclass

from hashing.model.model_file import DEFAULT_MODEL, Model, read_model
from hashing.ranking_scores import Stage
from node.query.retriever import Retriever
from node.settings import Settings
from storage.database.database import Database
from storage.spool.queue import Retention, Spool


@dataclass(frozen=True, slots=True)
class Reading:
    """What every reader of the database needs."""

    database: Database
    retriever: Retriever


def model_of(settings: Settings) -> Model:
    """Name and fingerprint of the model in use."""
    return read_model(settings.model_path or DEFAULT_MODEL)


def open_spool(settings: Settings) -> Spool:
    """The queue between receiving and indexing."""
    retention = Retention(settings.set_aside_notes, settings.set_aside_bytes)
    return Spool(settings.spool_path, settings.spool_capacity, settings.spool_free_bytes, retention)


def open_for_writing(settings: Settings) -> Database:
    """The database, made if there is none; refused if its codes are of another model or length."""
    return Database.create_or_open(
        settings.database_path, settings.code_length, model_of(settings).identifier, settings.map_size_bytes
    )


def open_for_reading(settings: Settings) -> Reading:
    """The database as it is, with what answers questions from it."""
    database = Database.open(settings.database_path)
    return Reading(database, Retriever(open_spool(settings), model_of(settings).identifier, Stage(settings.ranking)))
