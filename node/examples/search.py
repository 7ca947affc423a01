"""Queries by what was encoded for them: a posted example, or a region of an image."""

from dataclasses import dataclass, replace
from typing import Final

from pydicom.tag import BaseTag, Tag

from hashing.codes import Codes
from hashing.ranking_scores import Outputs
from node.dicom.private import GROUP, Element
from node.errors import Refusal, Status
from node.examples.image_encoder import ImageEncoder
from node.examples.request import ServiceDownError
from node.ingest.outcome import ReferencedImage
from node.query.answers import exclude
from node.query.catalog import Check, go_on
from node.query.question import Exclusion, Question
from node.query.retriever import LookAlikes, Retriever
from storage.database.snapshot import Snapshot
from storage.record import Level, Record
from storage.search.index import Filter

ENCODING_S: Final = 30.0
"""Time beyond that of decoding in which the example of a query must be encoded; the first one starts a worker."""


@dataclass(frozen=True, slots=True)
class ExampleSearch:
    """Finds look-alikes of what was encoded; a `node.query.find.Search`.

    Attributes
    ----------
    record
        Where the example belongs, as far as it has attributes.
    codes, outputs
        One row for each frame of the record; of a region, one row.
    pixel_digest
        Images with these pixels are its duplicates; None if it is a part of an image.
    modality
        None if it is not known.
    region_source
        Pixels that the region was taken from; "" for a whole image.
    """

    retriever: Retriever
    record: Record
    codes: Codes
    outputs: Outputs | None
    pixel_digest: int | None = None
    modality: str | None = None
    region_source: str = ""

    def __call__(
        self,
        snapshot: Snapshot,
        question: Question,
        level: Level,
        where: Filter,
        *,
        count: bool = True,
        check: Check = go_on,
    ) -> LookAlikes:
        """Look-alikes of the example among the candidates.

        Raises
        ------
        Refusal
            C103, C104, C107: a frame that it does not have, another model, another snapshot.
        """
        check()
        self.retriever.check_state(snapshot, question)
        rows = slice(None) if question.region else self._rows(question)
        if Exclusion.DUPLICATE in question.exclusions and self.pixel_digest is not None:  # it need not be indexed
            where = replace(where, excluded_digests=frozenset({self.pixel_digest}))
            question = replace(question, exclusions=question.exclusions - {Exclusion.DUPLICATE})
        where = exclude(snapshot, [self.record], question, level, where)
        outputs = None if self.outputs is None else self.outputs[rows]
        modality, codes = None if question.region else self.modality, self.codes[rows]
        found = self.retriever.nearest(
            snapshot, codes, question, level, where, outputs, count=count, modality=self.modality
        )
        return replace(found, modality=modality, region_source=self.region_source)

    def _rows(self, question: Question) -> list[int] | slice:
        """Rows of the frames that the question names, or all."""
        frames = self.record.frames
        if not all(frame - 1 in frames for frame in question.frames):
            numbers = ",".join(str(frame + 1) for frame in frames)
            raise Refusal(Status.EXAMPLE_NOT_HASHABLE, f"frames of the example: {numbers}")
        return [frames.index(frame - 1) for frame in question.frames] or slice(None)


class RegionSearcher:
    """Encodes regions of images for queries; a `node.query.find.RegionSearch`."""

    def __init__(self, retriever: Retriever, encoder: ImageEncoder) -> None:
        self._retriever, self._encoder = retriever, encoder

    def __call__(self, question: Question, check: Check) -> ExampleSearch:
        """Encode the region of the question, of the frame that it names or of the first.

        Raises
        ------
        Refusal
            C101, C102, C103, C105, C106: why it cannot be encoded. A700: it can later.
        """
        image = ReferencedImage("", question.examples[0], "", "", question.frames or (1,), question.region)
        try:
            found = self._encoder.encode(image, check)
        except ServiceDownError as error:
            raise Refusal(Status.OUT_OF_RESOURCES, f"region cannot be encoded: {error}") from error
        except Refusal as refusal:
            raise self._named(refusal, question) from refusal
        return ExampleSearch(self._retriever, found.record, found.codes, found.outputs, region_source=found.source)

    def _named(self, refusal: Refusal, question: Question) -> Refusal:
        """The refusal with the element at fault; of an unknown image, with what is known of it."""
        if refusal.status == Status.EXAMPLE_UNKNOWN:
            return self._retriever.why_unknown(question, question.examples[0])
        is_region = refusal.status == Status.REGION_OUTSIDE
        element = Element.EXAMPLE_REGION if is_region else Element.EXAMPLE_SOP_INSTANCE_UID
        return Refusal(refusal.status, refusal.comment, _tag(question, element))


def _tag(question: Question, element: Element) -> BaseTag:
    return Tag(GROUP, question.block << 8 | element)
