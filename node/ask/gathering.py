"""The examples of a question that was sent: its own images, and those to which its other objects refer."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hashing.codes import Codes
from hashing.ranking_scores import Outputs
from node.errors import Refusal, Status
from node.examples.image_encoder import FileOf, ImageEncoder, PixelSource
from node.examples.regions import Region
from node.examples.request import EncodedExample, ExampleClient, ExampleEntry, Reply
from node.ingest.outcome import ReferencedImage, Referral, Unusable
from node.query.question import MAX_EXAMPLES
from node.results.answer import ImageReference
from node.settings import Settings
from storage.database.database import Database
from storage.record import Attributes, Record
from storage.spool.questions import StoredQuestion

PROBLEMS: Final = {
    Status.EXAMPLE_UNKNOWN: "An image of the question is neither indexed nor to be had from the archive.",
    Status.REGION_OUTSIDE: "A region of the question does not lie within its image, or is too small.",
}
"""Sentences for people by the status of a refusal; others are told by its comment."""
SOURCES: Final = {PixelSource.ORIGINAL: "original pixels", PixelSource.PREVIEW: "preview"}
NO_ENCODER_S: Final = 60.0
"""Time beyond that of decoding in which an example must be encoded."""


@dataclass(frozen=True, slots=True)
class AskedExample:
    """An image, or a part of one, that look-alikes are searched for.

    Attributes
    ----------
    record
        Where it belongs: from the index, or from the object itself.
    codes, outputs
        One row for each frame; outputs are None if they were not kept.
    pixel_digest
        None for a part of an image.
    region
        None for the whole image.
    source
        "" for a whole image, else the pixels that the region was taken from.
    """

    record: Record
    codes: Codes
    outputs: Outputs | None
    pixel_digest: int | None
    frames: tuple[int, ...] = ()
    region: Region | None = None
    source: str = ""

    @property
    def reference(self) -> ImageReference:
        """Names it in results."""
        record = self.record
        return ImageReference(
            record.instance.get("SOPClassUID", ""), record.sop_instance_uid, record.series_instance_uid,
            record.study_instance_uid, record.series.get("Modality", ""), self.frames[0] if self.frames else None,
        )  # fmt: skip


@dataclass(slots=True)
class Gathering:
    """What a question amounts to.

    Attributes
    ----------
    attributes, place
        Patient and study attributes, and UIDs, of its first object; empty if no object could be read at all.
    problems
        Why some of it cannot be used, in sentences.
    """

    examples: list[AskedExample] = field(default_factory=list)
    attributes: Attributes = field(default_factory=dict)
    place: ImageReference | None = None
    problems: list[str] = field(default_factory=list)

    def key(self, *options: object) -> str:
        """Text that equal questions share, made of their images, regions and options."""
        parts = sorted(
            (one.record.sop_instance_uid, one.record.content_digest.hex(), one.frames, one.region or ())
            for one in self.examples
        )
        return hashlib.sha256(json.dumps([parts, sorted(self.problems), *options]).encode()).hexdigest()


class ExampleGatherer:
    """Gathers the examples of questions.

    Parameters
    ----------
    file_of
        Gives the files of images that were not sent.
    check
        Called again and again while something is waited for; it may raise.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        client: ExampleClient,
        file_of: FileOf,
        check: Callable[[], None],
    ) -> None:
        self._database, self._client, self._check = database, client, check
        self._limit_s = 2 * settings.decode_elapsed_s + NO_ENCODER_S
        self._images = ImageEncoder(database, client, file_of, self._limit_s, is_prompt=False)

    def gather(self, question: StoredQuestion) -> Gathering:
        """Read and encode the objects of a question.

        Raises
        ------
        node.examples.request.ServiceDownError
            The index role does not answer: the question can be tried again.
        """
        gathering = Gathering()
        for path in question.objects:
            self._add(gathering, path)
        if len(gathering.examples) > MAX_EXAMPLES:
            gathering.problems.append(f"A question has at most {MAX_EXAMPLES} images; these are more.")
            gathering.examples.clear()
        return gathering

    def _encode(self, request: ExampleEntry) -> Reply:
        return self._client.encode(request, self._limit_s, self._check)

    def _add(self, gathering: Gathering, path: Path) -> None:
        reply = self._encode(ExampleEntry(path))
        if isinstance(reply, Unusable):
            gathering.problems.append(f"An object of the question cannot be read: {reply.reason}.")
            reply = self._encode(ExampleEntry(path, is_header_only=True))
        if isinstance(reply, EncodedExample):
            example = _sent(reply)
            gathering.examples.append(example)
            _locate(gathering, {**example.record.patient, **example.record.study}, example.reference)
        elif isinstance(reply, Referral):
            sop, series, study = (reply.uids[f"{kind}InstanceUID"] for kind in ("SOP", "Series", "Study"))
            _locate(gathering, reply.attributes, ImageReference("", sop, series, study))
            gathering.problems += [reply.reason] if reply.reason else []
            for image in reply.images[: MAX_EXAMPLES + 1]:
                self._add_referenced(gathering, image)

    def _add_referenced(self, gathering: Gathering, image: ReferencedImage) -> None:
        try:
            example = self._indexed(image) if image.region is None else None
            gathering.examples.append(example or self._encoded(image))
        except Refusal as refusal:
            sentence = f"An image of the question cannot be used: {refusal.comment}."
            gathering.problems.append(PROBLEMS.get(refusal.status, sentence))

    def _indexed(self, image: ReferencedImage) -> AskedExample | None:
        """The example as the index has it; None if its frames are not those that were indexed."""
        with self._database.snapshot() as snapshot:
            record = snapshot.record(image.sop_instance_uid)
            if record is None or not record.frames or not {frame - 1 for frame in image.frames} <= {*record.frames}:
                return None
            rows = [record.frames.index(frame - 1) for frame in image.frames] or slice(None)
            outputs, digest = snapshot.outputs_of(image.sop_instance_uid), snapshot.pixel_digest(image.sop_instance_uid)
            codes = snapshot.codes_of(image.sop_instance_uid)[rows]
            return AskedExample(record, codes, outputs and outputs[rows], digest, image.frames)

    def _encoded(self, image: ReferencedImage) -> AskedExample:
        found = self._images.encode(image, self._check)
        source = SOURCES[found.source] if image.region else ""
        return AskedExample(
            found.record, found.codes, found.outputs, found.pixel_digest, image.frames, image.region, source
        )


def _sent(reply: EncodedExample) -> AskedExample:
    assert reply.prepared is not None, "it was a file"
    return AskedExample(reply.prepared.record, reply.codes, reply.outputs, reply.prepared.pixel_digest)


def _locate(gathering: Gathering, attributes: Attributes, place: ImageReference) -> None:
    """Remember whose study the question comes from: that of its first object."""
    if gathering.place is None:
        gathering.attributes, gathering.place = attributes, place
