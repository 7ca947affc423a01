"""`lookalike index`, as an operator calls it."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from node.cli.index import app
from node.cli.status import read_status, status_table
from node.settings import Settings
from storage.database.database import Database
from tests.support.storage.indexing import always_indexed, create, items
from tests.support.storage.invented import codes


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Folder of a database with 64 codes, five of them deleted, and no segment."""
    with create(tmp_path / "database") as database:
        database.append(items(codes(64)))
        database.remove(f"2.25.2{number}" for number in range(20, 25))
    return tmp_path


def run(home: Path, *arguments: str) -> Result:
    with always_indexed():
        return CliRunner().invoke(app, [*arguments, "--home", str(home)])


def only_file(home: Path) -> Path:
    (path,) = (home / "database" / "segments").glob("*.segment")
    return path


def test_build_makes_what_is_due_once(home: Path) -> None:
    first, second = run(home, "build"), run(home, "build")

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert "rows 0 to 64" in first.output
    assert "nothing to do" in second.output


def test_the_codes_may_stay_out_of_the_index(home: Path) -> None:
    run(home, "build", "--inline")
    large = only_file(home).stat().st_size
    only_file(home).unlink()

    run(home, "build", "--no-inline")

    assert only_file(home).stat().st_size < large


def test_verify_tells_a_good_index_from_a_damaged_one(home: Path) -> None:
    run(home, "build")
    good = run(home, "verify")
    path = only_file(home)
    octets = bytearray(path.read_bytes())
    octets[100] ^= 1
    path.write_bytes(octets)

    damaged = run(home, "verify")

    assert (good.exit_code, good.output.strip().endswith("ok")) == (0, True)
    assert damaged.exit_code == 1
    assert "checksum" in damaged.output


def test_compact_gives_the_deleted_rows_back_and_builds_one_segment(home: Path) -> None:
    done = run(home, "compact")

    assert done.exit_code == 0
    assert "5 deleted rows" in done.output
    with Database.open(home / "database") as database, database.snapshot() as snapshot:
        assert snapshot.rows == 59
        assert [entry.rows for entry in snapshot.segment_entries] == [48]
        assert database.verify() == []


def test_status_says_what_is_in_segments_and_what_is_scanned_instead(home: Path) -> None:
    run(home, "build")
    good = read_status(Settings(home=home))
    only_file(home).unlink()

    damaged = read_status(Settings(home=home))

    assert (good.segment_rows, good.segment_faults) == (64, ())
    assert damaged.segment_rows == 0
    assert "missing" in damaged.segment_faults[0]
    console = Console(record=True, width=200, file=StringIO())
    console.print(status_table(damaged))
    assert "scanned instead" in console.export_text()
