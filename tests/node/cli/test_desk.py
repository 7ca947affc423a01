"""The operator's desk: what was set aside, what is indexed, and one line for monitoring."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from node.cli.check import Outcome
from node.cli.desk.monitoring import ServiceState, state_of, state_of_checks
from node.cli.main import app
from node.cli.status import read_status
from node.configuration import load_settings
from node.dicom.command_set import Request
from node.home import open_for_writing, open_spool
from node.ingest.receiver import PREAMBLE, file_meta
from node.processes import Role, pid_path, role_lock
from node.settings import Settings
from storage.errors import NoDatabase
from tests.node.ingest.test_receiver import octets_of, picture
from tests.support.dicom.answering import ITEMS

REASONS = ("undecodable", "undecodable", "time-limit")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a home folder with three objects set aside and a database, and no node running."""
    settings = load_settings(home=tmp_path / "home", spool_free_bytes=0)
    with open_for_writing(settings) as database:
        database.append(ITEMS)
    spool = open_spool(settings)
    for number, reason in enumerate(REASONS):
        request = Request(1, 1, "1.2.840.10008.5.1.4.1.1.7", f"2.25.{number}", has_data_set=True)
        chunks = [PREAMBLE, file_meta(request, picture().file_meta.TransferSyntaxUID, "CT1"), octets_of(picture())]
        entry = spool.put(chunks, f"2.25.{number}")
        spool.take(9)
        spool.set_aside(entry, reason, "of no use", {"SOPInstanceUID": f"2.25.{number}"}, keep=True)
    return settings


def run(settings: Settings, *command: str, status: int = 0) -> str:
    result = CliRunner().invoke(app, [*command, "--home", str(settings.home)], catch_exceptions=False)
    assert result.exit_code == status, result.output
    return result.output


