"""The first minute: sample cases, the commands that are printed, and log lines beside bars."""

import io
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Event

import pytest
from rich.console import Console
from rich.progress import Progress

from node.cli import welcome as module
from node.cli.log_lines import log_lines_above_bars
from node.dicom.client import Peer, StoreOutcome
from node.errors import PeerError, Status
from node.version import program

PATHS = [Path(name) for name in "abcd"]


class Killed(Peer):
    """A peer that stores one file, then is killed, is away once, and then refuses a file once as its disk is full."""

    answers: list[list[Status | None] | None] = [  # noqa: RUF012
        [Status.SUCCESS],
        None,
        [Status.OUT_OF_RESOURCES, None, Status.SUCCESS],
        [Status.SUCCESS, Status.CANNOT_UNDERSTAND],
    ]

    def store(self, paths: Iterable[Path], *_: object) -> Iterator[StoreOutcome]:
        answers = self.answers.pop(0)
        for path, status in zip(paths, answers or [], strict=False):
            yield StoreOutcome(path, status, "")
        if answers is None or len(answers) == 1:
            raise PeerError("it ended the association")


def test_sample_cases_arrive_though_a_receiver_is_killed_and_the_spool_full_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "POLL_S", 0)

    stored = list(module._store(Killed("A", "127.0.0.1", 1), PATHS, Event()))

    assert [(one.path.name, one.status) for one in stored] == [
        ("a", Status.SUCCESS),
        ("d", Status.SUCCESS),
        ("b", Status.SUCCESS),
        ("c", Status.CANNOT_UNDERSTAND),
    ]


def test_sample_cases_are_not_sent_for_ever_to_a_node_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(Peer):
        def store(self, paths: Iterable[Path], *_: object) -> Iterator[StoreOutcome]:
            raise PeerError("does not answer")

    monkeypatch.setattr(module, "PATIENCE_S", -1)

    with pytest.raises(PeerError):
        list(module._store(Gone("A", "127.0.0.1", 1), PATHS, Event()))


def test_a_node_that_ends_ends_the_loading_of_sample_cases() -> None:
    stop = Event()
    stop.set()

    assert list(module._store(Killed("A", "127.0.0.1", 1), PATHS, stop)) == []


def test_a_printed_command_works_in_the_folder_where_it_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "with space" / ".venv" / "bin"
    folder.mkdir(parents=True)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir(tmp_path)
    without_script = program()
    (folder / "lookalike").touch(mode=0o755)
    from_outside = program()
    monkeypatch.chdir(tmp_path / "with space")
    from_checkout = program()
    monkeypatch.setenv("PATH", str(folder))
    on_path = program()

    assert without_script == f"'{folder}/python' -P -m node"
    assert from_outside == "'with space/.venv/bin/lookalike'"
    assert from_checkout == ".venv/bin/lookalike"
    assert on_path == "lookalike"


def test_log_lines_are_printed_above_bars_and_not_through_them() -> None:
    printed = io.StringIO()
    console = Console(file=printed, force_terminal=True, width=60)
    with log_lines_above_bars(console) as log, Progress(console=console, auto_refresh=False) as bar:
        bar.add_task("loading", total=2)
        bar.refresh()
        assert log is not None
        os.write(log, b"INFO [bold]one\x1b[31m line\nINFO another\n")
    text = printed.getvalue()

    assert "INFO [bold]one?[31m line\n" in text
    assert "INFO another\n" in text


def test_where_there_is_no_terminal_roles_log_where_they_always_do() -> None:
    with log_lines_above_bars(Console(file=io.StringIO(), force_terminal=False)) as log:
        assert log is None
