"""Bits of a code that name the family of modalities, so that images of one family are nearer to each other.

The header knows for certain what pixels only suggest. Every fourth bit of a code is taken from Modality (0008,0060);
the other bits are learned. Two families differ in an eighth or a quarter of all bits, at every nested code length. A
query still finds images of another family by their learned bits, but never before equal images of its own family.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hashing.images.attributes import code_string

STEP = 4

# Defined Terms of Modality (PS3.3 C.7.3.1.1.1). Every other value belongs to the last family, "other".
FAMILIES: tuple[frozenset[str], ...] = (
    frozenset({"CR", "DX", "RG", "MG", "IO", "PX"}),  # projection radiographs
    frozenset({"RF", "XA"}),  # fluoroscopy and angiography
    frozenset({"CT"}),
    frozenset({"MR"}),
    frozenset({"US", "IVUS", "BDUS"}),
    frozenset({"NM", "PT"}),
    frozenset({"ES", "GM", "SM", "XC", "OP", "OPT", "DMS"}),  # visible light
    frozenset(),
)


def learned_length(code_length: int) -> int:
    """Number of learned bits in a code of `code_length` bits."""
    return code_length - code_length // STEP


def joined(learned: NDArray[np.float32], modalities: Sequence[str]) -> NDArray[np.float32]:
    """Relaxed codes in which every fourth bit is one of the image's modality.

    Parameters
    ----------
    learned : (n, learned_length(code_length))
        Relaxed learned bits, of about unit variance.
    modalities
        Modality (0008,0060) of each image; a value that is no defined term counts as "other".

    Returns
    -------
    (n, code_length)
        The bits of the modality are +1 or -1.

    Raises
    ------
    ValueError
        There are more or fewer modalities than images.
    """
    if len(modalities) != len(learned):
        raise ValueError(f"{len(modalities)} modalities for {len(learned)} images: give one for each")
    groups = learned.reshape(len(learned), learned.shape[1] // (STEP - 1), STEP - 1)  # (n, code_length / 4, 3)
    words = WORDS[[family_of(modality) for modality in modalities]]  # (n, 4)
    marks = np.tile(words, groups.shape[1] // STEP)  # (n, code_length / 4)
    relaxed: NDArray[np.float32] = np.concatenate([groups, marks[:, :, None]], axis=2)
    return relaxed.reshape(len(learned), STEP * groups.shape[1])


def family_of(modality: str) -> int:
    """Number of the family of a modality (0008,0060); a value that is no defined term belongs to the last."""
    term = code_string(modality)
    return next((number for number, terms in enumerate(FAMILIES) if term in terms), len(FAMILIES) - 1)


def _words() -> NDArray[np.float32]:
    """Four bits for each family. The last is the parity of the others, so that two families differ in two or four."""
    bits = np.arange(len(FAMILIES))[:, None] >> np.arange(STEP - 1) & 1
    return np.column_stack([bits, bits.sum(axis=1) & 1]).astype(np.float32) * 2 - 1


WORDS = _words()
