"""Methods with targets from the co-occurrence of labels, and those from which one part is taken, by their names."""

from functools import partial
from typing import Any

from hashing.methods.base import Method
from hashing.methods.heads import PlainHead
from hashing.methods.label_cooccurrence.objective import LabelCooccurrence

OPTIONS: dict[str, dict[str, Any]] = {
    "co-occurrence targets": {},
    "co-occurrence targets per image": {"eta": 1.0},
    "co-occurrence learned inputs": {"targets": "learned graph"},
    "co-occurrence unsmoothed": {"smoothing": 0.0},
    "co-occurrence learned unsmoothed": {"targets": "learned graph", "smoothing": 0.0},
    "co-occurrence threshold 0.05": {"threshold": 0.05},
    "co-occurrence threshold 0.15": {"threshold": 0.15},
    "co-occurrence threshold 0.4": {"threshold": 0.4},
    "co-occurrence without PMI": {"weighting": "equal"},
    "co-occurrence without R": {"attraction": 0.0},
    "random targets": {"targets": "random"},
    "random targets unsmoothed": {"targets": "random", "smoothing": 0.0},
    "orthogonal targets": {"targets": "orthogonal"},
    "orthogonal targets per image": {"targets": "orthogonal", "eta": 1.0},
}
"""Parameters of `LabelCooccurrence` by the name of the method. The first two are the readings of the paper's "dynamic".

Orthogonal targets without smoothing are OrthoHash, and CSQ pulls an image to the majority of orthogonal targets."""

VARIANTS: dict[str, Method] = {
    name: Method(partial(LabelCooccurrence, **options), PlainHead) for name, options in OPTIONS.items()
}
"""The methods by their names."""
