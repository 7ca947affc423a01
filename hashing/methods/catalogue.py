"""Every method of the bench by its name in experiments and tables."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from hashing.methods.base import Setting
from hashing.methods.centres import CentralSimilarityQuantization, OrthoHash
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
from hashing.methods.triplet import DeepTripletSupervisedHashing

OBJECTIVES: dict[str, Callable[..., nn.Module]] = {
    "DSH": DeepSupervisedHashing,
    "DPSH": DeepPairwiseSupervisedHashing,
    "DHN": DeepHashingNetwork,
    "HashNet": HashNet,
    "DTSH": DeepTripletSupervisedHashing,
    "DCH": DeepCauchyHashing,
    "IDHN": ImprovedDeepHashingNetwork,
    "CSQ": CentralSimilarityQuantization,
    "OrthoHash": OrthoHash,
    "AHDL-like": JaccardDistanceHashing,
}
"""Trained with labels."""

PROJECTIONS: dict[str, Callable[[NDArray[np.float32], int, np.random.Generator], Projection]] = {
    "LSH": locality_sensitive,
    "ITQ": iterative_quantization,
}
"""Fitted to features alone."""

LOWER_REFERENCES = ("random", "modality only")
"""Codes that see no pixels."""

UPPER_REFERENCES = ("float cosine", "probability ranker")
"""Rankings by real numbers, without codes."""

METHODS = (*LOWER_REFERENCES, *PROJECTIONS, *OBJECTIVES, *UPPER_REFERENCES)


def objective(method: str, setting: Setting, options: dict[str, Any]) -> nn.Module:
    """The objective of a method that is trained.

    Raises
    ------
    ValueError
        There is no such method.
    """
    if method not in OBJECTIVES:
        raise ValueError(f"no method {method!r} to train: choose of {', '.join(OBJECTIVES)}")
    return OBJECTIVES[method](setting, **options)
