"""Results on their way to a real destination: order, fallback, refusals, and an archive that comes late."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel  # type: ignore[attr-defined]

from node.ask.sending import MAX_REFUSALS, ResultSender
from node.peers import RemoteEntity
from node.results.contact_sheet import contact_sheets
from node.results.report import report
from node.settings import Settings
from storage.spool.outbox import Outbox, OutboxState, ResultObject
from tests.support.answers import answer
from tests.support.running import free_port, wait_until

COMPREHENSIVE, COMPREHENSIVE_3D = "1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.5.1.4.1.1.88.34"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def encoded(*objects: Dataset) -> ResultObject:
    files = [BytesIO() for _ in objects]
    for one, file in zip(objects, files, strict=True):
        one.save_as(file, enforce_file_format=True)
    return ResultObject(str(objects[0].SOPInstanceUID), tuple(file.getvalue() for file in files))


def put(outbox: Outbox) -> None:
    made = answer(1)
    both = report(made), report(made, three_dimensional=False)
    outbox.add("q1", "PACS", [encoded(*both), *(encoded(sheet) for sheet in contact_sheets(made))])


@contextmanager
def archive(port: int, classes: list[str], take: Callable[[Any], int]) -> Iterator[None]:
    """An archive on a port that accepts some SOP classes, and answers each C-STORE as `take` says."""
    ae = AE("PACS")
    for sop_class in classes:
        ae.add_supported_context(sop_class)

    def commit(event: Any) -> tuple[int, Any]:
        Thread(target=event.assoc.send_n_event_report, args=[
            event.action_information, 1, StorageCommitmentPushModel, "1.2.840.10008.1.20.1.1"
        ]).start()  # fmt: skip
        return 0, None

    server = ae.start_server(
        ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, take), (evt.EVT_N_ACTION, commit)]
    )
    try:
        yield
    finally:
        assert server is not None
        server.shutdown()


class Sending:
    """An outbox whose contents are sent in the background."""

    def __init__(self, folder: Path) -> None:
        self.port, self.received = free_port(), list[Dataset]()
        peers = {"PACS": RemoteEntity(host="127.0.0.1", port=self.port)}
        self.outbox, self.stop = Outbox(folder / "outbox"), Event()
        sender = ResultSender(Settings(home=folder, peers=peers, source_peer="PACS"), self.outbox)
        self.thread = Thread(target=sender.run, args=[self.stop])

    def take(self, event: Any) -> int:
        self.received.append(event.dataset)
        return 0

    def wait(self, limit_s: float = 40) -> OutboxState:
        wait_until(lambda: self.outbox.state().waiting == 0, "the outbox to empty", limit_s)
        return self.outbox.state()


@pytest.fixture
def sending(tmp_path: Path) -> Iterator[Sending]:
    made = Sending(tmp_path)
    put(made.outbox)
    made.thread.start()
    yield made
    made.stop.set()
    made.thread.join()


def test_results_arrive_in_order_and_once(sending: Sending) -> None:
    with archive(sending.port, [COMPREHENSIVE_3D, COMPREHENSIVE, SECONDARY_CAPTURE], sending.take):
        state = sending.wait()

    assert [one.SOPClassUID for one in sending.received] == [COMPREHENSIVE_3D, SECONDARY_CAPTURE]
    assert state == OutboxState(sent=2, questions=1)


def test_a_destination_that_refuses_the_report_gets_the_older_form(sending: Sending) -> None:
    with archive(sending.port, [COMPREHENSIVE, SECONDARY_CAPTURE], sending.take):
        sending.wait()

    assert [one.SOPClassUID for one in sending.received] == [COMPREHENSIVE, SECONDARY_CAPTURE]


def test_a_destination_that_comes_late_or_is_full_gets_everything(sending: Sending) -> None:
    answers = iter([0xA700, 0x0000, 0xB000])
    wait_until(lambda: not sending.outbox.due(), "the first attempt", 20)

    with archive(sending.port, [COMPREHENSIVE_3D, SECONDARY_CAPTURE], lambda _: next(answers)):
        state = sending.wait()

    assert (state.sent, state.given_up) == (2, 0)


def test_commitment_is_asked_for_where_it_is_offered(sending: Sending) -> None:
    classes = [COMPREHENSIVE_3D, SECONDARY_CAPTURE, StorageCommitmentPushModel]
    with archive(sending.port, classes, sending.take):
        state = sending.wait()

    assert (state.sent, state.committed) == (2, 2)


@pytest.mark.slow
def test_an_object_that_is_refused_again_and_again_is_given_up(sending: Sending) -> None:
    refused = []

    def take(event: Any) -> int:
        if event.dataset.SOPClassUID == SECONDARY_CAPTURE:
            return 0
        refused.append(event.dataset.SOPInstanceUID)
        return 0xC000

    with archive(sending.port, [COMPREHENSIVE_3D, SECONDARY_CAPTURE], take):
        state = sending.wait(120)

    assert len(refused) == MAX_REFUSALS
    assert (state.sent, state.given_up) == (1, 1)
