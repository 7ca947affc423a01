"""What is sealed tells nothing, opens where it lies and nowhere else, and is read at any offset."""

import os
import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.durable import write_durably
from storage.sealed_file import CHUNK_BYTES, HEADER_BYTES, TAG_BYTES, SealedFileError
from storage.vault import CLEAR, SealError, Vault

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
SECRET = b"Moller^Astrid"
SIZES = (0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES, 3 * CHUNK_BYTES + 77)


def written(folder: Path, content: bytes, vault: Vault, piece: int = 1 << 14) -> Path:
    pieces = (content[start : start + piece] for start in range(0, len(content), piece))
    write_durably(pieces, folder / "part", folder / "whole", vault)
    return folder / "whole"


def test_a_sealed_value_opens_in_its_place_with_its_key_only() -> None:
    sealed = Vault(KEY).seal("STUDY", b"1", SECRET)

    assert SECRET not in sealed
    assert pickle.loads(pickle.dumps(Vault(KEY))).unseal("STUDY", b"1", sealed) == SECRET
    assert Vault(KEY).seal("STUDY", b"1", SECRET) != sealed
    changed = sealed[:-1] + bytes([sealed[-1] ^ 1])
    for vault, purpose, place, value in (
        (Vault(OTHER), "STUDY", b"1", sealed),
        (Vault(KEY), "SERIES", b"1", sealed),
        (Vault(KEY), "STUDY", b"2", sealed),
        (Vault(KEY), "STUDY", b"1", changed),
        (Vault(KEY), "STUDY", b"1", sealed[:11]),
    ):
        with pytest.raises(SealError):
            vault.unseal(purpose, place, value)


def test_equal_texts_are_concealed_alike_and_revealed_by_the_key_only() -> None:
    concealed = Vault(KEY).conceal(SECRET)

    assert SECRET not in concealed
    assert concealed == Vault(KEY).conceal(SECRET) != Vault(OTHER).conceal(SECRET)
    assert len(concealed) == len(SECRET) + 16
    assert Vault(KEY).reveal(concealed) == SECRET
    assert Vault(KEY).reveal(Vault(KEY).conceal(b"")) == b""
    with pytest.raises(SealError):
        Vault(OTHER).reveal(concealed)


def test_a_vault_without_a_key_changes_nothing(tmp_path: Path) -> None:
    assert not CLEAR
    assert CLEAR.name == ""
    assert CLEAR.unseal("STUDY", b"1", CLEAR.seal("STUDY", b"1", SECRET)) == SECRET
    assert written(tmp_path, SECRET, CLEAR).read_bytes() == SECRET
    with Vault(KEY).open(tmp_path / "whole") as file:
        assert file.read() == SECRET


@pytest.mark.parametrize("size", SIZES)
def test_a_sealed_file_is_read_as_it_was_written(tmp_path: Path, size: int) -> None:
    content = (SECRET * (size // len(SECRET) + 1))[:size]
    path = written(tmp_path, content, Vault(KEY))

    assert SECRET not in path.read_bytes()
    with Vault(KEY).open(path) as file:
        assert file.name == path.as_posix()
        assert file.read() == content
        assert file.seek(0, os.SEEK_END) == size


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 3 * CHUNK_BYTES), st.lists(st.tuples(st.integers(0, 3 * CHUNK_BYTES), st.integers(0, 70_000))))
def test_a_sealed_file_is_read_at_any_offset(
    tmp_path_factory: pytest.TempPathFactory, size: int, reads: list[tuple[int, int]]
) -> None:
    content = os.urandom(size)
    with Vault(KEY).open(written(tmp_path_factory.mktemp("file"), content, Vault(KEY), 50_001)) as file:
        for offset, length in reads:
            file.seek(offset)
            assert file.read(length) == content[offset : offset + length]


@pytest.mark.parametrize("size", SIZES)
def test_a_file_that_was_changed_or_cut_is_not_read_as_whole(tmp_path: Path, size: int) -> None:
    path = written(tmp_path, os.urandom(size), Vault(KEY))
    sealed = path.read_bytes()
    last = HEADER_BYTES + (max(0, size - 1) // CHUNK_BYTES) * (CHUNK_BYTES + TAG_BYTES)
    damaged = [sealed[:-1], sealed[:last], sealed[:HEADER_BYTES], sealed[:-1] + bytes([sealed[-1] ^ 1])]
    damaged += [sealed[:HEADER_BYTES] + sealed[HEADER_BYTES + CHUNK_BYTES + TAG_BYTES :]] if size > CHUNK_BYTES else []

    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(SealedFileError), Vault(KEY).open(path) as file:
            file.read()


def test_another_key_or_none_opens_no_file(tmp_path: Path) -> None:
    path = written(tmp_path, SECRET, Vault(KEY))

    with Vault(OTHER).open(path) as file, pytest.raises(SealedFileError, match="another key"):
        file.read()
    with pytest.raises(SealError, match="another key"):
        CLEAR.open(path)
