"""Corrections and kept objects outlive kills: what was acknowledged holds, once, and nothing else changed."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest
from pydicom import dcmread

from node.cli.send import files
from node.errors import PeerError
from node.home import open_for_reading, open_objects
from storage.record import Level
from tests.support.peers.notifying import notified
from tests.support.running import RunningNode, wait_until
from tests.whole.test_kills import _sockets_of_refused_senders_are_collected as _collected  # noqa: F401
from tests.whole.test_kills import kill

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
VICTIMS = ("index", "dicom", "supervisor")
KILLS_EVERY_S = (1.0, 4.0)
TRIALS = 5


@contextmanager
def killing(node: RunningNode, rng: random.Random) -> Iterator[None]:
    """Kill processes of the node now and then while the block runs."""
    stop = Event()

    def run() -> None:
        while not stop.wait(rng.uniform(*KILLS_EVERY_S)):
            kill(node, rng.choice(VICTIMS))

    thread = Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    wait_until(node.is_ready, "the roles to be ready again")


def until_done(step: Callable[[], bool]) -> None:
    """Repeat a step until it is acknowledged, as a peer does whose archive is away for a while."""
    deadline = time.monotonic() + 300
    while not step():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def stored(node: RunningNode, path: Path) -> bool:
    """True once a file is acknowledged."""
    try:
        return [one.status for one in node.peer.store([path])] == [0]
    except PeerError:
        return False


def studies(node: RunningNode) -> dict[str, str]:
    """Study Instance UID of each indexed instance; the database is whole."""
    with open_for_reading(node.settings).database as database:
        assert database.verify() == []
        with database.snapshot() as snapshot:
            entities = list(snapshot.entities(Level.IMAGE))
    assert len({entity.uid for entity in entities}) == len(entities)
    return {entity.uid: entity.uids[Level.STUDY] for entity in entities}


@pytest.mark.parametrize("trial", range(TRIALS))
def test_the_last_acknowledged_notification_of_each_image_holds(trial: int, phantoms: Path, tmp_path: Path) -> None:
    rng, node, said = random.Random(trial), RunningNode(tmp_path / "home"), dict[str, str]()
    node.start()
    try:
        list(node.peer.store(list(files(phantoms))[::2]))
        before = studies(node) if node.wait_indexed() else {}
        images = [image for path in files(phantoms) if (image := dcmread(path)).SOPInstanceUID in before]
        with killing(node, rng):
            for image in rng.choices(images, k=40):
                availability = rng.choice(["ONLINE", "UNAVAILABLE"])
                until_done(lambda image=image, availability=availability: notified(node, image, availability))  # type: ignore[misc]
                said[image.SOPInstanceUID] = availability
    finally:
        node.stop()

    assert set(studies(node)) == {uid for uid in before if said.get(uid) != "UNAVAILABLE"}


@pytest.mark.parametrize("trial", range(TRIALS))
def test_studies_that_move_arrive_whole_with_their_objects(trial: int, phantoms: Path, tmp_path: Path) -> None:
    """The same pictures come again under other Study Instance UIDs while processes are killed."""
    rng, node = random.Random(100 + trial), RunningNode(tmp_path / "home", other_content="replace", retain="all")
    node.start()
    try:
        sources = list(files(phantoms))[::2]
        paths = [tmp_path / f"{number}.dcm" for number in range(len(sources))]
        list(node.peer.store(sources))
        node.wait_indexed()
        before = studies(node)
        moved = {}
        with killing(node, rng):
            for source, path in zip(sources, paths, strict=True):
                image = dcmread(source)
                image.StudyInstanceUID = f"{image.StudyInstanceUID}.1"
                image.save_as(path)
                until_done(lambda path=path: stored(node, path))  # type: ignore[misc]
                moved[image.SOPInstanceUID] = path
        node.wait_indexed()
    finally:
        node.stop()

    assert studies(node) == {uid: f"{study}.1" for uid, study in before.items()}
    objects = open_objects(node.settings)
    assert objects.kept(before) == set(before)
    assert objects.usage().objects == len(before)
    for uid in before:
        assert dcmread(objects.file(uid)) == dcmread(moved[uid])
