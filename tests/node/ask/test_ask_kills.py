"""What status 0000 of a question is worth: roles are killed at random moments, and each question is answered once."""

import gc
import random
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from hashing.phantoms.hospital import write_samples
from node.errors import PeerError
from node.home import open_outbox, open_questions
from storage.record import Level
from tests.support.peers.asking import asked_node, asking
from tests.support.running import RunningNode, free_port, wait_until
from tests.whole.test_kills import kill

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    # the client library leaves its socket open when a dead node refuses it
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
VICTIMS = ("supervisor", "dicom", "index", "answer", "web", "decode worker")
PATIENTS, LONGEST_PAUSE_S = 5, 4.0
REPORT, SHEET, MARKED = "SR", "OT", "KO"
RESULT_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.88.34", "1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.5.1.4.1.1.7",
    "1.2.840.10008.5.1.4.1.1.88.59",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _sockets_of_refused_senders_are_collected() -> Iterator[None]:
    """Here, where their warning is expected, and not at the end of all tests."""
    yield
    gc.collect()


@dataclass
class Destination:
    """An archive that keeps what it is sent, each object under its SOP Instance UID."""

    contents: dict[str, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    objects: dict[str, Dataset] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    def take(self, event: Any) -> int:
        with self.lock:
            self.contents[event.dataset.SOPInstanceUID].add(event.request.DataSet.getvalue())
            self.objects[event.dataset.SOPInstanceUID] = event.dataset
        return 0

    def answers_to(self, image: str) -> dict[str, int]:
        """Number of different objects of each modality that name an image as their example."""
        counts: dict[str, int] = defaultdict(int)
        with self.lock:
            for one in self.objects.values():
                counts[one.Modality] += image in examples_of(one)
        return dict(counts)


def examples_of(result: Dataset) -> set[str]:
    """Images that a result names as its example."""
    if result.Modality == SHEET:
        return {str(source.ReferencedSOPInstanceUID) for source in result.SourceImageSequence}
    return {
        str(image.ReferencedSOPInstanceUID)
        for study in result.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for image in series.ReferencedSOPSequence
    }


@contextmanager
def destination(port: int) -> Iterator[Destination]:
    ae, made = AE("PACS"), Destination()
    for sop_class in RESULT_CLASSES:
        ae.add_supported_context(sop_class)
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, made.take)])
    assert server is not None
    try:
        yield made
    finally:
        server.shutdown()


@pytest.mark.parametrize("kills", [20, 50])
def test_each_question_is_answered_once_whatever_is_killed(kills: int, tmp_path: Path) -> None:
    paths = [path for path in write_samples(tmp_path / "phantoms", PATIENTS) if path.suffix == ".dcm"]
    port, rng = free_port(), random.Random(kills)
    questions = rng.sample(paths, kills)
    with destination(port) as archive, asked_node(tmp_path / "home", port) as node:
        assert {stored.status for stored in node.peer.store(paths)} == {0}
        images = node.wait_indexed().entities[Level.IMAGE]

        for path in questions:
            ask_until_acknowledged(node, path)
            time.sleep(rng.uniform(0, LONGEST_PAUSE_S))
            kill(node, rng.choice(VICTIMS))
        wait_until(node.is_ready, "the roles to be ready again")
        wait_until(lambda: everything_is_answered(node), "the answers", 600)

        uids = [str(dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in questions]
        answers = {uid: archive.answers_to(uid) for uid in uids}
        assert answers == {uid: {REPORT: 1, SHEET: 1, MARKED: 1} for uid in uids}
        assert {len(contents) for contents in archive.contents.values()} == {1}, "one UID, one content"
        assert node.status().entities[Level.IMAGE] == images
        assert open_outbox(node.settings).state().given_up == 0


def ask_until_acknowledged(node: RunningNode, path: Path) -> None:
    """Ask, and ask again what was not acknowledged, as a workstation does."""
    while True:
        try:
            if [outcome.status for outcome in asking(node).store([path])] == [0]:
                return
        except PeerError:
            time.sleep(0.2)


def everything_is_answered(node: RunningNode) -> bool:
    return open_questions(node.settings).depth() == 0 and open_outbox(node.settings).state().waiting == 0
