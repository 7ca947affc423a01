"""Codes of another model: stored images are encoded anew from their previews, and all change in one transaction.

What has been encoded waits in a folder beside the database until all is: an interrupted run goes on where it was.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from struct import Struct
from typing import Any, Final
from zlib import crc32

import lmdb
import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes
from storage.database.blocks import CODES
from storage.database.database import Database
from storage.database.tables import FRAME_OF, Tables
from storage.errors import StorageError
from storage.item import Item
from storage.record import Level
from storage.vault import Vault

ENCODED_TOGETHER: Final = 256
WRITTEN_TOGETHER: Final = 1 << 14
OWNER: Final = b"owner"
"""Key under which the kept encodings say of which database and model they are; those of frames have 8 bytes."""

CHECKSUM: Final = Struct("<I")
"""Before each kept encoding, the CRC-32 of the preview that it was made of."""

PURPOSE: Final = "reencoding"
"""What encodings are sealed for while they wait."""

Frame = tuple[int, int]
"""Ordinal of an instance, and number of a frame of it."""
Report = Callable[[int, int], object]
"""Progress: called with the frames done and the frames of the whole."""


class PreviewsMissing(StorageError):  # noqa: N818 -- a state, not a fault
    """Images cannot be encoded anew, since their previews are not stored."""

    def __init__(self, missing: int) -> None:
        super().__init__(
            f"{missing:,} stored frames have no preview to encode anew; nothing was changed: set model_path back, "
            "or use a new home folder and send the images again"
        )


@dataclass(frozen=True, slots=True)
class Encoded:
    """What a model makes of some frames: codes (n, words), outputs (n, code_length), class scores (n, n_classes)."""

    codes: Codes
    outputs: NDArray[np.int8]
    class_scores: NDArray[np.uint8] | None


Encode = Callable[[NDArray[np.uint8], Sequence[str]], Encoded]
"""Encodes previews (n, size, size), with the Modality (0008,0060) of each."""


def reencode(
    database: Database, model: str, encode: Encode, folder: Path, report: Report = lambda _done, _all: None
) -> int:
    """Give every stored image, also one that a rejection hides, the codes of another model.

    The segments of the index go: its rows are scanned until segments are built again. No other process may have the
    database open.

    Parameters
    ----------
    model
        Identifier of the model that `encode` runs.
    folder
        Where encodings wait; it is made, and removed in the end.

    Returns
    -------
    int
        Frames that were encoded, in this run or in an earlier one that was interrupted.

    Raises
    ------
    PreviewsMissing
    DatabaseFull
        The map size is reached. Nothing was changed.
    """
    if database.header.model == model:
        return 0
    with _kept(folder, f"{database.header.identity} {model}", database.vault) as kept:
        frames = _encode_all(database, kept, encode, report)
        header = database.header.of_model(model)
        with database.writing() as tables:
            for some in _parts(frames, WRITTEN_TOGETHER):
                _write(tables, kept, some, header.code_length)
            _reencode_hidden(tables, encode)
            tables.set_segments([])
            tables.set_header(header)
        database.header = header
    shutil.rmtree(folder)
    return len(frames)


def prepare(
    database: Database, model: str, encode: Encode, folder: Path, report: Report = lambda _done, _all: None
) -> int:
    """Encode what is stored and keep it in `folder`, beside processes that use the database; `reencode` does the rest.

    Parameters and errors are those of `reencode`. Returns the number of frames that are ready.
    """
    if database.header.model == model:
        return 0
    with _kept(folder, f"{database.header.identity} {model}", database.vault) as kept:
        return len(_encode_all(database, kept, encode, report))


def _encode_all(database: Database, kept: "_Kept", encode: Encode, report: Report) -> list[Frame]:
    """Encode every stored frame that is not kept yet; returns all frames."""
    with database.reading() as tables:
        frames = list(_frames(tables))
        if missing := len(frames) - tables.entries("previews"):
            raise PreviewsMissing(missing)
    for number, some in enumerate(_parts(frames, ENCODED_TOGETHER)):
        with database.reading() as tables:  # one for each batch: a long one would keep freed pages from use
            _encode_rest(tables, kept, some, encode)
        report(min((number + 1) * ENCODED_TOGETHER, len(frames)), len(frames))
    return frames


class _Kept:
    """Encodings that wait, sealed as the database is: each with the CRC-32 of the preview that it was made of."""

    def __init__(self, environment: lmdb.Environment, vault: Vault) -> None:
        self._environment, self._vault = environment, vault

    def get(self, frames: Sequence[Frame]) -> list[tuple[int | None, bytes]]:
        """Checksum and encoding of each frame; None and nothing where none is kept."""
        found: list[tuple[int | None, bytes]] = []
        with self._environment.begin() as transaction:
            for frame in frames:
                key = FRAME_OF.pack(*frame)
                sealed = transaction.get(key)
                value = b"" if sealed is None else bytes(self._vault.unseal(PURPOSE, key, sealed))
                found.append((None, b"") if sealed is None else (*CHECKSUM.unpack_from(value), value[CHECKSUM.size :]))
        return found

    def put(self, encodings: Iterable[tuple[Frame, int, bytes]]) -> None:
        """Keep encodings with their checksums; they are durable when this returns."""
        with self._environment.begin(write=True) as transaction:
            for frame, checksum, packed in encodings:
                key = FRAME_OF.pack(*frame)
                transaction.put(key, self._vault.seal(PURPOSE, key, CHECKSUM.pack(checksum) + packed))


@contextmanager
def _kept(folder: Path, owner: str, vault: Vault) -> Iterator[_Kept]:
    """Encodings that an earlier run left for the same database and model, or none."""
    folder.mkdir(mode=0o700, exist_ok=True)
    environment = lmdb.open(str(folder), map_size=1 << 40, mode=0o600)
    try:
        with environment.begin(write=True) as transaction:
            if transaction.get(OWNER) != owner.encode():
                transaction.drop(environment.open_db(txn=transaction), delete=False)
                transaction.put(OWNER, owner.encode())
        yield _Kept(environment, vault)
    finally:
        environment.close()


def _frames(tables: Tables) -> Iterator[Frame]:
    """Every frame that has a code, by ordinal of its instance."""
    for ordinal, node in tables.nodes(Level.IMAGE):
        yield from ((ordinal, frame) for frame in node.frames)


def _parts(frames: Sequence[Frame], size: int) -> Iterator[Sequence[Frame]]:
    return (frames[start : start + size] for start in range(0, len(frames), size))


def _encode_rest(tables: Tables, kept: _Kept, frames: Sequence[Frame], encode: Encode) -> None:
    """Encode the frames of a batch whose encoding is not kept yet; they are durable before the next batch.

    A kept encoding counts for the preview that it was made of: beside a node at work an image may be replaced, or go.
    """
    there = [frame for frame in frames if tables.node(Level.IMAGE, frame[0]) is not None]
    if not there:
        return
    previews = _previews(tables, there)
    sums = [crc32(preview) for preview in previews]
    left = [number for number, (checksum, _) in enumerate(kept.get(there)) if checksum != sums[number]]
    if left:
        encoded = encode(previews[left], [_modality(tables, there[number][0]) for number in left])
        kept.put((there[number], sums[number], packed) for number, packed in zip(left, _packed(encoded), strict=True))


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


def _write(tables: Tables, kept: _Kept, frames: Sequence[Frame], code_length: int) -> None:
    """Put kept encodings in the place of the codes and outputs of some frames."""
    words = tables.rows.layout.words
    codes, rows = np.empty((len(frames), words), np.uint64), np.empty(len(frames), np.int64)
    for number, ((ordinal, frame), (_, packed)) in enumerate(zip(frames, kept.get(frames), strict=True)):
        node = tables.node(Level.IMAGE, ordinal)
        assert packed, "all were encoded"
        assert node is not None, "it was read in this state"
        rows[number] = node.rows[node.frames.index(frame)]
        codes[number] = np.frombuffer(packed, np.uint64, words)
        outputs = np.frombuffer(packed, np.int8, offset=8 * words)
        scores = outputs[code_length:].view(np.uint8)
        tables.put_outputs(ordinal, frame, outputs[:code_length], scores if len(scores) else None)
    tables.rows.write(CODES, rows, codes.T)


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
