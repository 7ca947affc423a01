"""Requests to the service that encodes examples, and the client that makes them."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from multiprocessing.connection import Client
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes
from hashing.ranking_scores import Outputs
from node.errors import NO_PIXELS, Refusal, Status
from node.examples.regions import OUTSIDE, Region
from node.ingest.outcome import Prepared, Referral, RenderedFrame, Unusable
from node.query.retriever import NO_PIXELS_COMMENT
from node.settings import Settings
from storage.spool.queue import Entry

SOCKET: Final = "examples.sock"
CHECK_S: Final = 0.05
"""Interval at which a client looks whether its own caller still waits."""
BUSY: Final = "busy"


@dataclass(frozen=True, slots=True)
class ExampleEntry(Entry):
    """A file that is to be encoded and not indexed.

    Attributes
    ----------
    region
        Part of the picture to encode; None for all of it.
    frames
        1-based numbers of the frames to encode; empty for those that would be indexed.
    is_header_only
        True to read its patient and study only.
    is_prompt
        True if a caller waits for the reply: reading then ends within `example_limit_s`.
    modality
        Modality of a picture that is no DICOM object; "" if it is not known.
    """

    region: Region | None = None
    frames: tuple[int, ...] = ()
    is_header_only: bool = False
    is_prompt: bool = False
    modality: str = ""


@dataclass(frozen=True, slots=True)
class FrameEntry(Entry):
    """A file of which one frame is to be shown.

    Attributes
    ----------
    frame
        1-based.
    most
        Longest side of the picture, pixels; a smaller frame keeps its size.
    is_square
        True for a picture in the middle of a square, as previews are; False for the picture alone.
    is_prompt
        As of an `ExampleEntry`.
    """

    frame: int = 1
    most: int = 2048
    is_square: bool = True
    is_prompt: bool = True


@dataclass(frozen=True, slots=True)
class PreviewPart:
    """A part of a kept preview that is to be encoded.

    Attributes
    ----------
    preview : (size, size) uint8
    region
        In pixels of the preview.
    """

    preview: NDArray[np.uint8]
    region: Region
    modality: str


@dataclass(frozen=True, slots=True)
class EncodedExample:
    """What an example was encoded to.

    Attributes
    ----------
    prepared
        What it was encoded from; None for a part of a preview.
    codes : (n, words)
        One for each frame.
    """

    prepared: Prepared | None
    codes: Codes
    outputs: Outputs


@dataclass(frozen=True, slots=True)
class ImagePair:
    """Two images whose likeness is to be explained.

    Attributes
    ----------
    query, match : (size, size) uint8
        Network inputs.
    """

    query: NDArray[np.uint8]
    match: NDArray[np.uint8]


class MapKind(StrEnum):
    """Kinds of maps over two images.

    SHARED_ATTENTION marks the labels that both images probably have; ABLATION marks the parts without whose features
    their codes would agree less; OCCLUSION those whose pixels, hidden, would make them agree less.
    """

    SHARED_ATTENTION = "SHARED_ATTENTION"
    ABLATION = "ABLATION"
    OCCLUSION = "OCCLUSION"


@dataclass(frozen=True, slots=True)
class PairMaps:
    """Where two images are alike.

    Attributes
    ----------
    query, match : (rows, columns) float32
        A map over each image (`hashing.model.explain.Explainer`).
    """

    kind: MapKind
    query: NDArray[np.float32]
    match: NDArray[np.float32]


Request = ExampleEntry | FrameEntry | PreviewPart | ImagePair
Reply = EncodedExample | Referral | Unusable


def usable(reply: Reply) -> EncodedExample:
    """The reply, if it is an example that can be searched by.

    Raises
    ------
    Refusal
        C102: the object has no image. C106: the region is not within the picture. C103: anything else.
    """
    if isinstance(reply, EncodedExample):
        return reply
    cause = reply.reason if isinstance(reply, Unusable) else reply.cause or NO_PIXELS
    if cause == NO_PIXELS:
        raise Refusal(Status.EXAMPLE_WITHOUT_PIXELS, NO_PIXELS_COMMENT)
    if cause == OUTSIDE.replace(" ", "-"):
        raise Refusal(Status.REGION_OUTSIDE, "region is outside the image, or too small")
    raise Refusal(Status.EXAMPLE_NOT_HASHABLE, f"example cannot be used: {cause}")


class ServiceDownError(Exception):
    """The index role does not answer: it is starting, busy or gone. The same request may succeed later."""


class ExampleClient:
    """Asks the index role to encode examples; any number of processes and threads may."""

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.run_path

    def encode(
        self, request: ExampleEntry | PreviewPart, limit_s: float, check: Callable[[], object] = lambda: None
    ) -> Reply:
        """Return what the index role makes of a request.

        Parameters
        ----------
        limit_s
            Time to wait for the reply.
        check
            Called again and again meanwhile; whatever it raises ends the wait.

        Raises
        ------
        ServiceDownError
            It does not answer, or not in time.
        """
        reply = self._ask(request, limit_s, check)
        assert not isinstance(reply, PairMaps | RenderedFrame)
        return reply

    def explain(self, pair: ImagePair, limit_s: float) -> PairMaps:
        """Return where two images are alike; parameters and errors are those of `encode`."""
        reply = self._ask(pair, limit_s, lambda: None)
        assert isinstance(reply, PairMaps)
        return reply

    def render(self, entry: FrameEntry, limit_s: float, check: Callable[[], object]) -> RenderedFrame | None:
        """Return the picture of a frame, None if it cannot be shown; parameters and errors are those of `encode`."""
        reply = self._ask(entry, limit_s, check)
        return reply if isinstance(reply, RenderedFrame) else None

    def _ask(self, request: Request, limit_s: float, check: Callable[[], object]) -> Reply | PairMaps | RenderedFrame:
        deadline = time.monotonic() + limit_s
        try:
            with socket_address(self._folder) as address, Client(address, "AF_UNIX") as connection:
                connection.send(request)
                while not connection.poll(CHECK_S):
                    check()
                    if time.monotonic() > deadline:
                        raise ServiceDownError("the index role takes too long")
                reply: Reply | PairMaps | RenderedFrame | str = connection.recv()
        except (OSError, EOFError) as error:
            raise ServiceDownError("the index role does not answer") from error
        if isinstance(reply, str):
            raise ServiceDownError(f"the index role is {reply}")
        return reply


@contextmanager
def socket_address(folder: Path) -> Iterator[str]:
    """Path of the service's socket; through a descriptor, for a socket's path has 107 characters at most."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{handle}/{SOCKET}"
    finally:
        os.close(handle)
