"""Questions on disk: complete when their association ends, however it ends, and gone when they were answered."""

import os
import signal
from pathlib import Path

import pytest

from storage.errors import SpoolFull
from storage.spool.questions import OpenQuestion, QuestionSpool


def spool(path: Path, capacity: int = 10) -> QuestionSpool:
    return QuestionSpool(path, capacity, free_bytes=0)


def put(question: OpenQuestion, *contents: bytes) -> None:
    for content in contents:
        arrival = question.begin()
        arrival.write(content)
        arrival.keep()


def test_a_question_is_complete_when_its_association_ends(tmp_path: Path) -> None:
    questions = spool(tmp_path)
    question = questions.open("WORKSTATION")
    put(question, b"one", b"two")

    before = list(questions.waiting())
    question.close()
    (after,) = spool(tmp_path).waiting()

    assert before == []
    assert [path.read_bytes() for path in after.objects] == [b"one", b"two"]
    assert after.calling_ae_title == "WORKSTATION"


def test_what_a_killed_receiver_acknowledged_is_a_question(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        question = spool(tmp_path).open("WORKSTATION")
        put(question, b"acknowledged")
        question.begin().write(b"not acknowledged")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)

    (left,) = spool(tmp_path).waiting()

    assert [path.read_bytes() for path in left.objects] == [b"acknowledged"]


def test_an_association_without_objects_is_no_question(tmp_path: Path) -> None:
    questions = spool(tmp_path)
    silent, broken = questions.open("A"), questions.open("B")
    broken.begin().abandon()
    silent.close()
    broken.close()

    assert list(questions.waiting()) == []
    assert questions.depth() == 0


def test_questions_come_oldest_first_and_leave_when_answered(tmp_path: Path) -> None:
    questions = spool(tmp_path)
    for content in (b"first", b"second"):
        question = questions.open("WORKSTATION")
        put(question, content)
        question.close()

    first, second = questions.waiting()
    questions.finish(first)

    assert [one.name for one in spool(tmp_path).waiting()] == [second.name]
    assert first.received_ns < second.received_ns


def test_an_answered_question_is_erased_after_its_time(tmp_path: Path) -> None:
    questions = spool(tmp_path)
    question = questions.open("WORKSTATION")
    put(question, b"pixels")
    question.close()
    (stored,) = questions.waiting()
    questions.finish(stored)

    kept = questions.erase(stored.received_ns), [*tmp_path.rglob("*.dcm")]
    erased = questions.erase(stored.received_ns + 1), [*tmp_path.rglob("*.dcm")]

    assert (kept[0], len(kept[1])) == (0, 1)
    assert erased == (1, [])


def test_more_questions_than_may_wait_are_refused(tmp_path: Path) -> None:
    questions = spool(tmp_path, capacity=1)
    opened = [questions.open("WORKSTATION") for _ in range(3)]
    put(opened[0], b"one")
    put(opened[1], b"two")

    with pytest.raises(SpoolFull, match="objects"):
        opened[2].begin()


def test_attempts_are_counted_over_restarts(tmp_path: Path) -> None:
    questions = spool(tmp_path)
    question = questions.open("WORKSTATION")
    put(question, b"one")
    question.close()

    assert [next(spool(tmp_path).waiting()).count_attempt() for _ in range(3)] == [1, 2, 3]
