"""How fast is each backend, and how near to the reference? python -m tests.benchmarks.encode [--quick] [--json FILE].

The peer is the network as it is defined, fp32, in batches of 32. The second table counts the bits in a thousand that
differ from it, on images of the phantom hospital; bf16, which is no backend, is counted too.
"""

import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hashing.codes import Codes, pack, unpack
from hashing.images.pixels import network_input
from hashing.model.backends import Backend
from hashing.model.encoder import Encoder
from hashing.model.modality import joined
from hashing.model.model_file import DEFAULT_MODEL
from hashing.model.weights import load_network
from hashing.phantoms.hospital import samples
from tests.benchmarks.report import Row, arguments, interleaved, publish

BATCH = 32
CODE_LENGTH = 128
MOST_DIFFERING = 1.0  # bits in a thousand
BF16 = "bf16 in the blocks of the trunk"


def main() -> None:
    """Run all rows."""
    options = arguments(__doc__ or "")
    images = phantoms(24 if options.quick else 128)
    names: list[Backend] = ["torch", *(["openvino"] if find_spec("openvino") else [])]  # type: ignore[list-item]
    encoders = {name: Encoder.load(code_length=CODE_LENGTH, device="cpu", backend_name=name) for name in names}
    reference = Reference()
    batch = np.resize(images, (BATCH, *images.shape[1:]))
    runs: dict[str, Callable[[], float]] = {"reference": lambda: rate(reference.encode, batch)}
    for name in names:
        runs[name] = lambda encoder=encoders[name]: rate(coding(encoder), batch)  # type: ignore[misc]
    rates = interleaved(runs, 3 if options.quick else 9)
    plain = rates.pop("reference")
    rows = [
        Row(f"encode by {name}, batches of {BATCH}", "images/s", ours, {"fp32 as defined": plain}, ratio=ours / plain)
        for name, ours in rates.items()
    ]
    modalities = ["CT"] * len(images)
    expected = unpack(reference.encode(images, modalities), CODE_LENGTH)
    others = {name: coding(encoder) for name, encoder in encoders.items()} | {BF16: Reference(bf16=True).encode}
    for kind, encode in others.items():
        differing = 1e3 * (unpack(encode(images, modalities), CODE_LENGTH) != expected).mean()
        rows.append(Row(f"bits that {kind} gives otherwise, of 1,000", "bits", differing, limit=MOST_DIFFERING))
    publish(rows, options.json)


class Reference:
    """The network as it is defined; or, to show why it is no backend, with the blocks of its trunk in bf16."""

    def __init__(self, *, bf16: bool = False) -> None:
        network, _ = load_network(DEFAULT_MODEL)
        if bf16:
            network.trunk.blocks = nn.Sequential(AsBF16(network.trunk.blocks.to(torch.bfloat16)))
        self.network = network.eval()

    def encode(self, images: NDArray[np.uint8], modalities: Sequence[str]) -> Codes:
        """Codes of 128 bits."""
        with torch.inference_mode():
            learned = self.network(torch.from_numpy(images).unsqueeze(1)).numpy()[:, : self.network.code_length]
        return pack(joined(learned, modalities) >= 0)


class AsBF16(nn.Module):
    """A module of bf16 weights between others of fp32."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, maps: Tensor) -> Tensor:
        """Narrow and widen."""
        narrow: Tensor = self.inner(maps.to(torch.bfloat16))
        return narrow.to(maps.dtype)


def phantoms(count: int) -> NDArray[np.uint8]:
    """Network inputs, of every modality."""
    return np.stack([network_input(sample.dataset) for sample in islice(samples(count), 0, 3 * count, 3)])


def coding(encoder: Encoder) -> Callable[[NDArray[np.uint8], Sequence[str]], Codes]:
    """Images and their modalities to codes."""
    return lambda images, modalities: encoder.encode(images, modalities).codes


def rate(encode: Callable[[NDArray[np.uint8], Sequence[str]], Codes], images: NDArray[np.uint8]) -> float:
    """Images a second."""
    modalities = ["CT"] * len(images)
    encode(images, modalities)
    started = time.perf_counter()
    encode(images, modalities)
    return len(images) / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
