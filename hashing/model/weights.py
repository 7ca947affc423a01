"""Networks in files: trained weights in single precision, and model files in half precision."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save

from hashing.model.architectures import build
from hashing.model.model_file import Architecture, Model, ModelError, read_model
from hashing.model.network import HashNetwork

HEADER_LENGTH_BYTES = 8  # size of the header of a safetensors file, little-endian, before the header itself


def load_network(path: Path) -> tuple[HashNetwork, Model]:
    """The network of a file that `save_network` or `export` wrote, in single precision, and what its header says.

    Raises
    ------
    ModelError
        The file is missing or damaged, its architecture is unknown, or its weights do not fit its header.
    """
    model = read_model(path)
    network = build(model.architecture, len(model.classes))
    try:
        network.load_weights(load_file(path))
    except RuntimeError as error:
        raise ModelError(
            f"the weights of {path} do not fit its header, which names a {model.architecture.head} head of "
            f"{model.architecture.learned_bits} bits and {len(model.classes)} classes: {error}"
        ) from error
    return network, model


def save_network(
    network: HashNetwork,
    architecture: Architecture,
    path: Path,
    name: str,
    facts: Mapping[str, str],
    classes: Sequence[str] = (),
) -> Model:
    """Write a network with its header. Equal networks with equal facts make equal files.

    Parameters
    ----------
    facts
        What else the header shall say of the making of the model.
    classes
        Names of the classes that the head gives logits of.

    Raises
    ------
    ModelError
        Names and classes are not as many.
    """
    if network.n_classes != len(classes):
        raise ModelError(f"{len(classes)} names came for {network.n_classes} classes")
    header = {"name": name, **architecture.header(), **facts}
    if classes:
        header["classes"] = json.dumps(list(classes))
    content = save({key: tensor.contiguous() for key, tensor in network.weights().items()}, metadata=header)
    partial = path.with_suffix(".partial")
    partial.write_bytes(_with_sorted_header(content))
    partial.rename(path)  # a process that has the old file mapped keeps it
    return read_model(path)


def export(
    network: HashNetwork,
    architecture: Architecture,
    path: Path,
    name: str,
    facts: Mapping[str, str],
    classes: Sequence[str] = (),
) -> Model:
    """Write a network as a model file in half precision; parameters and errors are those of `save_network`.

    Raises
    ------
    ModelError
        A weight does not fit half precision.
    """
    halved = build(architecture, network.n_classes).half()
    halved.load_weights(network.weights())
    floats = [tensor for tensor in halved.weights().values() if tensor.is_floating_point()]
    if not all(torch.isfinite(tensor).all() for tensor in floats):
        raise ModelError("a weight is too large for half precision")
    return save_network(halved, architecture, path, name, facts, classes)


def add_facts(path: Path, facts: Mapping[str, str]) -> Model:
    """Add facts to the header of a model file, in place; weights stay as they are, the fingerprint does not.

    Raises
    ------
    ModelError
        The file is missing or damaged, or cannot be used with these facts.
    """
    network, model = load_network(path)
    with safe_open(path, framework="np") as file:
        before = file.metadata() or {}
    types = {tensor.dtype for tensor in load_file(path).values() if tensor.is_floating_point()}
    network = network.half() if types == {torch.float16} else network
    return save_network(network, model.architecture, path, model.name, {**before, **facts}, model.classes)


def _with_sorted_header(content: bytes) -> bytes:
    """A safetensors file with its header sorted: as the library writes it, facts come in another order each time.

    Without this the fingerprint would tell models apart that are the same.
    """
    start = HEADER_LENGTH_BYTES + int.from_bytes(content[:HEADER_LENGTH_BYTES], "little")
    header = json.dumps(json.loads(content[HEADER_LENGTH_BYTES:start]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % HEADER_LENGTH_BYTES)  # the weights behind it stay aligned
    return len(header).to_bytes(HEADER_LENGTH_BYTES, "little") + header + content[start:]
