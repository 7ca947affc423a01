"""Entities by the nearest of their images and the parts of these: a second stage for queries by a region."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes, unpack
from storage.database.snapshot import Snapshot
from storage.database.tree import key_bytes
from storage.objects.region_table import RegionTable
from storage.record import Level
from storage.search.index import EVERY_ROW, Filter, Hit, Hits

WEIGHT_BITS: Final = 20
"""Bits below the distance in a key of a part: a weighted distance needs fewer."""

Search = Callable[..., Hits]
"""`IndexView.search` with its queries."""


@dataclass(frozen=True, slots=True)
class RegionIndex:
    """Codes of parts of images, and how many images they are looked at of.

    Attributes
    ----------
    shortlist
        The images nearest as a whole, of which the parts are compared, too.
    """

    table: RegionTable
    shortlist: int

    def search_by(
        self, snapshot: Snapshot, whole: Search, queries: Codes, outputs: NDArray[np.int8] | None, limit: int | None
    ) -> Search:
        """Function that finds entities by their parts, too.

        It is called as `IndexView.search` is, with k, a level, `where` and `count`. The distance of an image is the
        least of its own and those of its parts, where it is among the shortlist; an entity has that of its nearest
        image. Ties are broken as in `IndexView.search`, so the same state gives the same answer.

        Parameters
        ----------
        whole
            Finds entities by whole images.
        queries : (queries, words)
        outputs : (queries, code_length or more)
            Weigh bits between equal distances; None for weights of 0.
        limit
            Maximum distance in bits; None for none.
        """
        weighed = np.zeros((len(queries), snapshot.code_length), np.int8) if outputs is None else outputs
        weights = np.abs(weighed[:, : snapshot.code_length].astype(np.int64))

        def search(k: int, level: Level = Level.IMAGE, where: Filter = EVERY_ROW, *, count: bool = True) -> Hits:
            found = whole(k, level, where, maximum_distance=limit, count=count)
            near = whole(max(k, self.shortlist), Level.IMAGE, where, maximum_distance=None, count=False)
            best = {hit.uid: hit for hit in found.hits}
            for hit in (*near.hits, *self._by_parts(snapshot, near.hits, queries, weights)):
                one = replace(hit, uid=_entity(snapshot, level, hit))
                is_near = limit is None or one.distance <= limit
                if is_near and (one.uid not in best or _order(one) < _order(best[one.uid])):
                    best[one.uid] = one
            return Hits(tuple(sorted(best.values(), key=_order)[:k]), found.candidates)

        return search

    def _by_parts(
        self, snapshot: Snapshot, hits: Sequence[Hit], queries: Codes, weights: NDArray[np.int64]
    ) -> Iterator[Hit]:
        """Yield the images with a part that is nearer than the whole, with its distance."""
        kept = self.table.find([hit.sop_instance_uid for hit in hits])
        for hit in hits:
            parts, record = kept.get(hit.sop_instance_uid), snapshot.record(hit.sop_instance_uid)
            if parts is not None and record is not None and parts.content_digest == record.content_digest:
                keys = _keys(parts.codes, queries, weights, snapshot.code_length)
                nearest = int(keys.argmin())
                distance, weight = divmod(int(keys[nearest]), 1 << WEIGHT_BITS)
                frame = record.frames[nearest * len(record.frames) // len(keys)]
                if (distance, weight) < (hit.distance, hit.weighted_distance):
                    yield replace(hit, distance=distance, weighted_distance=weight, frame=frame)


def _keys(codes: Codes, queries: Codes, weights: NDArray[np.int64], code_length: int) -> NDArray[np.int64]:
    """(parts,) distance from the nearest query, and in the bits below it the weighted distance."""
    bits, keys = unpack(codes, code_length), list[NDArray[Any]]()
    for query, weight in zip(unpack(queries, code_length), weights, strict=True):
        differs = bits != query
        keys.append((differs.sum(axis=1) << WEIGHT_BITS) + differs @ weight)
    return np.asarray(np.minimum.reduce(keys), np.int64)


def _entity(snapshot: Snapshot, level: Level, hit: Hit) -> str:
    """Unique key of the entity of a level that holds an image."""
    image = snapshot.entity(Level.IMAGE, hit.sop_instance_uid)
    if image is not None:
        return image.uids[level]
    assert hit.record is not None, "it is known here, or came with its record"
    return hit.record.uids[level]


def _order(hit: Hit) -> tuple[float, float, bytes]:
    return hit.distance, hit.weighted_distance, key_bytes(hit.uid)
