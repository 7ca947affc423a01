"""A whole node whose codes are searched in Milvus: by settings alone, and while the server is killed and gone."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread

from node.cli.send import files
from node.cli.similar import Asking, ask_node
from node.errors import PeerError
from tests.support.running import RunningNode, running_node, wait_until
from tests.support.storage.milvus_server import MilvusServer, milvus_server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[MilvusServer]:
    with milvus_server() as server:
        yield server


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, phantoms: Path, server: MilvusServer) -> Iterator[RunningNode]:
    home = tmp_path_factory.mktemp("milvus") / "home"
    with running_node(home, index="milvus", milvus_uri=server.uri, milvus_timeout_s="4") as node:
        assert {one.status for one in node.peer.store(files(phantoms))} == {0}
        wait_fed(node)
        yield node


def wait_fed(node: RunningNode) -> None:
    node.wait_indexed()
    wait_until(lambda: node.status().unfed == 0, "Milvus to be fed")


def examples(phantoms: Path) -> list[str]:
    return [str(dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in sorted(files(phantoms))[::5]]


def answer(node: RunningNode, uid: str, level: str) -> list[tuple[str, str, str]]:
    asking = Asking.of(uid, 8, level, "", other_patients=False)
    return [(case.rank, case.distance, case.uid) for case in ask_node(node.peer, asking)]


def over_http(node: RunningNode, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(node.settings.url + path, timeout=30) as response:
            return int(response.status), response.read().decode()
    except urllib.error.HTTPError as error:
        return int(error.code), error.read().decode()


def ready(node: RunningNode) -> bool:
    return over_http(node, "readyz")[0] == 200


@pytest.mark.parametrize("level", ["IMAGE", "SERIES", "STUDY"])
def test_a_query_by_example_is_answered_as_by_the_database(
    node: RunningNode, hospital: RunningNode, phantoms: Path, level: str
) -> None:
    for uid in examples(phantoms):
        assert answer(node, uid, level) == answer(hospital, uid, level)


def test_the_page_shows_the_same_cases(node: RunningNode, hospital: RunningNode, phantoms: Path) -> None:
    path = f"api/similar/{examples(phantoms)[0]}"

    (status, found), (_, expected) = (over_http(one, path) for one in (node, hospital))

    assert status == 200
    assert cases(found) == cases(expected)


def cases(answered: str) -> list[tuple[str, int, float]]:
    """What tells cases apart; their chances depend on when a node counted these."""
    return [(case["uid"], case["frame"], case["distance"]) for case in json.loads(answered)["matches"]]


def test_without_the_server_queries_by_example_are_refused_and_all_else_goes_on(
    node: RunningNode, server: MilvusServer, phantoms: Path
) -> None:
    """Instances are stored meanwhile, and nothing has to be restarted once the server is back."""
    uid, expected = examples(phantoms)[0], answer(node, examples(phantoms)[0], "IMAGE")
    again = list(files(phantoms))[:3]
    server.kill()

    with pytest.raises(PeerError, match=r"try again later \(status A700\)"):
        answer(node, uid, "IMAGE")
    status, body = over_http(node, f"api/similar/{uid}")
    assert (status, json.loads(body)["dimse_status"]) == (503, "A700")
    assert "the index does not answer" in over_http(node, "readyz")[1]
    assert {one.status for one in node.peer.store(again)} == {0}

    server.start()
    wait_until(lambda: ready(node), "the node to be ready again")
    wait_fed(node)
    assert answer(node, uid, "IMAGE") == expected
