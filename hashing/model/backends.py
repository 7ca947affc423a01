"""Backends that run a network. They give the same codes; the quickest that is installed is taken."""

import logging
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hashing.model.model_file import ModelError
from hashing.model.network import INPUT_SIZE, HashNetwork, channels_last

logger = logging.getLogger(__name__)

Backend = Literal["auto", "torch", "openvino"]
Run = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Function from images (n, height, width) to outputs (n, code_length + n_classes): relaxed codes, class logits."""

TORCH_CHUNK, OPENVINO_CHUNK = 2, 4  # images that a core encodes at a time: more of them leave its cache


def backend(network: HashNetwork, device: torch.device, name: Backend = "auto") -> Run:
    """The network, ready to run.

    Parameters
    ----------
    network
        In evaluation mode, batch normalisation folded.
    name
        "torch", or "openvino" if the extra `openvino` is installed. "auto" takes torch on a GPU, and elsewhere
        OpenVINO where it is installed. All compute in fp32: bf16 changes more than one bit in a hundred
        (docs/performance.md).

    Raises
    ------
    ModelError
        The backend is not installed, or does not run on the device.
    """
    if device.type != "cpu":
        if name not in ("auto", "torch"):
            raise ModelError(f"backend {name} runs on a CPU only: set backend to auto, or device to cpu")
        return _on_gpu(channels_last(network.to(device)), device)
    has_openvino = find_spec("openvino") is not None
    if name == "openvino" and not has_openvino:
        raise ModelError("backend openvino is not installed: pip install 'lookalike[openvino]', or set backend to auto")
    chosen = "openvino" if has_openvino and name != "torch" else "torch"
    logger.info("encoding by %s", chosen)
    return {"openvino": _openvino, "torch": _torch}[chosen](network)


def _on_gpu(network: nn.Module, device: torch.device) -> Run:
    torch.backends.cudnn.allow_tf32 = False  # ten bits of fraction would change codes, as bf16 does

    def run(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return _outputs(network, torch.from_numpy(images).to(device))

    return run


def _torch(network: HashNetwork) -> Run:
    """Each core encodes images of its own: cores that share an image wait for each other, above all on a busy host."""
    laid_out = channels_last(network)
    pool = ThreadPoolExecutor(torch.get_num_threads(), initializer=partial(torch.set_num_threads, 1))

    def encode(chunk: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return _outputs(laid_out, torch.from_numpy(chunk))

    return lambda images: _in_chunks(images, TORCH_CHUNK, network.width, lambda chunks: list(pool.map(encode, chunks)))


def _openvino(network: HashNetwork) -> Run:
    import openvino  # type: ignore[import-untyped, import-not-found, unused-ignore]

    shape = [OPENVINO_CHUNK, 1, INPUT_SIZE, INPUT_SIZE]
    example = torch.zeros(shape, dtype=torch.uint8)
    with warnings.catch_warnings():  # its converter uses what torch has deprecated
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(network, example, check_trace=False)  # type: ignore[no-untyped-call]
        converted = openvino.convert_model(traced, example_input=example, input=openvino.PartialShape(shape))
    streams = torch.get_num_threads()
    settings = {"INFERENCE_NUM_THREADS": streams, "NUM_STREAMS": streams, "INFERENCE_PRECISION_HINT": "f32"}
    queue = openvino.AsyncInferQueue(openvino.Core().compile_model(converted, "CPU", settings), streams)

    def encode(chunks: list[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        outputs: dict[int, NDArray[np.float32]] = {}

        def store(request: Any, number: int) -> None:
            outputs[number] = request.get_output_tensor().data.copy()

        queue.set_callback(store)
        for number, chunk in enumerate(chunks):
            queue.start_async(chunk[:, None], number)
        queue.wait_all()
        return [outputs[number] for number in range(len(chunks))]

    return lambda images: _in_chunks(images, OPENVINO_CHUNK, network.width, encode)


def _outputs(network: nn.Module, images: Tensor) -> NDArray[np.float32]:
    batch = images.unsqueeze(1).contiguous(memory_format=torch.channels_last)
    outputs: Tensor = network(batch)
    return np.asarray(outputs.float().cpu().numpy(), np.float32)


def _in_chunks(
    images: NDArray[np.uint8],
    size: int,
    width: int,
    encode: Callable[[list[NDArray[np.uint8]]], list[NDArray[np.float32]]],
) -> NDArray[np.float32]:
    """Encode chunks of one size, the last filled up: an image's code must not depend on how many came with it."""
    filled = np.concatenate([images, np.zeros((-len(images) % size, *images.shape[1:]), np.uint8)])
    chunks = [filled[at : at + size] for at in range(0, len(filled), size)]
    return np.concatenate([np.empty((0, width), np.float32), *encode(chunks)])[: len(images)]
