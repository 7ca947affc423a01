"""Maps that say where two images are alike, made on demand in the process that holds the model."""

from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from threading import Lock
from typing import Final

import numpy as np
import torch

from hashing.model.explain import Explainer
from hashing.model.model_file import DEFAULT_MODEL
from hashing.model.network import INPUT_SIZE
from node.examples.request import BUSY, ImagePair, MapKind, PairMaps
from node.settings import Settings

WAIT_S: Final = 5.0
"""Time that a request waits for the one before it: where images are hidden part by part, a map takes seconds."""


class PairExplainer:
    """Explains one pair after the other, by a second copy of the model.

    Maps cost one pass through the network for each image; or fifty where the head reads maps of several depths and
    gives no class evidence.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings, self._lock = settings, Lock()

    def maps(self, pair: ImagePair) -> PairMaps | str:
        """Maps over both images of a pair; `BUSY` where too many requests wait."""
        if not self._lock.acquire(timeout=WAIT_S):
            return BUSY
        try:
            reasons = self._explainer.reasons(pair.query, pair.match)
            return self._occluded(pair) if reasons is None else PairMaps(self._kind, *reasons)
        finally:
            self._lock.release()

    def warm_up(self) -> None:
        """Load the model and explain nothing once, so that no reader waits for it."""
        nothing = np.zeros((INPUT_SIZE, INPUT_SIZE), np.uint8)
        self._explainer.reasons(nothing, nothing)

    def _occluded(self, pair: ImagePair) -> PairMaps:
        explain, ways = self._explainer.explain, ((pair.query, pair.match), (pair.match, pair.query))
        query, match = self._pool.map(lambda images: explain(*images), ways)
        return PairMaps(MapKind.OCCLUSION, query.reason, match.reason)

    @property
    def _kind(self) -> MapKind:
        return MapKind.SHARED_ATTENTION if self._explainer.network.head.strides else MapKind.ABLATION

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        """One thread a map: threads that share one map wait for each other wherever the processors are busy."""
        return ThreadPoolExecutor(2, "explain", initializer=partial(torch.set_num_threads, 1))

    @cached_property
    def _explainer(self) -> Explainer:
        s = self._settings
        return Explainer.load(s.model_path or DEFAULT_MODEL, s.code_length, s.device)
