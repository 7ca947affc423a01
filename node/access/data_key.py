"""The key that seals a home folder: random, and kept in it wrapped by a key that the operator gives.

Giving another key later takes a moment, since only the data key is wrapped anew.
"""

import base64
import binascii
import json
import os
import shlex
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Final

from node.errors import SettingsError
from node.settings import Settings
from storage.durable import create_locked, sync_folder, write_durably
from storage.vault import CLEAR, KEY_BYTES, SealError, Vault

FILE: Final = "data-key"
PURPOSE, PLACE = "data key", b"lookalike"
COMMAND_LIMIT_S: Final = 30
NOT_ENCRYPTED: Final = "is not encrypted: stop the node and run `lookalike encrypt`, or leave encryption_key out"


def vault_of(settings: Settings) -> Vault:
    """Vault of a home folder: what is written there is sealed by it, and opened again.

    A home folder without a database gets its data key here. The key source is asked once in the life of a process.

    Raises
    ------
    SettingsError
        The folder is encrypted and no key is given, or another one; it holds a database that is not encrypted, though
        a key is given; the settings keep data where no key seals it; or the key cannot be had.
    """
    path = settings.home.absolute() / FILE
    if not settings.encryption_key:
        if path.exists():
            raise SettingsError(f"{settings.home} is encrypted: set encryption_key to the source of its key")
        return CLEAR
    _refuse_open_index(settings)
    if not path.exists() and any(settings.database_path.glob("*.mdb")):
        raise SettingsError(f"{settings.home} {NOT_ENCRYPTED}")
    return make_vault(settings)


def make_vault(settings: Settings) -> Vault:
    """Open the data key of a home folder, which is made where there is none; other errors are those of `vault_of`.

    Parameters
    ----------
    settings
        With a source of a key.
    """
    return _opened(settings.home.absolute() / FILE, settings.encryption_key)


def _refuse_open_index(settings: Settings) -> None:
    if settings.index != "local":
        raise SettingsError(
            "encryption_key: Milvus would hold attributes readable: set index to local, or leave the key out"
        )


@lru_cache(maxsize=16)
def _opened(path: Path, source: str) -> Vault:
    keys = _keys(source)
    if not path.exists():
        _write_first(path, Vault(keys[0]).seal(PURPOSE, PLACE, os.urandom(KEY_BYTES)))
    wrapped = _read(path)
    for number, key in enumerate(keys):
        try:
            data_key = bytes(Vault(key).unseal(PURPOSE, PLACE, wrapped))
        except SealError:
            continue
        if number:  # an older key: from now on the first one opens it
            _write(path, Vault(keys[0]).seal(PURPOSE, PLACE, data_key))
        return Vault(data_key)
    raise SettingsError(f"encryption_key: none of its {len(keys)} keys opens {path}: give that of its start")


def _keys(source: str) -> list[bytes]:
    """Keys of a source, the one in use first, then older ones."""
    lines = [line for line in _text(source).split() if line]
    keys = [_key(line) for line in lines]
    if not keys or None in keys:
        raise SettingsError(
            f"encryption_key: {source} gives no key of {KEY_BYTES} bytes, in base64 or hexadecimal digits, on each line"
        )
    return [key for key in keys if key is not None]


def _text(source: str) -> str:
    kind, _, where = source.partition(":")
    try:
        if kind == "file":
            return Path(where).read_text("ascii")
        if kind == "env":
            return os.environ.get(where, "")
        result = subprocess.run(
            shlex.split(where), capture_output=True, text=True, timeout=COMMAND_LIMIT_S, check=False
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise SettingsError(f"encryption_key: {source} cannot be read: {type(error).__name__}") from error
    if result.returncode:
        raise SettingsError(f"encryption_key: the command ended with status {result.returncode}")
    return result.stdout


def _key(text: str) -> bytes | None:
    try:
        if len(text) == 2 * KEY_BYTES:
            return bytes.fromhex(text)
        key = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return None
    return key if len(key) == KEY_BYTES else None


def _read(path: Path) -> bytes:
    try:
        return bytes.fromhex(json.loads(path.read_text("ascii"))["wrapped"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"{path} cannot be read: restore it from a backup, else nothing here opens") from error


def _write_first(path: Path, wrapped: bytes) -> None:
    """Write the file unless another process is quicker."""
    temporary = path.with_name(f"{FILE}.{os.getpid()}.tmp")
    with os.fdopen(create_locked(temporary), "wb") as file:
        file.write(_packed(wrapped))
        file.flush()
        os.fsync(file.fileno())
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        return
    finally:
        temporary.unlink()
        sync_folder(path.parent)


def _write(path: Path, wrapped: bytes) -> None:
    part = path.with_name(f"{FILE}.{os.getpid()}.new")
    write_durably([_packed(wrapped)], part.with_suffix(".tmp"), part)
    part.replace(path)  # never without the file
    sync_folder(path.parent)


def _packed(wrapped: bytes) -> bytes:
    return json.dumps({"wrapped": wrapped.hex()}).encode() + b"\n"
