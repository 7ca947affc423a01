"""Encoding on a Ray cluster: workers that hold the model, blocks that stream, and what fails is done again.

A worker encodes by the same code as this process: its codes are the same, bit for bit, by the same backend.
"""

import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import ray
from numpy.typing import NDArray
from ray.exceptions import RayActorError

from hashing.model.backends import Backend
from hashing.model.encoder import Encoder, Encoding
from hashing.model.file_encoding import FileCodes, file_codes
from hashing.model.model_file import DEFAULT_MODEL, Model, ModelError, read_model

IMAGES_AT_ONCE: Final = 32
"""Images of one task."""
AHEAD: Final = 3
"""Tasks of each worker that may be done before those in front of them."""
MAX_ATTEMPTS: Final = 4
"""Workers that may die over one task before its files are tried one by one, and a file is given up."""

Task = tuple[str, tuple[Any, ...]]
"""Method of a worker, and its arguments."""


class ModelHolder:
    """Holds the model in a process of the cluster."""

    def __init__(self, model: bytes, code_length: int, device: str, backend_name: Backend) -> None:
        with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
            file.write(model)
            file.flush()
            self._encoder = Encoder.load(Path(file.name), code_length, device, backend_name)

    def ready(self) -> int:
        """Process number, once the model is loaded."""
        return os.getpid()

    def encode(self, images: NDArray[np.uint8], modalities: Sequence[str]) -> Encoding:
        """Encode images, as `Encoder.encode` does."""
        return self._encoder.encode(images, modalities)

    def encode_files(self, paths: Sequence[Path], max_frames: int) -> list[FileCodes]:
        """Encode files, which lie where this worker can read them."""
        return [file_codes(self._encoder, path, max_frames) for path in paths]


class RayEncoder:
    """An encoder whose work is done by workers of a Ray cluster; used as a context manager, by one thread.

    A worker that dies is replaced, wherever the cluster has room, and its task is given to another one. Results come in
    the order of the tasks, each once.

    Parameters
    ----------
    address
        Of the cluster, such as 10.0.0.1:6379; "local" starts one on this machine.
    workers
        Number of workers; 0 for one on each GPU of the cluster or, without any, on each of its processors.

    Attributes
    ----------
    model
        Model that the workers hold; its file is sent to them.
    """

    def __init__(
        self,
        address: str,
        path: Path = DEFAULT_MODEL,
        code_length: int = 64,
        device: str = "auto",
        backend_name: Backend = "auto",
        workers: int = 0,
    ) -> None:
        self.model: Model = read_model(path)
        lengths = self.model.architecture.code_lengths
        if code_length not in lengths:
            raise ModelError(f"code length {code_length} is not one of {lengths}: change code_length")
        self._address, self._workers = address, workers
        self._arguments = (path.read_bytes(), code_length, device, backend_name)
        self._pool: _Pool | None = None

    def __enter__(self) -> Self:
        ray.init(address=self._address, log_to_driver=False, logging_level="ERROR", include_dashboard=False)
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0))
        options = {"num_cpus": 0 if gpus else 1, "num_gpus": 1 if gpus else 0, "max_restarts": 0}
        make = ray.remote(**options)(ModelHolder).remote
        model = ray.put(self._arguments[0])
        number = self._workers or gpus or int(resources.get("CPU", 1))
        self._pool = _Pool(partial(make, model, *self._arguments[1:]), number)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._pool = None
        ray.shutdown()

    def encode(self, images: NDArray[np.uint8], modalities: Sequence[str]) -> Encoding:
        """Codes and class scores of images, as `Encoder.encode` gives them."""
        starts = range(0, len(images), IMAGES_AT_ONCE)
        parts = (
            (images[start : start + IMAGES_AT_ONCE], list(modalities[start : start + IMAGES_AT_ONCE]))
            for start in starts
        )
        return Encoding.joined(list(self._run(("encode", part) for part in parts)))

    def encode_files(self, blocks: Iterable[Sequence[Path]], max_frames: int) -> Iterator[list[FileCodes]]:
        """Yield the codes of each block of files, as `EncodesFiles` says; workers read the files where they lie."""
        return self._run(("encode_files", (list(block), max_frames)) for block in blocks)

    def _run(self, tasks: Iterable[Task]) -> Iterator[Any]:
        if self._pool is None:
            raise ValueError("no connection to the cluster: use the encoder in a `with` block")
        return self._pool.results(tasks)


