"""What several test modules share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hashing.phantoms.hospital import write_samples
from node.cli.send import files
from tests.support.dicom.besieged import besieged_node
from tests.support.hashing.standin import small_set
from tests.support.running import RunningNode, running_node

pytest_plugins = ["tests.support.web.invented_page", "tests.support.web.browsing"]  # its fixtures

SHARED_NODES = ("hospital", "besieged")
"""Fixtures that start a node for several modules."""
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks for the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group the tests for processes side by side: module by module, and all that share a node or a server in one group.

    Modules that start a node come first: a process that began one last would work alone at the end.
    """
    sharing = {item.path: node for item in items for node in SHARED_NODES if node in getattr(item, "fixturenames", ())}
    for item in items:
        group = "milvus" if _asks_milvus(item) else sharing.get(item.path, item.path.stem)
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: item.path not in sharing and not _starts_a_node(item))


def _asks_milvus(item: pytest.Item) -> bool:
    return "milvus" in item.nodeid or "shared_server" in vars(getattr(item, "module", object))


def _starts_a_node(item: pytest.Item) -> bool:
    names = vars(getattr(item, "module", object))
    return any(names.get(starter.__name__) is starter for starter in (running_node, RunningNode))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real images beside the checkout; the test is skipped where it is not there."""
    if not (SHARED_DATA / "README.md").is_file():
        pytest.skip(f"no real images at {SHARED_DATA}: this check needs them, the others do not")
    return SHARED_DATA


@pytest.fixture(scope="session")
def nih(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a small stand-in for ChestX-ray14 in `nih`."""
    root = tmp_path_factory.mktemp("data")
    small_set(root)
    return root


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the phantom hospital of three patients, and its truth.csv."""
    folder = tmp_path_factory.mktemp("phantoms")
    for _ in write_samples(folder, patients=3):
        continue
    return folder


@pytest.fixture(scope="session")
def hospital(tmp_path_factory: pytest.TempPathFactory, phantoms: Path) -> Iterator[RunningNode]:
    """A running node that has indexed `phantoms`; tests ask it, and may add to it."""
    with running_node(tmp_path_factory.mktemp("hospital") / "home") as node:
        outcomes = [stored.status for stored in node.peer.store(files(phantoms))]
        assert outcomes
        assert set(outcomes) == {0}
        node.wait_indexed()
        yield node


@pytest.fixture(scope="session")
def besieged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    """A running node that hostile peers attack: it gives the silent little time."""
    with besieged_node(tmp_path_factory.mktemp("hostile")) as node:
        yield node