def listed(settings: Settings, *options: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(run(settings, "aside", "list", "--json", *options))
    return found


def test_the_list_says_why_since_when_and_from_whom(settings: Settings) -> None:
    entries = listed(settings)

    assert [(entry["reason"], entry["sender"]) for entry in entries] == [(reason, "CT1") for reason in REASONS]
    assert all(entry["received"].startswith("20") and int(entry["size_bytes"]) > 100 for entry in entries)
    assert len(listed(settings, "--reason", "time-limit")) == 1
    assert "time-limit" in run(settings, "aside", "list")
    assert "of no use" in run(settings, "aside", "show", entries[0]["name"])


def test_what_is_tried_again_waits_to_be_indexed_and_is_no_longer_aside(settings: Settings) -> None:
    kept = open_spool(settings).set_aside_records()
    octets = next(note.path.read_bytes() for note in kept if note.path is not None and note.reason == "time-limit")

    run(settings, "aside", "retry", "--reason", "time-limit")

    [entry] = list(open_spool(settings))
    assert entry.path.read_bytes() == octets
    assert [note["reason"] for note in listed(settings)] == ["undecodable", "undecodable"]


def test_export_copies_for_the_operator_only(settings: Settings, tmp_path: Path) -> None:
    names = [entry["name"] for entry in listed(settings)][:2]

    run(settings, "aside", "export", *names, "--to", str(tmp_path / "out"))

    files = sorted((tmp_path / "out").iterdir())
    assert [file.stem for file in files] == sorted(names)
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert len(listed(settings)) == 3


def test_purge_deletes_what_is_named_and_nothing_else(settings: Settings) -> None:
    name = listed(settings)[0]["name"]

    run(settings, "aside", "purge", "--older-than", "1", "--yes")
    assert len(listed(settings)) == 3
    run(settings, "aside", "purge", name, "--yes")

    assert name not in {entry["name"] for entry in listed(settings)}
    assert len(listed(settings)) == 2
    assert not (settings.spool_path / "aside" / f"{name}.dcm").exists()


@pytest.mark.parametrize("command", [("purge", "--yes"), ("retry",), ("export",), ("show", "../../etc/passwd")])
def test_a_command_that_names_nothing_that_is_there_changes_nothing(
    settings: Settings, command: tuple[str, ...]
) -> None:
    with pytest.raises(Exception, match=r"name what|was not set aside"):
        run(settings, "aside", *command)

    assert len(listed(settings)) == 3


def test_a_folder_in_which_no_node_ever_started_is_refused_and_left_alone(tmp_path: Path) -> None:
    mistyped = load_settings(home=tmp_path / "hoem")

    with pytest.raises(NoDatabase, match="was the node ever started"):
        run(mistyped, "aside", "list")

    assert not mistyped.home.exists()


def test_the_list_of_studies_names_no_patient(settings: Settings) -> None:
    output = run(settings, "list", "--json")

    studies = json.loads(output)
    assert [(one["series"], one["instances"], one["year"]) for one in studies] == [
        (1, 2, "2020"), (1, 1, "2021"), (2, 2, "2020"),
    ]  # fmt: skip
    assert studies[2]["modalities"] == ["CT", "PT"]
    assert "Doe" not in output
    assert "2.25.1" in run(settings, "list", "--limit", "1")


def test_monitoring_gets_a_line_and_an_exit_status(settings: Settings) -> None:
    output = run(settings, "status", "--nagios", status=2)

    assert output.startswith("LOOKALIKE CRITICAL - role index is not running; ")
    assert "| waiting=0 age=0s aside=3 fullest=" in output
    assert output.count("\n") == 1


def test_the_state_of_a_node_is_that_of_its_worst_part(settings: Settings) -> None:
    status = read_status(settings)

    def state(**changes: object) -> ServiceState:
        return state_of(settings, replace(status, **{"role_faults": (), **changes}))[0]  # type: ignore[arg-type]

    full = type(status.pressure)
    assert state() is ServiceState.OK
    assert state(set_aside_deleted=1) is ServiceState.WARNING
    assert state(set_aside_lately=settings.alarm_set_aside + 1) is ServiceState.WARNING
    assert state(waiting_s=settings.alarm_waiting_s + 1) is ServiceState.WARNING
    assert state(pressure=full("disk", 0.85)) is ServiceState.WARNING
    assert state(pressure=full("disk", 0.97)) is ServiceState.CRITICAL
    assert state(role_faults=status.role_faults) is ServiceState.CRITICAL


def test_a_role_that_runs_without_a_sign_of_life_is_a_fault(settings: Settings) -> None:
    silence_s = settings.heartbeat_limit_s + 5
    with role_lock(settings, Role.WEB) as heartbeat:
        heartbeat.renew()
        assert "role web" not in " ".join(read_status(settings).role_faults)
        past_ns = time.monotonic_ns() - round(silence_s * 1e9)
        os.utime(pid_path(settings, Role.WEB), ns=(past_ns, past_ns))

        status = read_status(settings)

    assert status.roles["web"] == os.getpid()
    assert f"role web has given no sign of life for {silence_s:.0f} s" in status.role_faults
    assert state_of(settings, status)[0] is ServiceState.CRITICAL


def test_what_waits_and_what_was_set_aside_lately_is_measured(settings: Settings) -> None:
    spool = open_spool(settings)
    [*_, last] = [spool.put([b"x"], f"2.25.9{number}") for number in range(2)]
    spool.set_aside(last, "no-pixel-data", "a report", {}, keep=False)

    status = read_status(settings)

    assert status.set_aside_lately == len(REASONS)
    assert (status.waiting, 0 <= status.waiting_s < 600) == (1, True)


def test_a_fault_of_a_check_is_critical() -> None:
    good, bad = Outcome("disk", good=True, finding="free"), Outcome("model", good=False, finding="gone")

    assert state_of_checks([good])[0] is ServiceState.OK
    assert state_of_checks([good, bad]) == (ServiceState.CRITICAL, "model: gone | faults=1")
