"""What another model makes of the frames: made ahead for a change of model, or kept of the model before."""

import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from struct import Struct
from typing import Any, Final

import lmdb

from storage.vault import CLEAR, Vault

TABLE: Final = "encodings"
OTHER: Final = b"encodings of"
"""Key in the table `meta` that says whose they are."""
KEY: Final = Struct(">II")
"""Packs (instance ordinal, frame) into a key."""


@dataclass(frozen=True, slots=True)
class OtherModel:
    """The model whose encodings lie beside those that answer.

    Attributes
    ----------
    model
        Its identifier.
    is_before
        True if the codes of the database were of it until the last change of model; False if they are to be.
    """

    model: str
    is_before: bool = False


class Encodings:
    """The encodings of one other model, seen through one transaction; those of a frame go with its instance."""

    def __init__(self, transaction: lmdb.Transaction, handles: Mapping[str, Any], vault: Vault = CLEAR) -> None:
        self._transaction, self._vault = transaction, vault
        self._table, self._meta = handles[TABLE], handles["meta"]

    @property
    def other(self) -> OtherModel | None:
        """Whose encodings are here; None if there are none."""
        found = self._transaction.get(OTHER, db=self._meta)
        return None if found is None else OtherModel(*json.loads(bytes(found)))

    def begin(self, model: str) -> None:
        """Make room for the encodings of a model: those of any other go."""
        if self.other is None or self.other.model != model:
            self.clear()
            self.set_other(OtherModel(model))

    def set_other(self, other: OtherModel) -> None:
        """Say whose the encodings are."""
        self._transaction.put(OTHER, json.dumps(astuple(other)).encode(), db=self._meta)

    def clear(self) -> None:
        """Delete all."""
        self._transaction.drop(self._table, delete=False)
        self._transaction.delete(OTHER, db=self._meta)

    def has(self, model: str, ordinal: int, frame: int) -> bool:
        """True if a model's encoding of a frame is here."""
        is_of_it = self.other is not None and self.other.model == model
        return is_of_it and self._transaction.get(KEY.pack(ordinal, frame), db=self._table) is not None

    def get(self, ordinal: int, frame: int) -> bytes | None:
        """Encoding of a frame; None if there is none."""
        key = KEY.pack(ordinal, frame)
        found = self._transaction.get(key, db=self._table)
        return None if found is None else bytes(self._vault.unseal(TABLE, key, found))

    def put(self, ordinal: int, frame: int, encoding: bytes | None) -> None:
        """Keep the encoding of a frame that is stored; None deletes it."""
        key = KEY.pack(ordinal, frame)
        if encoding is None:
            self._transaction.delete(key, db=self._table)
        else:
            self._transaction.put(key, self._vault.seal(TABLE, key, encoding), db=self._table)
