"""What commands print to: text of objects is shown as it is, never obeyed, and pipes get whole lines."""

import json
import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

PIPE_WIDTH = 10_000
"""Columns of an output that is no terminal: its reader is a program, for which a folded UID is a broken one."""
INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode categories that a terminal obeys instead of showing: controls, direction marks, line separators."""


def console_for(*, stderr: bool = False) -> Console:
    """A console on standard output, or standard error, that folds lines on a terminal only."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, width=None if stream.isatty() else PIPE_WIDTH)


def plain(text: str) -> Text:
    """Text from outside, such as a Study Description or a path, as its visible characters: no markup, no controls."""
    return Text("".join(" " if unicodedata.category(character) in INVISIBLE else character for character in text))


def print_json(value: Any) -> None:
    """Print a value as one JSON document for programs; paths, enumerations and UIDs become text."""
    json.dump(value, sys.stdout, indent=2, default=str)
    sys.stdout.write("\n")


@contextmanager
def progress_bar(description: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on standard error, and yield the function that sets it to (done, total)."""
    errors = console_for(stderr=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=errors, disable=not errors.is_terminal) as bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
