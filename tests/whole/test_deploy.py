"""What `deploy/` holds is valid, hardened, and agrees with the settings; each threat names a test that is there."""

import re
import shutil
import tomllib
from pathlib import Path

import pytest
import yaml

from node.access.transport import check_transport
from node.processes import Role, silence_limit_s
from node.settings import Settings
from tests.support.documents import DOCS, rows
from tests.support.running import program, run_peer

REPOSITORY = DOCS.parent
DEPLOY = REPOSITORY / "deploy"
ROLE_UNITS = ("index", "dicom@1", "web", "answer", "pull")
DOCKERFILE = (DEPLOY / "docker" / "Dockerfile").read_text()


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The folder of units, whose program is one that is there."""
    folder = tmp_path / "units"
    shutil.copytree(DEPLOY / "systemd", folder)
    for unit in folder.glob("*.service"):
        unit.write_text(unit.read_text().replace("/opt/lookalike/.venv/bin/lookalike", "/bin/true"))
    return folder


@pytest.mark.peers
@pytest.mark.parametrize("name", ["lookalike.service", *(f"lookalike-{each}.service" for each in ROLE_UNITS)])
def test_each_unit_is_valid_and_hardened(units: Path, name: str) -> None:
    analyze = program("systemd-analyze")

    verified = run_peer(analyze, "verify", units / name, units / "lookalike-roles.target")
    judged = run_peer(analyze, "security", "--offline=true", units / name, check=False).stdout

    level = re.search(r"exposure level for \S+: ([0-9.]+)", judged)
    assert "lookalike" not in verified.stderr
    assert level is not None
    assert float(level[1]) < 3


def test_units_of_roles_run_each_role_in_the_sandbox_of_the_whole_node() -> None:
    texts = {path.name: path.read_text() for path in (DEPLOY / "systemd").glob("lookalike-*.service")}
    whole, shared = (
        (DEPLOY / "systemd" / name).read_text() for name in ("lookalike.service", "lookalike-.service.d/role.conf")
    )
    started = {re.search(r"lookalike role (\w+)", text)[1] for text in texts.values()}  # type: ignore[index]
    watched = {name: int(re.search(r"^WatchdogSec=(\d+)$", text, re.MULTILINE)[1]) for name, text in texts.items()}  # type: ignore[index]

    assert started == set(Role)
    assert shared[shared.index("UMask") :].split() == whole[whole.index("UMask") : whole.index("[Install]")].split()
    for name, limit_s in watched.items():
        role = Role(name.removeprefix("lookalike-").removesuffix(".service").removesuffix("@"))
        assert silence_limit_s(Settings(), role) < limit_s < silence_limit_s(Settings(), role) + 30


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
