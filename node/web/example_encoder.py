"""Posted examples: decoded in killable workers, encoded in this process, and kept nowhere."""

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Lock
from typing import IO, TYPE_CHECKING, Final

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from hashing.images.pixels import PixelError
from hashing.model.model_file import DEFAULT_MODEL
from node.errors import NO_PIXELS, Refusal, Status
from node.examples.regions import Region, cropped
from node.ingest.decode_worker import WorkerLimits, prepare_file
from node.ingest.decoding import pixel_limits_of
from node.ingest.outcome import Outcome, Prepared
from node.ingest.worker_pool import WorkerPool, WorkersFailed
from node.query.catalog import Check, go_on
from node.query.question import Exclusion, Question
from node.query.retriever import NO_PIXELS_COMMENT, LookAlikes, Retriever, exclude
from node.settings import Settings
from node.web.example_file import prepare_example
from storage.database.snapshot import Snapshot
from storage.record import Level
from storage.search.index import Filter
from storage.spool.queue import Entry

if TYPE_CHECKING:
    from hashing.model.encoder import Encoder, Encoding

SIDE: Final = 224
WORKERS: Final = 1
"""One example after the other: a page has few readers, and indexing needs the processors."""


@dataclass(frozen=True, slots=True)
class PostedExample:
    """An example that is not indexed, ready to be compared.

    Attributes
    ----------
    prepared
        Its record, as far as it has attributes, and its frames as network inputs.
    encoding
        Codes and outputs, one for each frame.
    """

    prepared: Prepared
    encoding: "Encoding"

    @property
    def middle(self) -> int:
        """Number of the middle one of its frames, counted from 1."""
        frames = self.prepared.record.frames
        return frames[len(frames) // 2] + 1

    def preview(self, frame: int) -> NDArray[np.uint8]:
        """(224, 224) network input of a frame, counted from 1."""
        return np.asarray(self.prepared.images[self.prepared.record.frames.index(frame - 1)], np.uint8)

    def search(
        self,
        retriever: Retriever,
        snapshot: Snapshot,
        question: Question,
        level: Level,
        where: Filter,
        *,
        count: bool = True,
        check: Check = go_on,
    ) -> LookAlikes:
        """Look-alikes of the example; bound to a retriever, a `node.query.find.Search`.

        Raises
        ------
        Refusal
            C103, C104, C107: a frame that it does not have, another model, another snapshot.
        """
        check()
        retriever.check_state(snapshot, question)
        encoding = self._chosen(question)
        if Exclusion.DUPLICATE in question.exclusions:  # what is not indexed has no digest there
            where = replace(where, excluded_digests=frozenset({self.prepared.pixel_digest}))
            question = replace(question, exclusions=question.exclusions - {Exclusion.DUPLICATE})
        where = exclude(snapshot, [self.prepared.record], question, level, where)
        return retriever.nearest(snapshot, encoding.codes, question, level, where, encoding.outputs, count=count)

    def _chosen(self, question: Question) -> "Encoding":
        """Encoding of the frames that the question names, or of all."""
        frames = self.prepared.record.frames
        if not all(frame - 1 in frames for frame in question.frames):
            numbers = ",".join(str(frame + 1) for frame in frames)
            raise Refusal(Status.EXAMPLE_NOT_HASHABLE, f"frames of the example: {numbers}")
        chosen = [frames.index(frame - 1) for frame in question.frames] or slice(None)
        return replace(
            self.encoding, relaxed=self.encoding.relaxed[chosen], class_scores=self.encoding.class_scores[chosen]
        )


class ExampleEncoder:
    """Makes examples of posted files. Worker and network are started with the first file.

    A file lies in `run/examples` of the home folder while it is decoded, and is deleted then, whatever happens.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings, self._folder = settings, settings.run_path / "examples"
        self._awaited: dict[Entry, Future[Outcome]] = {}
        self._pool: WorkerPool | None = None
        self._starting, self._encoding = Lock(), Lock()
        for left in self._folder.glob("*"):  # by a kill
            left.unlink(missing_ok=True)

    def stop(self) -> None:
        """End the worker."""
        with self._starting:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.stop()

    @contextmanager
    def file(self, suffix: str) -> Iterator[IO[bytes]]:
        """An empty file to write an example to; it is gone after the block."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=self._folder, suffix=suffix) as file:
            yield file

    def encode(self, path: Path, modality: str = "") -> PostedExample:
        """Decode and encode a file.

        Parameters
        ----------
        path
            Its suffix is one of `SUFFIXES`.
        modality
            Modality of a picture; a DICOM object says its own.

        Raises
        ------
        Refusal
            C102, C103: it has no image, or cannot be decoded within the limits. A700: that took too long.
        """
        prepared = self._prepare(path)
        own = prepared.record.series.get("Modality", modality)
        with self._encoding:
            encoding = self._encoder.encode(prepared.images, [own] * len(prepared.images))
        return PostedExample(prepared, encoding)

    def encode_part(self, example: PostedExample, frame: int, region: Region) -> PostedExample:
        """Encode a part of one frame of an example, as an example of that frame.

        Parameters
        ----------
        region
            In pixels of the frame's preview.

        Raises
        ------
        Refusal
            C103: the region is not within the picture, or too small.
        """
        try:
            part = cropped(sitk.GetImageFromArray(example.preview(frame)), region, SIDE)
        except PixelError as error:
            raise Refusal(Status.EXAMPLE_NOT_HASHABLE, str(error)) from error
        modality = example.prepared.record.series.get("Modality", "")
        with self._encoding:
            encoding = self._encoder.encode(part[np.newaxis], [modality])
        record = replace(example.prepared.record, frames=(frame - 1,))
        kept = replace(example.prepared, record=record, images=example.preview(frame)[np.newaxis])
        return PostedExample(kept, encoding)

    @cached_property
    def _encoder(self) -> "Encoder":
        from hashing.model.encoder import Encoder  # torch is loaded for those who need it

        settings = self._settings
        return Encoder.load(settings.model_path or DEFAULT_MODEL, settings.code_length, settings.device, "torch")

    def _prepare(self, path: Path) -> Prepared:
        entry, outcome = Entry(path), Future[Outcome]()
        self._awaited[entry] = outcome
        try:
            self._started().submit(entry)
            found = outcome.result(self._settings.web_timeout_s)
        except TimeoutError as error:
            raise Refusal(Status.OUT_OF_RESOURCES, "decoding the example took too long") from error
        except WorkersFailed as error:
            self.stop()  # the next example starts another pool
            raise Refusal(Status.OUT_OF_RESOURCES, "no process to decode the example: see the log") from error
        finally:
            del self._awaited[entry]
        if isinstance(found, Prepared):
            return found
        if found.reason == NO_PIXELS:
            raise Refusal(Status.EXAMPLE_WITHOUT_PIXELS, NO_PIXELS_COMMENT)
        raise Refusal(Status.EXAMPLE_NOT_HASHABLE, f"example cannot be used: {found.reason}")

    def _started(self) -> WorkerPool:
        with self._starting:
            if self._pool is None:
                self._pool = self._new_pool()
                self._pool.start()
            return self._pool

    def _new_pool(self) -> WorkerPool:
        s = self._settings
        seconds = s.web_timeout_s / 2  # what fails for time is tried twice
        limits = WorkerLimits(seconds, seconds, s.decode_memory_bytes, s.decode_kept_bytes)
        work = partial(prepare_file, prepare_example, size=SIDE, max_frames=s.max_frames, limits=pixel_limits_of(s))
        return WorkerPool(work, limits, WORKERS, self._deliver, patience_s=0)

    def _deliver(self, entry: Entry, outcome: Outcome) -> None:
        awaited = self._awaited.get(entry)
        if awaited is not None:
            awaited.set_result(outcome)
