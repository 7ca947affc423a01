"""What is known of an image before its pixels are read, in the words that all sets share."""

import zlib
from dataclasses import dataclass
from math import nan

FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
)  # fmt: skip
NO_FINDING = "No Finding"
ADULT_CHEST, CHILD_CHEST, HEAD_MR, CHEST_CT, BREAST_US = (
    "adult chest radiograph", "child chest radiograph", "head MR", "chest CT", "breast US",
)  # fmt: skip
HAND, ABDOMEN_CT, HEAD_CT, BREAST_MR = "hand radiograph", "abdominal CT", "head CT", "breast MR"
KINDS = (ADULT_CHEST, CHILD_CHEST, HEAD_MR, CHEST_CT, BREAST_US, HAND, ABDOMEN_CT, HEAD_CT, BREAST_MR)
"""Kinds that the shipped model tells apart."""


@dataclass(frozen=True, slots=True)
class Example:
    """One image: where its file is, what it shows, and to which part of the set it belongs.

    Attributes
    ----------
    archive, member
        A zip or npz file below the data folder and its member, or a folder and a file in it.
    kind
        Modality and body part.
    group
        Patient where known, else the group of near-identical images.
    split
        "train", "validation" or "test"; see `with_validation`.
    max_side
        Longer sides are reduced to this, pixels, and the picture is encoded as JPEG like the others of its set; 0 reads
        the picture as it is. It serves sets whose files come in sizes that tell the label.
    source
        Where the file comes from: a hospital or collection where known; `archive` where empty.
    block
        Patient-like block of images that are drawn together where intervals are estimated; `group` where empty.
    level
        Level of a section as a share of the length of its region; NaN where it is not known.
    """

    archive: str
    member: str
    labels: tuple[str, ...]
    kind: str
    group: str
    split: str
    max_side: int = 0
    source: str = ""
    block: str = ""
    level: float = nan


def modality_of(kind: str) -> str:
    """Modality (0008,0060) of a kind's images, as an archive would say it; "" for a kind of another form."""
    last = kind.rsplit(" ", 1)[-1]
    return {"radiograph": "DX", "MR": "MR", "CT": "CT", "US": "US"}.get(last, "")


def with_validation(group: str, split: str) -> str:
    """The part of an image: a tenth of the training groups, drawn by a checksum of their names, is for validation."""
    return "validation" if split == "train" and zlib.crc32(group.encode()) % 10 == 0 else split
