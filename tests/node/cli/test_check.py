"""What `lookalike check` finds, and what it advises."""

from pathlib import Path

import pytest

from node.cli.check import Outcome, run_checks
from node.cli.main import _as_running, _own
from node.home import make_private
from node.processes import Role, node_lock, role_lock
from node.settings import Settings
from tests.support.running import free_port


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(home=tmp_path / "home", port=free_port(), http_port=free_port(), receivers=1)
    make_private(settings)
    return settings


def outcomes(settings: Settings) -> dict[str, Outcome]:
    return {outcome.subject: outcome for outcome in run_checks(settings)}


def test_roles_are_judged_by_their_signs_of_life(settings: Settings) -> None:
    with role_lock(settings, Role.INDEX), role_lock(settings, Role.DICOM) as heartbeat:
        heartbeat.renew()
        found = outcomes(settings)

    assert found["role index"].finding == "role index is not ready yet"
    assert found["role dicom"].good
    assert found["role web"].finding.startswith("role web is not running: start it with `")
    assert found["role web"].finding.endswith(" serve`")


def test_what_others_can_read_is_a_fault(settings: Settings) -> None:
    before = outcomes(settings)["privacy"]
    settings.spool_path.chmod(0o755)
    after = outcomes(settings)["privacy"]

    assert before.good
    assert not after.good
    assert f"others can read {settings.spool_path}" in after.finding
    assert f"chmod -R go= {settings.home}" in after.finding


@pytest.mark.parametrize(("host", "advice"), [("127.0.0.1", "nobody listens"), ("no-such.invalid", "correct host")])
def test_a_wrong_host_or_port_is_told_from_a_port_that_another_program_has(
    settings: Settings, host: str, advice: str
) -> None:
    elsewhere = settings.model_copy(update={"host": host, "allow_plain_dicom": True})

    found = outcomes(elsewhere)

    for subject in (f"DICOM {host}:{settings.port}", f"web {host}:{settings.http_port}"):
        assert advice in found[subject].finding
        assert "choose another" not in found[subject].finding


def test_commands_ask_the_node_that_runs_in_the_home_folder_wherever_it_listens(settings: Settings) -> None:
    known_by_file = settings.model_copy(update={"port": 11112, "http_port": 8080, "ae_title": "OTHER"})
    with node_lock(settings):
        peer, running = _own(known_by_file), _as_running(known_by_file)
    stopped = _own(known_by_file)

    assert (peer.ae_title, peer.host, peer.port) == ("LOOKALIKE", "127.0.0.1", settings.port)
    assert running.http_port == settings.http_port
    assert (stopped.ae_title, stopped.port) == ("OTHER", 11112)


@pytest.mark.parametrize(
    ("retrieve_ae_title", "source_peer", "good", "finding"),
    [
        ("", "", True, "none is sent: set retrieve_ae_title, or source_peer to retrieve through this node"),
        ("ARCHIVE", "", True, "ARCHIVE in each response"),
        ("", "PACS", True, "LOOKALIKE in each response"),
        ("ARCHIVE", "PACS", True, "ARCHIVE and LOOKALIKE in each response"),
        ("LOOKALIKE", "PACS", True, "LOOKALIKE in each response"),
        ("LOOKALIKE", "", False, "responses name this node, LOOKALIKE, which offers no retrieval: set source_peer"),
    ],
)
def test_the_retrieve_ae_title_is_one_that_serves_retrievals_or_absent(
    retrieve_ae_title: str, source_peer: str, good: bool, finding: str, settings: Settings
) -> None:
    chosen = settings.model_copy(update={"retrieve_ae_title": retrieve_ae_title, "source_peer": source_peer})

    outcome = outcomes(chosen)["Retrieve AE Title"]

    assert outcome.good is good
    assert outcome.finding.startswith(finding)
