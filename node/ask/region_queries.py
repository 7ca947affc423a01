"""Queries by a region of an image: what encodes the region in a process that answers queries."""

from pathlib import Path

from node.ask.originals import Originals
from node.examples.image_encoder import ImageEncoder
from node.examples.request import ExampleClient
from node.examples.search import ENCODING_S, RegionSearcher
from node.ingest.refusals import Refusals
from node.query.retriever import Retriever
from node.settings import Settings
from storage.database.database import Database


def region_searcher(
    settings: Settings, database: Database, retriever: Retriever, refusals: Refusals, folder: Path
) -> RegionSearcher:
    """Return what encodes regions for queries.

    Parameters
    ----------
    folder
        Where originals from the source PACS lie while they are read; no other process uses it.
    """
    originals, limit_s = Originals(settings, folder, refusals), settings.example_limit_s + ENCODING_S
    encoder = ImageEncoder(database, ExampleClient(settings), originals.file_of, limit_s, is_prompt=True)
    return RegionSearcher(retriever, encoder)
