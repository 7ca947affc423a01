"""Images that are named by their UIDs, and parts of them, encoded: from their original pixels, or else the preview."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from hashing.codes import Codes
from hashing.images.pixel_error import PixelError
from hashing.ranking_scores import Outputs
from node.errors import Refusal, Status
from node.examples.regions import region_of_preview
from node.examples.request import ExampleClient, ExampleEntry, PreviewPart, usable
from node.ingest.outcome import ReferencedImage
from node.query.retriever import NO_PIXELS_COMMENT
from storage.database.database import Database
from storage.record import Record

OUTSIDE_COMMENT: Final = "region is not within the image"

Check = Callable[[], None]
FileOf = Callable[[str, Check], AbstractContextManager[Path | None]]
"""Function that gives the file of an image by its SOP Instance UID while a block runs; None if it cannot be had."""


class PixelSource(StrEnum):
    """The pixels that a region was taken from."""

    ORIGINAL = "ORIGINAL"
    PREVIEW = "PREVIEW"


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """An image, or a part of one, with its codes.

    Attributes
    ----------
    record
        From the index, or from the object itself.
    codes : (n, words)
        One for each frame; outputs have as many rows.
    pixel_digest
        None for a part of an image.
    """

    record: Record
    codes: Codes
    outputs: Outputs | None
    pixel_digest: int | None
    source: PixelSource


class ImageEncoder:
    """Encodes images that are named by their UIDs.

    Parameters
    ----------
    file_of
        Gives originals.
    limit_s
        Time in which an image must be encoded.
    is_prompt
        True if callers wait for the result.
    """

    def __init__(
        self, database: Database, client: ExampleClient, file_of: FileOf, limit_s: float, *, is_prompt: bool
    ) -> None:
        self._database, self._client, self._file_of = database, client, file_of
        self._limit_s, self._is_prompt = limit_s, is_prompt

    def encode(self, image: ReferencedImage, check: Check) -> EncodedImage:
        """Encode an image from its original pixels, or a region of it from the kept preview where these are not there.

        Parameters
        ----------
        check
            Called again and again while something is waited for; it may raise.

        Raises
        ------
        Refusal
            C101: it cannot be had. C102, C103: it has no pixels, or they cannot be used. C106: the region is not within
            it, or too small.
        node.examples.request.ServiceDownError
            The index role does not answer: the same can be tried again.
        """
        with self._file_of(image.sop_instance_uid, check) as path:
            if path is not None:
                return self._original(image, path, check)
        return self._part_of_preview(image, check)

    def _original(self, image: ReferencedImage, path: Path, check: Check) -> EncodedImage:
        entry = ExampleEntry(path, region=image.region, frames=image.frames, is_prompt=self._is_prompt)
        reply = usable(self._client.encode(entry, self._limit_s, check))
        assert reply.prepared is not None, "it was a file"
        digest = reply.prepared.pixel_digest if image.region is None else None
        return EncodedImage(reply.prepared.record, reply.codes, reply.outputs, digest, PixelSource.ORIGINAL)

    def _part_of_preview(self, image: ReferencedImage, check: Check) -> EncodedImage:
        """Encode a region of the frame that is named, else of the first that is indexed."""
        with self._database.snapshot() as snapshot:
            record = snapshot.record(image.sop_instance_uid)
            if record is None or image.region is None:
                raise Refusal(Status.EXAMPLE_UNKNOWN, "the image is not here and cannot be fetched")
            if not record.frames:
                raise Refusal(Status.EXAMPLE_WITHOUT_PIXELS, NO_PIXELS_COMMENT)
            frame = image.frames[0] - 1 if image.frames else record.frames[0]
            preview = snapshot.preview(image.sop_instance_uid, frame)
        if preview is None:
            raise Refusal(Status.EXAMPLE_NOT_HASHABLE, "no preview of this frame is kept")
        try:
            rows, columns = (int(record.instance.get(side, "0")) for side in ("Rows", "Columns"))
            region = region_of_preview(image.region, rows, columns, preview.shape[0])
        except (PixelError, ValueError) as error:
            raise Refusal(Status.REGION_OUTSIDE, OUTSIDE_COMMENT) from error
        part = PreviewPart(preview, region, record.series.get("Modality", ""))
        reply = usable(self._client.encode(part, self._limit_s, check))
        return EncodedImage(record, reply.codes, reply.outputs, None, PixelSource.PREVIEW)
