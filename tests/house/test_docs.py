"""The documentation names what the code has and nothing else: settings, commands, statuses."""

import re
from collections.abc import Iterator

import pytest
import typer
from typer.main import get_command

from hashing.__main__ import app as hashing_app
from node.cli.main import app
from node.errors import Status
from node.options.pull import PullJob
from node.peers import RemoteEntity
from node.settings import Settings
from tests.support.documents import DOCS, rows

PIPELINE = (
    "core-ms an instance", "read", "decode", "window", "resample", "all of prepare", "encode", "commit", "receive",
    "limit/s", "reached/s", "of it (goal 70 %)",
)  # fmt: skip
DISK = ("disk a year, `preview`", "disk a year, `all`")
README = DOCS.parent / "README.md"


def commands(command: object, *path: str) -> Iterator[tuple[str, typer.core.TyperCommand]]:
    """Every command of a program with the words that call it."""
    assert isinstance(command, typer.core.TyperGroup)
    for name, child in command.commands.items():
        if isinstance(child, typer.core.TyperGroup):
            yield from commands(child, *path, name)
        else:
            assert isinstance(child, typer.core.TyperCommand)
            yield " ".join((*path, name)), child


def first_line(text: str | None) -> str:
    """First line of a help text."""
    return (text or "").strip().split("\n")[0]


COMMANDS = dict(commands(get_command(app), "lookalike")) | dict(commands(get_command(hashing_app), "python -m hashing"))
SHOWN = [name for name, command in COMMANDS.items() if not command.hidden]


def test_every_setting_is_documented_with_its_default_and_nothing_else_is() -> None:
    documented = {
        name: (default, meaning) for name, default, meaning in rows("operations.md", "setting", "default", "meaning")
    }

    fields = Settings.model_fields.items()
    assert documented == {f"`{name}`": (f"`{field.default}`", field.description) for name, field in fields}


def test_every_key_of_a_peer_is_documented_and_nothing_else_is() -> None:
    documented = {
        name: (default, meaning)
        for name, default, meaning in rows("operations.md", "key of a peer", "default", "meaning")
    }

    assert documented == {
        f"`{name}`": ("" if field.is_required() else f"`{field.default}`", field.description)
        for name, field in RemoteEntity.model_fields.items()
    }


def test_every_key_of_a_job_is_documented_and_nothing_else_is() -> None:
    documented = {
        name: (default, meaning) for name, default, meaning in rows("backfill.md", "key of a job", "default", "meaning")
    }

    assert documented == {
        f"`{name}`": ("" if field.is_required() else f"`{field.default}`", field.description)
        for name, field in PullJob.model_fields.items()
    }


@pytest.mark.parametrize("name", SHOWN)
def test_a_command_has_help_and_an_example_that_names_it(name: str) -> None:
    command = COMMANDS[name]

    assert command.help
    assert re.search(rf"Examples?: .*{re.escape(name)}", command.epilog or "")


def test_every_command_is_documented_with_its_help_and_nothing_else_is() -> None:
    documented = {name.strip("`"): meaning for name, meaning in rows("commands.md", "command", "does")}

    assert documented == {name: first_line(COMMANDS[name].help) for name in SHOWN}


def test_the_readme_and_the_documentation_name_only_commands_that_are_there() -> None:
    texts = [README.read_text(), *(path.read_text() for path in sorted(DOCS.glob("*.md")))]
    called = {
        words for text in texts for words in re.findall(r"(?:\.venv/bin/|^|`)lookalike ([a-z]+)", text, re.MULTILINE)
    }

    assert called <= {name.split()[1] for name in SHOWN}


def test_every_status_we_answer_is_documented() -> None:
    text = (DOCS / "conformance.md").read_text()

    assert [f"{status:04X}" for status in Status if f"{status:04X}" not in text] == []


def test_every_status_of_a_documented_table_is_answered_somewhere() -> None:
    lines = (DOCS / "conformance.md").read_text().split("\n")
    documented = {row[1] for line in lines if (row := re.match(r"\| ([0-9A-F]{4}) \|", line))}

    assert documented
    assert documented <= {f"{status:04X}" for status in Status}


def test_sizes_are_computed_from_what_was_measured() -> None:
    [raw] = [cells for cells in rows("performance.md", *PIPELINE) if cells[0].startswith("raw")]
    core_s = sum(map(float, (raw[5], raw[6], raw[7], raw[8]))) / 1000 / (float(raw[-1].split()[0]) / 100)
    new = rows("sizing.md", "images a day", "a second, busiest hour", "cores for ingest", *DISK)
    histories = rows("sizing.md", "images", "2 cores", "8 cores", "32 cores")

    for images, rate, cores, previews, objects in new:
        a_day = float(images.replace(",", ""))
        assert float(rate) == pytest.approx(a_day / 36_000, rel=0.05)
        assert float(cores) == pytest.approx(a_day / 36_000 * core_s, rel=0.2)
        assert float(previews.split()[0]) == pytest.approx(a_day * 365 * 31e3 / 1e12, rel=0.05)
        assert float(objects.split()[0]) == pytest.approx(a_day * 365 * 531e3 / 1e12, rel=0.05)
    for images, *times in histories:
        for n_cores, time in zip((2, 8, 32), times, strict=True):
            hours = float(time.split()[0]) * {"h": 1, "d": 24}[time.split()[1]]
            assert hours == pytest.approx(10.0 ** int(images[3:]) * core_s / n_cores / 3600, rel=0.1)
