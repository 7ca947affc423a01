"""Codes of another model: stored images are encoded anew from their previews, and all change in one transaction.

What is encoded waits in a table of the database until all is: an interrupted run goes on where it was. The change puts
there what it replaces, so that the way back needs no encoding. An image that goes takes its encodings along, in the
same transaction.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes
from storage.database.blocks import CODES
from storage.database.database import Database
from storage.database.tables import Tables
from storage.encodings import TABLE, OtherModel
from storage.errors import StorageError
from storage.item import Item
from storage.record import Level

ENCODED_TOGETHER: Final = 256
WRITTEN_TOGETHER: Final = 1 << 14

Frame = tuple[int, int]
"""Ordinal of an instance, and number of a frame of it."""
Report = Callable[[int, int], object]
"""Progress: called with the frames done and the frames of the whole."""


class PreviewsMissing(StorageError):  # noqa: N818 -- a state, not a fault
    """Images cannot be encoded anew, since their previews are not stored."""

    def __init__(self, missing: int) -> None:
        super().__init__(
            f"{missing:,} stored frames have no preview to encode anew; nothing was changed: "
            "go back to the model before by `lookalike model use`, or use a new home folder and send the images again"
        )


@dataclass(frozen=True, slots=True)
class Encoded:
    """What a model makes of some frames: codes (n, words), outputs (n, code_length), class scores (n, n_classes)."""

    codes: Codes
    outputs: NDArray[np.int8]
    class_scores: NDArray[np.uint8] | None


@dataclass(frozen=True, slots=True)
class Kept:
    """Encodings of another model than the one that answers, in the same database.

    Attributes
    ----------
    model
        Its identifier.
    is_before
        True if the codes were of it before the last change of model; False if they are prepared for the next.
    size_bytes
        Disk space that they take.
    """

    model: str
    is_before: bool
    size_bytes: int


Encode = Callable[[NDArray[np.uint8], Sequence[str]], Encoded]
"""Encodes previews (n, size, size), with the Modality (0008,0060) of each."""


def reencode(database: Database, model: str, encode: Encode, report: Report = lambda _done, _all: None) -> int:
    """Give every stored image, also one that a rejection hides, the codes of another model; those of before are kept.

    The segments of the index go: its rows are scanned until segments are built again. No other process may have the
    database open.

    Parameters
    ----------
    model
        Identifier of the model that `encode` runs.

    Returns
    -------
    int
        Frames that have other codes now.

    Raises
    ------
    PreviewsMissing
    DatabaseFull
        The map size is reached. The codes are those of before.
    """
    if database.header.model == model:
        return 0
    frames = _encode_all(database, model, encode, report)
    header = database.header.of_model(model)
    with database.writing() as tables:
        for some in _parts(frames, WRITTEN_TOGETHER):
            _swap(tables, some, header.code_length)
        _reencode_hidden(tables, encode)
        tables.encodings.set_other(OtherModel(database.header.model, is_before=True))
        tables.set_segments([])
        tables.set_header(header)
    database.header = header
    return len(frames)


def prepare(database: Database, model: str, encode: Encode, report: Report = lambda _done, _all: None) -> int:
    """Encode what is stored and keep it, beside processes that use the database; `reencode` does the rest.

    Encodings of any other model go, also those of the model before. Parameters and errors are those of `reencode`.
    Returns the number of frames that are ready.
    """
    return 0 if database.header.model == model else len(_encode_all(database, model, encode, report))


def kept(database: Database) -> Kept | None:
    """The other model of which encodings are kept, and the room they take; None if none are."""
    with database.reading() as tables:
        other = tables.encodings.other
    return None if other is None else Kept(other.model, other.is_before, database.size_bytes()[TABLE])


def drop(database: Database) -> int:
    """Delete the encodings that are kept; return how many bytes are free for what comes."""
    size_bytes = database.size_bytes()[TABLE]
    with database.writing() as tables:
        tables.encodings.clear()
    return size_bytes


def _encode_all(database: Database, model: str, encode: Encode, report: Report) -> list[Frame]:
    """Encode every stored frame that is not kept yet; returns all frames."""
    with database.reading() as tables:
        frames = list(_frames(tables))
        if len(frames) > tables.entries("previews"):
            _check_previews(tables, model, frames)
    with database.writing() as tables:
        tables.encodings.begin(model)
    for number, some in enumerate(_parts(frames, ENCODED_TOGETHER)):
        _encode_rest(database, model, some, encode)
        report(min((number + 1) * ENCODED_TOGETHER, len(frames)), len(frames))
    return frames


def _check_previews(tables: Tables, model: str, frames: Sequence[Frame]) -> None:
    """Refuse frames that have neither a preview nor an encoding of the model."""
    without = set(frames).difference(tables.framed("previews"))
    if missing := sum(not tables.encodings.has(model, *frame) for frame in without):
        raise PreviewsMissing(missing)


def _frames(tables: Tables) -> Iterator[Frame]:
    """Every frame that has a code, by ordinal of its instance."""
    for ordinal, node in tables.nodes(Level.IMAGE):
        yield from ((ordinal, frame) for frame in node.frames)


def _parts(frames: Sequence[Frame], size: int) -> Iterator[Sequence[Frame]]:
    return (frames[start : start + size] for start in range(0, len(frames), size))


def _encode_rest(database: Database, model: str, frames: Sequence[Frame], encode: Encode) -> None:
    """Encode the frames of a batch whose encoding is not kept yet; they are durable before the next batch.

    Beside a node at work an image may go meanwhile: of such a one nothing is kept. One that is replaced is another one,
    with an ordinal of its own.
    """
    with database.reading() as tables:
        there = [frame for frame in frames if tables.node(Level.IMAGE, frame[0]) is not None]
        left = [frame for frame in there if not tables.encodings.has(model, *frame)]
        if not left:
            return
        previews, modalities = _previews(tables, left), [_modality(tables, ordinal) for ordinal, _ in left]
    encoded = encode(previews, modalities)
    with database.writing() as tables:
        tables.encodings.begin(model)
        for frame, packed in zip(left, _packed(encoded), strict=True):
            if tables.node(Level.IMAGE, frame[0]) is not None:
                tables.encodings.put(*frame, packed)


def _previews(tables: Tables, frames: Sequence[Frame]) -> NDArray[np.uint8]:
    found = [preview for frame in frames if (preview := tables.preview(*frame)) is not None]
    if len(found) < len(frames):
        raise PreviewsMissing(len(frames) - len(found))
    return np.stack(found)


def _modality(tables: Tables, ordinal: int) -> str:
    return tables.lineage(Level.IMAGE, ordinal)[Level.SERIES][1].attributes.get("Modality", "")


def _packed(encoded: Encoded) -> Iterator[bytes]:
    """Codes, outputs and class scores of each frame, one after the other."""
    scores = np.empty((len(encoded.codes), 0), np.uint8) if encoded.class_scores is None else encoded.class_scores
    for code, outputs, of_classes in zip(encoded.codes, encoded.outputs, scores, strict=True):
        yield code.tobytes() + outputs.tobytes() + of_classes.tobytes()


def _swap(tables: Tables, frames: Sequence[Frame], code_length: int) -> None:
    """Put kept encodings in the place of the codes and outputs of some frames, and these in theirs.

    Of a frame without outputs nothing is kept: the way back encodes it anew.
    """
    words, rows = tables.rows.layout.words, np.array([_row(tables, *frame) for frame in frames], np.int64)
    before, after = tables.rows.gather(CODES, rows).T, np.empty((len(frames), words), np.uint64)
    for number, frame in enumerate(frames):
        packed, outputs_before = tables.encodings.get(*frame), tables.outputs(*frame)
        assert packed is not None, "all were encoded"
        after[number] = np.frombuffer(packed, np.uint64, words)
        outputs = np.frombuffer(packed, np.int8, offset=8 * words)
        scores = outputs[code_length:].view(np.uint8)
        tables.put_outputs(*frame, outputs[:code_length], scores if len(scores) else None)
        kept_now = None if outputs_before is None else before[number].tobytes() + outputs_before.tobytes()
        tables.encodings.put(*frame, kept_now)
    tables.rows.write(CODES, rows, after.T)


def _row(tables: Tables, ordinal: int, frame: int) -> int:
    node = tables.node(Level.IMAGE, ordinal)
    assert node is not None, "nobody else writes"
    return int(node.rows[node.frames.index(frame)])


def _reencode_hidden(tables: Tables, encode: Encode) -> None:
    """Encode anew what is kept of instances that rejections hide, so that they can be restored."""
    for uid in list(tables.rejections.all_withheld()):
        item = tables.rejections.withheld(uid)
        assert item is not None, "it was listed in this state"
        tables.rejections.withhold(_anew(item, encode), replaces=True)


def _anew(item: Item, encode: Encode) -> Item:
    frames = len(item.record.frames)
    if not frames:
        return item
    if item.previews is None:
        raise PreviewsMissing(frames)
    encoded = encode(item.previews, [item.record.series.get("Modality", "")] * frames)
    changed: dict[str, Any] = {"codes": encoded.codes, "outputs": encoded.outputs}
    return replace(item, **changed, class_scores=encoded.class_scores)
