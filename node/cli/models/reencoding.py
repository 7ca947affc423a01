"""The database of a home folder brought to the model that is set, without the PACS: previews are encoded anew."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from hashing.model.encoding_command import RayCluster, encoder_on
from hashing.model.model_file import DEFAULT_MODEL
from node.home import open_database, require_database
from node.locks import InUseError
from node.processes import Role, node_lock, role_lock, running_node
from node.settings import Settings
from storage.corrections.reencoding import Encoded, Report, prepare, reencode

FOLDER = "reencoding"
"""Folder beside the files of the database where encodings wait until all are made."""


def reencode_home(settings: Settings, report: Report, cluster: RayCluster | None = None) -> int:
    """Give every stored image the codes of the model that is set; return how many frames that were.

    The code length stays what it is. The node may not run meanwhile.

    Parameters
    ----------
    report
        Called with the frames done and the frames of the whole.
    cluster
        Where frames are encoded; None to encode here.

    Raises
    ------
    node.locks.InUseError
        The node is running.
    hashing.model.model_file.ModelError
        The model cannot be used, or has no codes of the length that the database holds.
    storage.errors.StorageError
        There is no database, or it cannot be brought to another model.
    """
    if (owner := running_node(settings)) is not None:
        raise InUseError(settings.run_path, f"home folder {settings.home}", owner)
    with (
        node_lock(settings),
        role_lock(settings, Role.INDEX),
        open_database(settings, readonly=False) as database,
        _encoding(settings, database.header.code_length, cluster) as (model, encode),
    ):
        return reencode(database, model, encode, settings.database_path / FOLDER, report)


def prepare_home(settings: Settings, report: Report, cluster: RayCluster | None = None) -> int:
    """Encode what is stored by the model that is set, beside the node, which goes on answering with the old codes.

    `reencode_home` then has little left to encode. Parameters and errors are those of it, but for the running node.
    Returns the number of frames that are ready.
    """
    require_database(settings)
    with (
        open_database(settings) as database,
        _encoding(settings, database.header.code_length, cluster) as (model, encode),
    ):
        return prepare(database, model, encode, settings.database_path / FOLDER, report)


@contextmanager
def _encoding(
    settings: Settings, code_length: int, cluster: RayCluster | None
) -> Iterator[tuple[str, Callable[..., Encoded]]]:
    """Identifier of the model that is set, and what encodes by it."""
    path, device, backend = settings.model_path or DEFAULT_MODEL, settings.device, settings.encoder_backend
    with encoder_on(cluster, path, code_length, device, backend) as encoder:

        def encode(previews: NDArray[np.uint8], modalities: Sequence[str]) -> Encoded:
            """Codes, outputs and class scores of previews."""
            encoding = encoder.encode(previews, modalities)
            outputs = encoding.outputs
            return Encoded(encoding.codes, outputs.relaxed, outputs.class_scores)

        yield encoder.model.identifier, encode
