"""What commands print: text of objects is shown, never obeyed; pipes and programs get whole values."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from node.cli import main as cli
from node.cli.similar import Asking, AskingError, Case, ranked_table
from node.cli.terminal import console_for, plain
from node.errors import PeerError
from tests.support.running import RunningNode

HOSTILE = "[/b] x [bold]\x1b[2J\x1b]0;title\x07\u202eevil\r\n"


def printed(renderable: object, **terminal: object) -> str:
    console = Console(file=io.StringIO(), width=200, **terminal)  # type: ignore[arg-type]
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("interactive", [False, True])
def test_text_of_an_object_is_neither_markup_nor_a_terminal_code(interactive: bool) -> None:
    shown = printed(plain(HOSTILE), force_terminal=interactive, color_system=None)

    assert shown.rstrip() == "[/b] x [bold] [2J ]0;title  evil"


def test_a_study_description_with_markup_and_controls_is_a_cell_like_any_other() -> None:
    asking = Asking.of("1.2.3", 1, "IMAGE", "", other_patients=False)
    case = Case("1", "3", "0.95", "", {"StudyDescription": HOSTILE}, "1.2.4")

    shown = printed(ranked_table([case], asking), force_terminal=True, color_system=None)

    assert "[/b] x [bold]" in shown
    assert not {"\x1b", "\x07", "\r", "\u202e"} & set(shown)


def test_a_long_uid_is_not_folded_where_the_output_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    asking = Asking.of("1.2.3", 1, "IMAGE", "", other_patients=False)
    uid = "2.25." + "9" * 39

    console_for().print(ranked_table([Case("1", "3", "0.95", "", {}, uid)], asking))

    assert uid in capsys.readouterr().out


def test_a_case_that_chance_would_give_is_told_as_such() -> None:
    asking = Asking.of("1.2.3", 2, "IMAGE", "", other_patients=False, distinct="patient")
    near, far = (
        Case("1", "3", "0.95", "", {}, "1.2.4", "0.02", "1"),
        Case("2", "30", "0.5", "", {}, "1.2.5", "7.1", "0"),
    )

    one, both = (printed(ranked_table(cases, asking)) for cases in ([near], [near, far]))

    assert ["no closer than chance" in " ".join(shown.split()) for shown in (one, both)] == [False, True]
    lines = [line.replace("│", " ").split() for line in both.splitlines() if line.startswith("│")]
    assert [line[:5] for line in lines] == [["1", "3", "0.950", "0.02", "1"], ["2", "30", "0.500", "7.1", "0"]]


def test_an_error_shows_the_brackets_of_a_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "[bold]x.dcm"

    with pytest.raises(AskingError) as raised:
        Asking.of(str(path), 1, "IMAGE", "", other_patients=False)

    assert "no file" in str(raised.value)
    with pytest.raises(SystemExit, match="1"):
        cli._fail(str(raised.value))
    assert "[bold]x.dcm" in capsys.readouterr().err.replace("\n", "")


def test_a_folder_is_no_example(tmp_path: Path) -> None:
    with pytest.raises(AskingError, match="is a folder"):
        Asking.of(str(tmp_path), 1, "IMAGE", "", other_patients=False)


def test_fewer_samples_than_none_are_refused() -> None:
    outcome = CliRunner().invoke(cli.app, ["serve", "--samples", "-3"])

    assert outcome.exit_code == 2
    assert "--samples" in outcome.output


def test_programs_get_json(tmp_path: Path) -> None:
    outcome = CliRunner().invoke(
        cli.app, ["check", "--json", "--home", str(tmp_path), "--port", "1", "--http-port", "2"]
    )

    found = json.loads(outcome.stdout)
    assert outcome.exit_code == 1
    assert {"subject": "settings", "good": True, "finding": f"defaults; no {tmp_path}/settings.toml"} in found


def test_send_names_each_file_that_was_not_stored_and_why(tmp_path: Path, hospital: RunningNode) -> None:
    (tmp_path / "notes[1].md").write_text("no image")
    command = [sys.executable, "-P", "-m", "node", "send", str(tmp_path), "--server", str(hospital.peer)]

    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    assert f"{tmp_path}/notes[1].md" in ended.stdout
    assert "not sent: no DICOM file" in ended.stdout
    assert ended.stderr == "lookalike: 1 of 1 files were not stored\n"


def test_a_host_that_is_unknown_is_named() -> None:
    outcome = CliRunner().invoke(cli.app, ["similar", "1.2.3", "--server", "X@no-such-host.invalid:104"])

    assert isinstance(outcome.exception, PeerError)
    assert "no-such-host.invalid" in str(outcome.exception)
