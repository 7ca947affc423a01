"""What `deploy/` holds is valid, hardened, and agrees with the settings; each threat names a test that is there."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from node.access.transport import check_transport
from node.settings import Settings
from tests.support.documents import DOCS, rows
from tests.support.running import program, run_peer

REPOSITORY = DOCS.parent
DEPLOY = REPOSITORY / "deploy"
DOCKERFILE = (DEPLOY / "docker" / "Dockerfile").read_text()


@pytest.mark.peers
def test_the_unit_is_valid_and_hardened(tmp_path: Path) -> None:
    text = (DEPLOY / "systemd" / "lookalike.service").read_text()
    unit = tmp_path / "lookalike.service"
    unit.write_text(text.replace("/opt/lookalike/.venv/bin/lookalike", "/bin/true"))
    analyze = program("systemd-analyze")

    verified = run_peer(analyze, "verify", unit)
    judged = run_peer(analyze, "security", "--offline=true", unit, check=False).stdout

    level = re.search(r"exposure level for \S+: ([0-9.]+)", judged)
    assert "lookalike.service" not in verified.stderr
    assert level is not None
    assert float(level[1]) < 3


def test_the_image_copies_what_is_there_and_does_not_run_as_root() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)

    for name in " ".join(copied).split():
        assert (REPOSITORY / name).exists(), name
    assert re.search(r"^USER [1-9][0-9]+$", DOCKERFILE, re.MULTILINE)
    assert {"node", "storage", "hashing"} <= set(" ".join(copied).split())


def test_the_containers_are_locked_down_and_publish_on_this_machine_only() -> None:
    services = yaml.safe_load((DEPLOY / "docker" / "compose.yml").read_text())["services"]

    node = services["lookalike"]
    assert (node["read_only"], node["cap_drop"]) == (True, ["ALL"])
    assert (DEPLOY / "docker" / node["build"]["context"] / node["build"]["dockerfile"]).is_file()
    assert all(port.startswith("127.0.0.1:") for service in services.values() for port in service["ports"])


def test_the_settings_of_the_containers_can_be_started_with() -> None:
    chosen = tomllib.loads((DEPLOY / "docker" / "lookalike" / "settings.toml").read_text())

    settings = Settings(**chosen)

    check_transport(settings)
    assert settings.peers["PACS"].host in yaml.safe_load((DEPLOY / "docker" / "compose.yml").read_text())["services"]


def test_each_threat_names_a_test_that_is_there() -> None:
    tests = "".join(path.read_text() for path in (REPOSITORY / "tests").rglob("test_*.py"))
    named = [re.findall(r"`([^`]+)`", cell) for *_, cell in rows("threats.md", "threat", "defence", "tried by")]

    assert len(named) >= 12
    for name in (name for cell in named for name in cell):
        is_there = any((REPOSITORY / "tests").rglob(name)) if name.endswith(".py") else f"def {name}(" in tests
        assert is_there, name
