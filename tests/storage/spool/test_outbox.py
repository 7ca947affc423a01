"""The outbox: each result once for each destination, in order, and nothing lost between two steps."""

import time
from pathlib import Path

from storage.spool.outbox import Outbox, OutboxState, ResultObject


def results(*uids: str) -> list[ResultObject]:
    return [ResultObject(uid, (f"object {uid}".encode(), f"other form {uid}".encode())) for uid in uids]


def send_all(outbox: Outbox) -> list[tuple[str, str]]:
    """Send what is due until nothing is; destination and UID of each."""
    sent = []
    while due := outbox.due():
        for parcel in due:
            assert parcel.files[0].read_bytes() == f"object {parcel.sop_instance_uid}".encode()
            sent.append((parcel.destination, parcel.sop_instance_uid))
            outbox.sent(parcel)
    return sent


def test_results_leave_in_order_for_each_destination(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    outbox.add("q1", "PACS", results("1", "2"))
    outbox.add("q2", "OTHER", results("3"))
    outbox.add("q3", "PACS", results("4"))

    sent = send_all(Outbox(tmp_path))

    assert [uid for destination, uid in sent if destination == "PACS"] == ["1", "2", "4"]
    assert ("OTHER", "3") in sent
    assert [*tmp_path.rglob("*.dcm")] == []


def test_a_result_that_a_destination_has_is_not_sent_again(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    outbox.add("q1", "PACS", results("1", "2"))
    send_all(outbox)

    again = outbox.add("q2", "PACS", results("1", "2", "5"))
    elsewhere = outbox.add("q3", "OTHER", results("1"))

    assert (again, elsewhere) == (1, 1)
    assert sorted(send_all(outbox)) == [("OTHER", "1"), ("PACS", "5")]


def test_a_question_is_answered_once(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)

    first, second = outbox.add("q1", "PACS", results("1")), outbox.add("q1", "PACS", results("2"))

    assert (first, second) == (1, 0)
    assert outbox.is_answered("q1")
    assert not outbox.is_answered("q2")


def test_an_object_that_failed_waits_and_holds_back_those_behind_it(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    outbox.add("q1", "PACS", results("1", "2"))
    outbox.add("q2", "OTHER", results("3"))
    (first,) = (parcel for parcel in outbox.due() if parcel.destination == "PACS")

    outbox.postpone(first, 0.3, counts=True)
    meanwhile = [parcel.destination for parcel in outbox.due()]
    time.sleep(0.4)
    later = {parcel.sop_instance_uid: parcel.attempts for parcel in outbox.due()}

    assert meanwhile == ["OTHER"]
    assert later == {"1": 1, "3": 0}


def test_an_object_that_is_given_up_lets_those_behind_it_pass(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    outbox.add("q1", "PACS", results("1", "2"))

    outbox.give_up(outbox.due()[0])

    assert send_all(outbox) == [("PACS", "2")]
    assert outbox.state() == OutboxState(sent=1, given_up=1, questions=1, undelivered=1)


def test_files_that_no_answer_names_are_removed(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    outbox.add("q1", "PACS", results("1"))
    stray = tmp_path / "objects" / "q9-9-0.dcm"
    stray.write_bytes(b"of an answer that was not taken in")
    (tmp_path / "new").write_bytes(b"half")

    Outbox(tmp_path).repair()
    outbox.add("q2", "PACS", results("2"))

    assert not stray.exists()
    assert [uid for _, uid in send_all(outbox)] == ["1", "2"]


def test_old_entries_are_forgotten_with_their_files(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    outbox.add("q1", "PACS", results("1"))
    outbox.committed(["1"], "PACS")

    outbox.forget(time.time_ns())
    outbox.forget(time.time_ns())

    assert outbox.state() == OutboxState()
    assert [*tmp_path.rglob("*.dcm")] == []
    assert not outbox.is_answered("q1")