class _Pool:
    """Workers that are loading, idle or at work."""

    def __init__(self, start: Callable[[], Any], number: int) -> None:
        self._start = start
        self._loading: dict[Any, Any] = {}  # by the reference to their answer
        self._idle: deque[Any] = deque()
        self._running: dict[Any, tuple[Any, int, Task]] = {}
        self._attempts: dict[int, int] = {}
        self._number, self._vain_starts = number, 0
        for _ in range(number):
            self._add()

    def results(self, tasks: Iterable[Task]) -> Iterator[Any]:
        """Yield the result of each task, in their order."""
        numbered, again = enumerate(tasks), deque[tuple[int, Task]]()
        done: dict[int, Any] = {}
        following, left = 0, True
        while True:
            while self._idle and (again or (left and len(done) + len(self._running) < AHEAD * self._number)):
                numbered_task = again.popleft() if again else next(numbered, None)
                if numbered_task is None:
                    left = False
                    break
                self._submit(*numbered_task)
            if not left and not again and not self._running:
                return
            self._wait(done, again)
            while following in done:
                yield done.pop(following)
                following += 1

    def _add(self) -> None:
        worker = self._start()
        self._loading[worker.ready.remote()] = worker

    def _submit(self, number: int, task: Task) -> None:
        worker = self._idle.popleft()
        method, arguments = task
        self._running[getattr(worker, method).remote(*arguments)] = worker, number, task

    def _wait(self, done: dict[int, Any], again: deque[tuple[int, Task]]) -> None:
        """Wait for a worker to load or to finish; whoever died is replaced."""
        for reference in ray.wait([*self._running, *self._loading], num_returns=1)[0]:
            loading = self._loading.pop(reference, None)
            worker, number, task = (loading, -1, ("", ())) if loading else self._running.pop(reference)
            try:
                result = ray.get(reference)
            except RayActorError as error:
                self._replace(error, was_loading=loading is not None)
                if not loading:
                    self._try_again(number, task, done, again)
            else:
                self._idle.append(worker)
                self._vain_starts = 0
                if not loading:
                    done[number] = result

    def _replace(self, error: RayActorError, *, was_loading: bool) -> None:
        """Start another worker, unless none of them ever gets ready."""
        self._vain_starts += was_loading
        if self._vain_starts > MAX_ATTEMPTS * self._number:
            raise ModelError("no worker of the cluster gets ready: see its logs") from error
        self._add()

    def _try_again(self, number: int, task: Task, done: dict[int, Any], again: deque[tuple[int, Task]]) -> None:
        """Put a task back, or give it up file by file once it has cost too many workers."""
        self._attempts[number] = self._attempts.get(number, 0) + 1
        if self._attempts[number] < MAX_ATTEMPTS:
            again.append((number, task))
            return
        method, arguments = task
        if method != "encode_files":
            raise ModelError(f"{MAX_ATTEMPTS} workers died over the same images: see the logs of the cluster")
        paths, max_frames = arguments
        done[number] = [self._alone(path, max_frames) for path in paths]

    def _alone(self, path: Path, max_frames: int) -> FileCodes:
        """Codes of one file, by a worker of its own."""
        worker = self._start()
        try:
            (found,) = ray.get(worker.encode_files.remote([path], max_frames))
        except RayActorError:
            return FileCodes(str(path), fault="the worker died over this file")
        finally:
            ray.kill(worker)
        assert isinstance(found, FileCodes)
        return found
