"""Every method of the bench by its name in experiments and tables, and every head by its name in model files."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from hashing.methods.attention_fusion import AttentionFusionHead, AttentionFusionLoss, LastDepthHead
from hashing.methods.base import Head, Method, Objective, OnCodes, Setting
from hashing.methods.centres import CentralSimilarityQuantization, OrthoHash
from hashing.methods.heads import Classifier, PlainHead
from hashing.methods.label_cooccurrence.variants import VARIANTS
from hashing.methods.pairwise import (
    DeepCauchyHashing,
    DeepHashingNetwork,
    DeepPairwiseSupervisedHashing,
    DeepSupervisedHashing,
    HashNet,
    ImprovedDeepHashingNetwork,
    JaccardDistanceHashing,
)
from hashing.methods.projections import Projection, iterative_quantization, locality_sensitive
from hashing.methods.semantic_attention import AttentionHead, SemanticAttentionLoss
from hashing.methods.triplet import DeepTripletSupervisedHashing
from hashing.methods.union.head import UnionHead
from hashing.methods.union.objective import UnionLoss


def on_codes(loss: Callable[..., nn.Module]) -> Callable[..., Objective]:
    """Maker of an objective from a class of losses that read codes, labels and patients only."""

    def make(setting: Setting, **options: Any) -> Objective:
        return OnCodes(loss(setting, **options))

    return make


TRAINED: dict[str, Method] = {
    "DSH": Method(on_codes(DeepSupervisedHashing), PlainHead),
    "DPSH": Method(on_codes(DeepPairwiseSupervisedHashing), PlainHead),
    "DHN": Method(on_codes(DeepHashingNetwork), PlainHead),
    "HashNet": Method(HashNet, PlainHead),
    "DTSH": Method(on_codes(DeepTripletSupervisedHashing), PlainHead),
    "DCH": Method(on_codes(DeepCauchyHashing), PlainHead),
    "IDHN": Method(on_codes(ImprovedDeepHashingNetwork), PlainHead),
    "CSQ": Method(on_codes(CentralSimilarityQuantization), PlainHead),
    "OrthoHash": Method(on_codes(OrthoHash), PlainHead),
    "AHDL-like": Method(on_codes(JaccardDistanceHashing), PlainHead),
    "semantic attention": Method(SemanticAttentionLoss, AttentionHead, {"inputs": "guided"}, classifies=True),
    "unguided attention": Method(SemanticAttentionLoss, AttentionHead, {"inputs": "unguided"}, classifies=True),
    "local attention only": Method(SemanticAttentionLoss, AttentionHead, {"inputs": "local"}, classifies=True),
    "without attention": Method(SemanticAttentionLoss, AttentionHead, {"inputs": "global"}, classifies=True),
    "semantic loss only": Method(SemanticAttentionLoss, PlainHead, classifies=True),
    **VARIANTS,
    "attention fusion": Method(AttentionFusionLoss, AttentionFusionHead),
    "fusion without attention": Method(AttentionFusionLoss, AttentionFusionHead, {"attention": "none"}),
    "fusion by channels only": Method(AttentionFusionLoss, AttentionFusionHead, {"attention": "channels"}),
    "fusion by positions only": Method(AttentionFusionLoss, AttentionFusionHead, {"attention": "positions"}),
    "attention at last depth": Method(AttentionFusionLoss, LastDepthHead),
    "fusion with plain tanh": Method(partial(AttentionFusionLoss, slope="one"), AttentionFusionHead),
    "fusion with scheduled tanh": Method(partial(AttentionFusionLoss, slope="scheduled"), AttentionFusionHead),
    "fusion without classes": Method(partial(AttentionFusionLoss, classifying=0.0), AttentionFusionHead),
    "fusion of random triplets": Method(partial(AttentionFusionLoss, selection="random"), AttentionFusionHead),
    "union": Method(UnionLoss, UnionHead, classifies=True),
    "union without depths": Method(UnionLoss, UnionHead, {"depths": False}, classifies=True),
    "union without regions": Method(UnionLoss, UnionHead, {"regions": False}, classifies=True),
    "union without graph targets": Method(partial(UnionLoss, targets=0.0), UnionHead, classifies=True),
    "union of one length": Method(partial(UnionLoss, nested=False), UnionHead, classifies=True),
    "union loss only": Method(UnionLoss, PlainHead, classifies=True),
}
"""Methods that are trained with labels."""

PROJECTIONS: dict[str, Callable[[NDArray[np.float32], int, np.random.Generator], Projection]] = {
    "LSH": locality_sensitive,
    "ITQ": iterative_quantization,
}
"""Methods that are fitted to features alone."""

RANDOM, MODALITY, SOURCE_SIZE, SOURCE = LOWER_REFERENCES = (
    "random", "modality only", "source size only", "source only",
)  # fmt: skip
"""Rankings that see no pixels: a set on which one of them is above chance lets a method learn what it should not."""

WITHOUT_CODES = (SOURCE_SIZE, SOURCE, "float cosine", "probability ranker")
"""Rankings that have no code length."""

UPPER_REFERENCES = ("float cosine", "probability ranker")
"""Rankings by real numbers, without codes."""

METHODS = (*LOWER_REFERENCES, *PROJECTIONS, *TRAINED, *UPPER_REFERENCES)
"""Names of all methods, in the order of tables."""

HEADS: dict[str, type[Head]] = {
    head.name: head for head in (PlainHead, Classifier, AttentionHead, AttentionFusionHead, LastDepthHead, UnionHead)
}
"""Classes of heads by the name that a model file gives."""


def trained(name: str) -> Method:
    """The method of a name, if it is one that is trained.

    Raises
    ------
    ValueError
        There is no such method; the message names the methods.
    """
    if name not in TRAINED:
        raise ValueError(f"no method {name!r} to train: choose of {', '.join(TRAINED)}")
    return TRAINED[name]
