"""The header of a database, written when it is made, and when its codes become those of another model."""

import json
import secrets
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

from hashing.codes import CodeLengthError, words
from storage.database.blocks import Layout
from storage.errors import FormatError, ModelMismatch
from storage.vault import SealError, Vault

FORMAT: Final = 7
"""Number of the on-disk format; a change of any table, key or value raises it.

1 was without the column `manufacturer` and without outputs of the network (in 2, class scores may follow these).
2 was without the table `lookup`, and 3 had only Patient ID and Accession Number in it.
4 was without the tables of rejected instances. 5 could not be sealed, and
6 was without the table of another model's encodings. `storage.database.migrations` brings each to 7.
"""


HEADER: Final = b"header"
"""Its key."""


def new_identity() -> str:
    """Random text that tells one database from others."""
    return secrets.token_hex(4)


@dataclass(frozen=True, slots=True)
class Header:
    """Format and model of a database.

    Attributes
    ----------
    code_length
        Bits of each code.
    model
        Fingerprint of the model that made the codes.
    identity
        Random text that tells this database from another one with the same history.
    format
        Number of the format it is in.
    sealed
        Name of the vault that sealed it; "" if none did.
    """

    code_length: int
    model: str
    block_rows: int
    tail_rows: int
    identity: str = field(default_factory=new_identity)
    format: int = FORMAT
    sealed: str = ""

    def __post_init__(self) -> None:
        """Refuse a code length or cut that no database can have."""
        _ = self.layout

    @property
    def layout(self) -> Layout:
        """How its rows are cut into values."""
        return Layout(words(self.code_length), self.block_rows, self.tail_rows)

    def of_model(self, model: str) -> "Header":
        """The header of the same rows with codes of another model; no snapshot of before has its identity."""
        return replace(self, model=model, identity=new_identity())

    def to_bytes(self) -> bytes:
        """Pack as JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, value: bytes | None, path: Path) -> "Header":
        """Undo `to_bytes`.

        Raises
        ------
        FormatError
            Nothing there, or of a format that this release does not know.
        """
        if value is None:
            raise FormatError(path, found="no header", expected=f"format {FORMAT}")
        fields = json.loads(value)
        found = fields["format"]
        if not 1 <= found <= FORMAT:
            raise FormatError(path, found=f"format {found}", expected=f"format {FORMAT}")
        return cls(**fields)

    def check_vault(self, vault: Vault, path: Path) -> None:
        """Refuse a vault that is not the one that sealed the database.

        Raises
        ------
        SealError
        """
        if vault.name != self.sealed:
            raise SealError(f"database {path}")

    def check(self, code_length: int, model: str) -> None:
        """Refuse codes that could not be compared with the stored codes.

        Raises
        ------
        CodeLengthError, ModelMismatch
        """
        if self.model != model:
            raise ModelMismatch(found=self.model, expected=model)
        if self.code_length != code_length:
            raise CodeLengthError(found=self.code_length, expected=code_length)
