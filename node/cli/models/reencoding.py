"""The database of a home folder brought to the model that is set, without the PACS: previews are encoded anew."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashing.model.encoding_command import RayCluster, encoder_on
from hashing.model.model_file import DEFAULT_MODEL, ModelError
from node.cli.models.choice import file_of, use
from node.home import open_database, require_database
from node.locks import InUseError
from node.processes import Role, node_lock, role_lock, running_node
from node.settings import Settings
from storage.corrections.reencoding import Encoded, Kept, Report, drop, kept, prepare, reencode


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
    _require_stopped(settings)
    with (
        node_lock(settings),
        role_lock(settings, Role.INDEX),
        open_database(settings, readonly=False) as database,
        _encoding(settings, database.header.code_length, cluster) as (model, encode),
    ):
        return reencode(database, model, encode, report)


def prepare_home(settings: Settings, report: Report, cluster: RayCluster | None = None) -> int:
    """Encode what is stored by the model that is set, beside the node, which goes on answering with the old codes.

    `reencode_home` then has little left to encode. Parameters and errors are those of it, but for the running node.
    Returns the number of frames that are ready.
    """
    require_database(settings)
    with (
        open_database(settings, readonly=False) as database,
        _encoding(settings, database.header.code_length, cluster) as (model, encode),
    ):
        return prepare(database, model, encode, report)


def back_home(settings: Settings, file: Path | None, report: Report) -> int:
    """Set the model before, and give every image its codes of it again; return how many frames that were.

    Only images that came or were replaced since, or that rejections hide, are encoded. The settings change first: after
    a kill the same command, or `reencode_home`, does the rest.

    Parameters
    ----------
    file
        Model file; None to look for it where `node.cli.models.choice.choices` does.

    Raises
    ------
    hashing.model.model_file.ModelError
        No model before is known, or its file is not there.
    node.locks.InUseError, node.errors.SettingsError, storage.errors.StorageError
        As in `reencode_home`, and `node.cli.models.choice.use`.
    """
    before = kept_in_home(settings)
    if before is None or not before.is_before:
        raise ModelError(
            "no model before is kept: to go to another one, lookalike model use NAME and lookalike model reencode"
        )
    path = file_of(settings, before.model, file)
    _require_stopped(settings)
    use(settings, path)
    return reencode_home(settings.model_copy(update={"model_path": path}), report)


def kept_in_home(settings: Settings) -> Kept | None:
    """What the database keeps of another model; None if nothing."""
    with open_database(settings) as database:
        return kept(database)


def drop_home(settings: Settings) -> int:
    """Give up what the database keeps of another model, beside the node too; return the bytes that are free again."""
    require_database(settings)
    with open_database(settings, readonly=False) as database:
        return drop(database)


def _require_stopped(settings: Settings) -> None:
    if (owner := running_node(settings)) is not None:
        raise InUseError(settings.run_path, f"home folder {settings.home}", owner)


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
