"""The model file: what names it, its weights left alone; free of torch, for all processes but the one that encodes."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

DEFAULT_MODEL = Path(__file__).parents[1] / "models" / "lookalike-1.safetensors"
ARCHITECTURE = "efficientnet-lite0-nested-96-modality-32"
FINGERPRINT_LENGTH = 16


class ModelError(Exception):
    """A model file cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Model:
    """What tells one model from another.

    Attributes
    ----------
    name
        Given by whoever exported it.
    fingerprint
        First 16 hexadecimal digits of the SHA-256 of the file: codes of different fingerprints are never compared.
    classes
        Names of the classes that it gives scores of; none in a model that gives codes only.
    """

    name: str
    fingerprint: str
    classes: tuple[str, ...] = ()

    @property
    def identifier(self) -> str:
        """Name and fingerprint, as callers see it (at most 64 characters, VR LO)."""
        return f"{self.name[:47]}-{self.fingerprint}"


def read_model(path: Path = DEFAULT_MODEL) -> Model:
    """Name, fingerprint and classes of a model file, without loading its weights.

    Raises
    ------
    ModelError
        The file is missing or no model of this architecture.
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
    if facts.get("architecture") != ARCHITECTURE:
        raise ModelError(f"{path} is of architecture {facts.get('architecture')}, expected {ARCHITECTURE}")
    return Model(facts.get("name", path.stem), fingerprint, tuple(json.loads(facts.get("classes", "[]"))))
