"""What the endpoints of the page and of DICOMweb work with, opened once for a process."""

from dataclasses import dataclass

from node.access.audit_trail import AuditTrail
from node.ask.originals import Originals
from node.ask.region_queries import region_searcher
from node.corrections.follower import CorrectionFollower
from node.corrections.order_book import OrderBook
from node.home import Reading, open_objects
from node.ingest.pressure import Pressure
from node.ingest.receiver import Receiver
from node.ingest.refusals import Refusals
from node.query.find import Finder
from node.retrieve.fetch import ExampleFetcher
from node.retrieve.kept import KeptObjects
from node.retrieve.source import SourceArchive
from node.settings import Settings
from node.web.pictures import Pictures
from node.web.posted_examples import PostedExamples

WEB_NUMBER = 0
"""Number under which the page's process counts refusals; receivers count from 1."""


@dataclass(frozen=True, slots=True)
class WebResources:
    """Everything that an endpoint needs.

    Attributes
    ----------
    finder
        Answers searches as it does those of C-FIND.
    examples
        Makes searches of posted files.
    receiver
        Takes instances into the spool as it does those of C-STORE.
    source
        The PACS that holds the images; None if none is set.
    kept
        Objects that the node keeps itself.
    pictures
        Makes pictures of images, larger than their previews where that can be.
    trail
        Records who asked for what.
    """

    settings: Settings
    reading: Reading
    finder: Finder
    examples: PostedExamples
    receiver: Receiver
    source: SourceArchive | None
    kept: KeptObjects
    pictures: Pictures
    trail: AuditTrail

    @classmethod
    def of(cls, settings: Settings, reading: Reading) -> "WebResources":
        """Return the resources over an open database."""
        spool = reading.retriever.spool
        follow = CorrectionFollower(settings, OrderBook(settings.corrections_path)).follow_key_objects
        receiver = Receiver(spool, Pressure(spool, settings), Refusals(settings.run_path, WEB_NUMBER), follow)
        source = SourceArchive(settings, receiver) if settings.source_peer else None
        fetches = source is not None and settings.fetch_missing_example
        fetch = ExampleFetcher(settings, source, spool).fetch if source is not None and fetches else None
        database, retriever = reading.database, reading.retriever
        originals = Originals(settings, settings.run_path / f"originals-{WEB_NUMBER}", receiver.refusals)
        finder = Finder(settings, database, retriever, fetch, region_searcher(settings, database, retriever, originals))
        kept = KeptObjects(settings, database, open_objects(settings))
        examples, pictures = PostedExamples(settings, retriever), Pictures(settings, originals)
        trail = AuditTrail(settings, "web")
        return cls(settings, reading, finder, examples, receiver, source, kept, pictures, trail)

    def close(self) -> None:
        """Write what was counted and recorded."""
        self.receiver.refusals.write()
        self.trail.close()
