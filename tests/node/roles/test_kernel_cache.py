"""Search kernels in a role of the node: compiled elsewhere, loaded here."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from node.roles import kernel_cache as kernels
from node.roles.kernel_cache import make_ready
from storage.jit import stamp
from storage.search.warm_up import load, warm_up
from tests.storage.search.test_warm_up import signatures
from tests.support.running import REPOSITORY

READY = """
import sys
from pathlib import Path
from node.roles.kernel_cache import make_ready
from storage.search.kernels import bitset as bits
from storage.search.kernels import select as listing
from storage.search.kernels import aggregate as sums
from storage.segments import top_k
make_ready(Path(sys.argv[1]), 64)
loops = bits.every, bits.keep, bits.rows_of, listing.list_near, listing.select, top_k.lower, sums.aggregate
print(*(list(loop.stats.cache_misses.values()) for loop in loops if not loop.stats.cache_hits))
"""


KEPT = """
import sys
from pathlib import Path
from storage import jit as compiled
compiled.STAMP = sys.argv[1]
@compiled.kernel
def one():
    return 1
if sys.argv[2:]:
    index = Path(one._cache._cache_file._index_path)
    index.write_bytes(index.read_bytes()[:-9])
one()
print(sum(one.stats.cache_hits.values()))
"""


def test_a_process_finds_every_kernel_in_the_cache() -> None:
    warm_up(64)  # compiles what the cache lacks
    command = [sys.executable, "-c", "from storage.search.warm_up import load; print(load(64))"]

    found = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True)

    assert found.stdout.strip() == "True"


@pytest.mark.slow
def test_a_role_compiles_nothing_though_the_cache_is_empty(tmp_path: Path) -> None:
    command = [sys.executable, "-c", READY, str(tmp_path)]
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}

    found = subprocess.run(command, cwd=REPOSITORY, env=environment, check=True, capture_output=True, text=True)

    assert found.stdout.strip() == ""


def test_what_is_in_the_cache_is_loaded_without_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warm_up(64)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("nothing is to be compiled"))

    make_ready(tmp_path, 64)

    assert load(64)


def test_where_no_cache_can_be_written_no_other_process_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "load", lambda _: False)
    monkeypatch.setattr(kernels, "is_kept", lambda _: False)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("it could not keep what it compiles"))

    make_ready(tmp_path, 64)

    assert min(signatures()) > 0


def test_kernels_of_before_any_module_changed_are_not_used(tmp_path: Path) -> None:
    (tmp_path / "kept.py").write_text(KEPT)

    def hits(*arguments: str) -> int:
        command = [sys.executable, str(tmp_path / "kept.py"), *arguments]
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
        return int(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)

    assert [hits(changed) for changed in ("before", "before", "after", "after")] == [0, 1, 0, 1]
    assert hits("later", "the old index cannot be read") == 0


def test_a_change_of_any_module_changes_the_stamp(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.py").write_text("X = 1")
    before = stamp(tmp_path)

    assert stamp(tmp_path) == before
    (tmp_path / "b.py").write_text("X = 10")
    assert stamp(tmp_path) != before
