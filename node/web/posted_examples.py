"""Posted examples: encoded by the index role, and kept nowhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

from node.access.data_key import vault_of
from node.errors import Refusal, Status
from node.examples.image_encoder import PixelSource
from node.examples.request import EncodedExample, ExampleClient, ExampleEntry, ServiceDownError, usable
from node.examples.search import ENCODING_S, ExampleSearch
from node.query.question import Question
from node.query.retriever import Retriever
from node.settings import Settings
from storage.database import columns
from storage.sealed_file import SealedWriter

SUFFIXES: Final = {"application/dicom": ".dcm", "image/png": ".png", "image/jpeg": ".jpg"}
"""Suffix of the file by the media type that its sender names."""


class PostedExamples:
    """Makes searches of posted files.

    A file lies in `run/examples` of the home folder while it is decoded, and is deleted then, whatever happens.
    """

    def __init__(self, settings: Settings, retriever: Retriever) -> None:
        self._folder, self._limit_s = settings.run_path / "examples", settings.example_limit_s + ENCODING_S
        self._client, self._retriever, self._vault = ExampleClient(settings), retriever, vault_of(settings)
        for left in self._folder.glob("*"):  # by a kill
            left.unlink(missing_ok=True)

    @contextmanager
    def file(self, suffix: str) -> Iterator[tuple[Path, SealedWriter]]:
        """Path of an empty file, and what writes an example to it; the file is gone after the block."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=self._folder, suffix=suffix) as file:
            yield Path(file.name), self._vault.writer(file.fileno())

    def encode(self, path: Path, question: Question, modality: str = "") -> EncodedExample:
        """Decode and encode a file, or the region of it that the question names.

        Parameters
        ----------
        path
            Its suffix is one of `SUFFIXES`.
        modality
            Modality of a picture; a DICOM object says its own.

        Raises
        ------
        Refusal
            C102, C103, C106: it has no image, or cannot be decoded within the limits, or has no such region. A700: the
            index role does not answer.
        """
        region, frames = question.region, ((question.frames or (1,)) if question.region else ())
        entry = ExampleEntry(path, region=region, frames=frames, is_prompt=True, modality=modality)
        try:
            return usable(self._client.encode(entry, self._limit_s))
        except ServiceDownError as error:
            raise Refusal(Status.OUT_OF_RESOURCES, f"example cannot be encoded: {error}") from error

    def search(self, encoded: EncodedExample, question: Question, modality: str = "") -> ExampleSearch:
        """Search by what a file was encoded to; parameters are those of `encode`."""
        assert encoded.prepared is not None, "it was a file"
        record, digest = encoded.prepared.record, None if question.region else encoded.prepared.pixel_digest
        own = columns.modality(record.series) or modality or None
        source = str(PixelSource.ORIGINAL) if question.region else ""
        return ExampleSearch(self._retriever, record, encoded.codes, encoded.outputs, digest, own, source)
