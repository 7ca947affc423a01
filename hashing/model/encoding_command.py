"""Encoders by name: of this process, or of a Ray cluster; and a folder of DICOM files encoded by either."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from hashing.model.backends import Backend
from hashing.model.encoder import Encoder
from hashing.model.file_encoding import LocalFileEncoder, blocks_of, write_codes
from hashing.model.model_file import DEFAULT_MODEL, ModelError
from hashing.progress import progress

if TYPE_CHECKING:
    from hashing.model.ray_encoding import RayEncoder


@dataclass(frozen=True, slots=True)
class RayCluster:
    """A Ray cluster, and how much of it encodes.

    Attributes
    ----------
    address
        Such as 10.0.0.1:6379; "local" starts a cluster on this machine.
    workers
        Number of workers; 0: one on each GPU or, without any, on each processor.
    """

    address: str
    workers: int = 0

    @classmethod
    def named(cls, address: str, workers: int) -> "RayCluster | None":
        """Return the cluster of an address; None for ""."""
        return cls(address, workers) if address else None


@contextmanager
def encoder_on(
    cluster: RayCluster | None, path: Path, code_length: int, device: str = "auto", backend_name: Backend = "auto"
) -> Iterator["Encoder | RayEncoder"]:
    """Yield an encoder with the weights of `path`, of a cluster or of this process; both give the same codes.

    Raises
    ------
    ModelError
        The model cannot be used, or Ray is named and not installed.
    """
    if cluster is None:
        yield Encoder.load(path, code_length, device, backend_name)
        return
    if find_spec("ray") is None:
        raise ModelError("Ray is not installed: pip install 'lookalike[ray]', or encode without a cluster")
    from hashing.model.ray_encoding import RayEncoder

    with RayEncoder(cluster.address, path, code_length, device, backend_name, cluster.workers) as encoder:
        yield encoder


def encode_folder(
    folder: Path, out: Path, model: Path | None, code_length: int, max_frames: int, cluster: RayCluster | None
) -> tuple[int, int]:
    """Write the codes of a folder's files; return how many files there are, and how many have no code.

    Raises
    ------
    ModelError
        As `encoder_on`.
    OSError
        A file cannot be read where it is encoded.
    """
    blocks = list(blocks_of(folder))
    counts = (0, 0)
    with encoder_on(cluster, model or DEFAULT_MODEL, code_length) as encoder:
        files = LocalFileEncoder(encoder) if isinstance(encoder, Encoder) else encoder
        written = write_codes(files.encode_files(blocks, max_frames), out, folder)
        for counts in progress(written, "blocks of files", len(blocks)):  # noqa: B007 - the last ones are the sums
            continue
    return counts
