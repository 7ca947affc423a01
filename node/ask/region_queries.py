"""Queries by a region of an image: what encodes the region in a process that answers queries."""

from node.ask.originals import Originals
from node.examples.image_encoder import ImageEncoder
from node.examples.request import ExampleClient
from node.examples.search import ENCODING_S, RegionSearcher
from node.query.retriever import Retriever
from node.settings import Settings
from storage.database.database import Database


def region_searcher(
    settings: Settings, database: Database, retriever: Retriever, originals: Originals
) -> RegionSearcher:
    """Return what encodes regions for queries."""
    limit_s = settings.example_limit_s + ENCODING_S
    encoder = ImageEncoder(database, ExampleClient(settings), originals.file_of, limit_s, is_prompt=True)
    return RegionSearcher(retriever, encoder)
