"""The header of a model file: what names the model and what it is built of.

Weights are left alone and torch is not loaded, since all processes of the node read headers and one encodes.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from hashing.model.modality import family_of, learned_length

MODELS = Path(__file__).parents[1] / "models"
"""Folder of the shipped models."""
DEFAULT_MODEL = MODELS / "lookalike-2.safetensors"
CODE_LENGTHS = (16, 32, 48, 64, 128)
"""Code lengths of the shipped model, bits."""
FIRST_ARCHITECTURE = "efficientnet-lite0-nested-96-modality-32"
"""How the first model files name the only architecture of their time, which is `Architecture()`."""
NAMED_PARTS = "trunk-and-head"
"""How later model files say that further keys of the header name the parts."""
FINGERPRINT_LENGTH = 16


class ModelError(Exception):
    """A model file cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """What a network is built of. The defaults are the architecture of the first shipped model.

    Attributes
    ----------
    trunk
        Name in `hashing.model.architectures.TRUNKS`.
    head
        Name in `hashing.methods.catalogue.HEADS`.
    head_options
        Further arguments of the head, by name.
    code_lengths
        Code lengths that can be had, bits: the beginning of a code is a code of each of these lengths.
    modality_bits
        Whether every fourth bit of a code is taken from Modality (0008,0060), as `hashing.model.modality` does.
    input_size
        Side of the images that the network was trained on, pixels; it reduces larger ones itself.
    """

    trunk: str = "efficientnet-lite0"
    head: str = "plain"
    head_options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    code_lengths: tuple[int, ...] = CODE_LENGTHS
    modality_bits: bool = True
    input_size: int = 224

    @property
    def learned_bits(self) -> int:
        """Bits that the network gives, at the longest code length."""
        return self.learned_bits_of(max(self.code_lengths))

    def learned_bits_of(self, code_length: int) -> int:
        """Bits of a code that the network gives; the others are those of the modality."""
        return learned_length(code_length) if self.modality_bits else code_length

    def header(self) -> dict[str, str]:
        """Keys and values that name the architecture in a model file."""
        code_lengths = json.dumps(self.code_lengths)
        if self == Architecture():
            return {"architecture": FIRST_ARCHITECTURE, "code_lengths": code_lengths}
        return {
            "architecture": NAMED_PARTS,
            "trunk": self.trunk,
            "head": self.head,
            "head_options": json.dumps(dict(self.head_options), sort_keys=True),
            "code_lengths": code_lengths,
            "modality_bits": json.dumps(self.modality_bits),
            "input_size": json.dumps(self.input_size),
        }

    @classmethod
    def of_header(cls, facts: Mapping[str, str]) -> "Architecture":
        """The architecture that a header names; a header that names none means the first one.

        Raises
        ------
        ModelError
            The header names an architecture that is unknown here, or lacks a part of it.
        """
        named = facts.get("architecture", FIRST_ARCHITECTURE)
        if named == FIRST_ARCHITECTURE:
            return cls()
        if named != NAMED_PARTS:
            raise ModelError(f"architecture {named} is unknown: {FIRST_ARCHITECTURE} or {NAMED_PARTS} is expected")
        try:
            return cls(
                facts["trunk"],
                facts["head"],
                dict(json.loads(facts["head_options"])),
                tuple(int(length) for length in json.loads(facts["code_lengths"])),
                bool(json.loads(facts["modality_bits"])),
                int(json.loads(facts["input_size"])),
            )
        except (KeyError, ValueError, TypeError) as error:
            raise ModelError(f"the header does not name its parts: {error!r}; export the model again") from error


@dataclass(frozen=True, slots=True)
class Model:
    """Identity of a model, and the parts that it is built of.

    Attributes
    ----------
    name
        Given by whoever exported it.
    fingerprint
        First 16 hexadecimal digits of the SHA-256 of the file: codes of different fingerprints are never compared.
    classes
        Names of the classes that it gives scores of; none in a model that gives codes only.
    usual_distances
        By code length and modality, the distance in bits within which 99 of 100 validation images had their nearest
        image of another patient; empty where it was not measured.
    """

    name: str
    fingerprint: str
    classes: tuple[str, ...] = ()
    architecture: Architecture = Architecture()
    usual_distances: Mapping[int, Mapping[str, int]] = field(default_factory=dict, hash=False)

    @property
    def identifier(self) -> str:
        """Name and fingerprint, as callers see it (at most 64 characters, VR LO)."""
        return f"{self.name[:47]}-{self.fingerprint}"

    def usual_distance(self, code_length: int, modality: str) -> float:
        """Distance within which the nearest image usually lies, in bits; infinite where it was not measured.

        Parameters
        ----------
        modality
            Modality (0008,0060) of the query, which stands for its family of modalities.
        """
        of_length, family = self.usual_distances.get(code_length, {}), family_of(modality)
        return next((distance for term, distance in of_length.items() if family_of(term) == family), inf)


def read_model(path: Path = DEFAULT_MODEL) -> Model:
    """Name, fingerprint, classes and architecture of a model file, without loading its weights.

    Raises
    ------
    ModelError
        The file is missing or damaged, or its architecture is unknown.
    """
    try:
        with path.open("rb") as content:
            fingerprint = hashlib.file_digest(content, "sha256").hexdigest()[:FINGERPRINT_LENGTH]
        with safe_open(path, framework="np") as file:
            facts = file.metadata() or {}
    except OSError as error:
        raise ModelError(f"no model at {path}: {error.strerror}; set model_path") from error
    except SafetensorError as error:
        raise ModelError(f"{path} is damaged or no safetensors file: {error}") from error
    try:
        classes = tuple(str(name) for name in json.loads(facts.get("classes", "[]")))
        usual = json.loads(facts.get("usual_distances", "{}"))
        usual_distances = {
            int(length): {str(term): int(bits) for term, bits in row.items()} for length, row in usual.items()
        }
        return Model(facts.get("name", path.stem), fingerprint, classes, Architecture.of_header(facts), usual_distances)
    except (ModelError, ValueError, TypeError, AttributeError) as error:
        raise ModelError(f"{path} cannot be used: {error}") from error
