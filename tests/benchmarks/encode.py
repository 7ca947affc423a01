"""How fast is each backend, and how near to the reference? python -m tests.benchmarks.encode [--quick] [--json FILE].

The peer is the network as it is defined, fp32, in batches of 32. The second table counts the bits in a thousand that
differ from it, on images of the phantom hospital; a backend that the processor is slow at is counted all the same.
"""

import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from itertools import islice
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from hashing import backends
from hashing.backends import Backend, has_bf16
from hashing.codes import Codes, pack, unpack
from hashing.encoder import Encoder
from hashing.modality import joined
from hashing.model import DEFAULT_MODEL
from hashing.network import HashNetwork
from hashing.pixels import network_input
from node.samples import samples
from tests.benchmarks.report import Row, arguments, interleaved, publish

BATCH = 32
CODE_LENGTH = 128
MOST_DIFFERING = 1.0  # bits in a thousand


def main() -> None:
    """Run all rows."""
    options = arguments(__doc__ or "")
    images = phantoms(24 if options.quick else 128)
    is_fast = {"torch": True, "openvino": True, "bf16": has_bf16()}
    names = [name for name in get_args(Backend) if name in is_fast and (name != "openvino" or find_spec("openvino"))]
    backends.has_bf16 = lambda: True  # what differs can be counted on any processor, if slowly
    encoders = {name: Encoder.load(code_length=CODE_LENGTH, device="cpu", backend_name=name) for name in names}
    reference = Reference()
    batch = np.resize(images, (BATCH, *images.shape[1:]))
    runs: dict[str, Callable[[], float]] = {"reference": lambda: rate(reference.encode, batch)}
    for name in names:
        if is_fast[name]:
            runs[name] = lambda encoder=encoders[name]: rate(encoder.encode, batch)  # type: ignore[misc]
    rates = interleaved(runs, 3 if options.quick else 9)
    plain = rates.pop("reference")
    rows = [
        Row(f"encode by {name}, batches of {BATCH}", "images/s", ours, {"fp32 as defined": plain}, ratio=ours / plain)
        for name, ours in rates.items()
    ]
    expected = unpack(reference.encode(images, ["CT"] * len(images)), CODE_LENGTH)
    for name, encoder in encoders.items():
        few = images if is_fast[name] else images[:: len(images) // 24]
        codes = unpack(encoder.encode(few, ["CT"] * len(few)), CODE_LENGTH)
        differing = 1e3 * (codes != expected[:: len(images) // len(few)]).mean()
        work = f"bits of {len(few)} images that {name} gives otherwise, of 1,000"
        rows.append(Row(work, "bits", differing, limit=MOST_DIFFERING))
    publish(rows, options.json)


class Reference:
    """The network as it is defined."""

    def __init__(self) -> None:
        network = HashNetwork()
        state = network.state_dict()
        network.load_state_dict({name: one.to(state[name].dtype) for name, one in load_file(DEFAULT_MODEL).items()})
        self.network = network.eval()

    def encode(self, images: NDArray[np.uint8], modalities: Sequence[str]) -> Codes:
        """Codes of 128 bits."""
        with torch.inference_mode():
            learned = self.network(torch.from_numpy(images).unsqueeze(1)).numpy()
        return pack(joined(learned, modalities) >= 0)


def phantoms(count: int) -> NDArray[np.uint8]:
    """Network inputs, of every modality."""
    return np.stack([network_input(sample.dataset) for sample in islice(samples(count), 0, 3 * count, 3)])


def rate(encode: Callable[[NDArray[np.uint8], Sequence[str]], Codes], images: NDArray[np.uint8]) -> float:
    """Images a second."""
    modalities = ["CT"] * len(images)
    encode(images, modalities)
    started = time.perf_counter()
    encode(images, modalities)
    return len(images) / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
