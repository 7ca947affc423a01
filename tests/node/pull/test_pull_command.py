"""`lookalike pull` as an operator uses it: with a real node, a real archive, and what goes wrong."""

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from node.home import open_for_writing, open_spool
from node.pull.report import read_reports
from node.settings import Settings
from storage.progress.job import JobState
from storage.record import Level
from tests.support.peers.notifying import notified
from tests.support.peers.orthanc import running_orthanc
from tests.support.peers.pulling import fill, study_of
from tests.support.running import REPOSITORY, RunningNode, free_port, wait_until


def command(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `lookalike pull` with a home folder."""
    words = [sys.executable, "-m", "node", "pull", *arguments, "--home", str(home)]
    return subprocess.run(words, capture_output=True, text=True, timeout=120, check=False, cwd=REPOSITORY)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "settings.toml").write_text('[peers.PACS]\nhost = "127.0.0.1"\nport = 1\n')
    return folder


def test_a_source_that_is_no_peer_an_option_that_says_nothing_and_an_unknown_job_are_refused(home: Path) -> None:
    refusals = [
        command(home, "plan", "history", "--source", "ELSEWHERE"),
        command(home, "plan", "history", "--source", "PACS", "--open-hours", "at night"),
        command(home, "plan", "history"),
        command(home, "start", "history"),
    ]

    assert [refused.returncode for refused in refusals] == [1, 1, 1, 1]
    sayings = [
        "add peers.ELSEWHERE",
        "write one as Mon-Fri 19:00-06:00",
        "name the archive",
        "there is no job 'history'",
    ]
    assert [saying for saying, refused in zip(sayings, refusals, strict=True) if saying not in refused.stderr] == []


def test_a_command_about_a_job_makes_no_home_folder_and_a_plan_makes_a_private_one(tmp_path: Path) -> None:
    mistyped = tmp_path / "hoem"

    refused = command(mistyped, "start", "history")

    assert (refused.returncode, mistyped.exists()) == (1, False)
    assert "make one with `lookalike pull plan`" in refused.stderr
    command(mistyped, "plan", "history", "--source", "ELSEWHERE")
    assert stat.S_IMODE(mistyped.stat().st_mode) == 0o700


def test_an_archive_that_does_not_answer_is_one_clear_line_and_the_plan_can_go_on_later(home: Path) -> None:
    planned = command(home, "plan", "history", "--source", "PACS")

    status = json.loads(command(home, "status", "--json").stdout)

    assert planned.returncode == 1
    assert "PACS" in planned.stderr
    assert "Traceback" not in planned.stderr
    assert [(job["name"], job["state"], job["is_listed"]) for job in status] == [("history", "planned", False)]


@pytest.mark.peers
def test_a_planned_history_is_counted_first_and_then_brought_in_by_the_role(home: Path) -> None:
    with running_orthanc(home.parent / "db", {"node": ("LOOKALIKE", free_port())}) as orthanc:
        uids = set().union(*(fill(orthanc, study_of(number, 4)) for number in range(3)))
        (home / "settings.toml").write_text(f'[peers.PACS]\nhost = "127.0.0.1"\nport = {orthanc.port}\n')
        settings = Settings(home=home)
        open_for_writing(settings).close()
        plan = json.loads(command(home, "plan", "history", "--source", "PACS", "--json").stdout)
        started = command(home, "start", "history")
        role = [sys.executable, "-m", "node", "role", "pull", "--home", str(home)]
        with subprocess.Popen(role, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True) as process:
            wait_until(lambda: read_reports(settings)[0].state is JobState.COMPLETE, "the job to be complete", 120)
            process.terminate()
            log = process.stderr.read() if process.stderr else ""
    shown = command(home, "status").stdout

    assert (plan["counts"]["waiting"], plan["remaining"]["instances"], plan["counts"]["fetched"]) == (3, 12, 0)
    assert "it begins when the node runs" in started.stdout
    assert {entry.sop_instance_uid for entry in open_spool(settings)} == uids
    assert "3 done, 0 wait, 0 parked" in shown
    assert "P0000" not in log + shown  # no Patient ID


@pytest.mark.slow
@pytest.mark.peers
def test_a_running_node_starts_the_role_for_the_first_job_and_fetches_what_is_announced(home: Path) -> None:
    with running_orthanc(home.parent / "db", {"node": ("LOOKALIKE", free_port())}) as orthanc:
        uids = set().union(*(fill(orthanc, study_of(number, 4)) for number in range(3)))
        old = study_of(3, 2, StudyDate="20100101")
        (home / "settings.toml").write_text(f'[peers.PACS]\nhost = "127.0.0.1"\nport = {orthanc.port}\n')
        node = RunningNode(home)
        node.start()
        try:
            command(home, "plan", "history", "--source", "PACS", "--from", "2019-01-01")
            command(home, "start", "history")
            wait_until(lambda: node.status().entities[Level.IMAGE] == len(uids), "all to be indexed", 120)
            uids |= fill(orthanc, old)  # before the dates that the job looks at
            for image in old:
                assert notified(node, image, "ONLINE")
            wait_until(lambda: node.status().entities[Level.IMAGE] == len(uids), "what was announced", 120)
        finally:
            node.stop()
