"""Maps that say where two images are alike, made on demand in the process that holds the model."""

from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from threading import Lock
from typing import Final

import torch

from hashing.model.explain import Explainer, PairExplanation
from hashing.model.model_file import DEFAULT_MODEL
from node.examples.request import BUSY, ImagePair, MapKind, PairMaps
from node.settings import Settings

WAIT_S: Final = 5.0
"""Time that a request waits for the one before it: a map costs dozens of passes through the network."""


class PairExplainer:
    """Explains one pair after the other, by a second copy of the model that is loaded for the first."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._lock = settings, Lock()

    def maps(self, pair: ImagePair) -> PairMaps | str:
        """Maps over both images of a pair; `BUSY` where too many requests wait."""
        if not self._lock.acquire(timeout=WAIT_S):
            return BUSY
        try:
            explain, ways = self._explainer.explain, ((pair.query, pair.match), (pair.match, pair.query))
            query, match = self._pool.map(lambda images: explain(*images), ways)
        finally:
            self._lock.release()
        return PairMaps(_kind(query), query.reason, match.reason)

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        """One thread a map: threads that share one map wait for each other wherever the processors are busy."""
        return ThreadPoolExecutor(2, "explain", initializer=partial(torch.set_num_threads, 1))

    @cached_property
    def _explainer(self) -> Explainer:
        s = self._settings
        return Explainer.load(s.model_path or DEFAULT_MODEL, s.code_length, s.device)


def _kind(explanation: PairExplanation) -> MapKind:
    return MapKind.OCCLUSION if explanation.shared is None else MapKind.SHARED_ATTENTION
