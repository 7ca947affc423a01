"""Questions wait as long as the role that encodes is away, and are given up only if they end the process."""

from pathlib import Path
from typing import Any

import pytest

from node.ask import answering
from node.ask.answering import MAX_ATTEMPTS, Answerer
from node.ask.gathering import Gathering
from node.examples.request import ServiceDownError
from node.home import open_outbox, open_questions
from node.settings import Settings
from storage.spool.questions import QuestionSpool

PEERS: Any = {"PACS": {"host": "127.0.0.1", "port": 1}}


class Gatherer:
    """Gathers nothing: the index role is away for a number of calls."""

    def __init__(self, away: int) -> None:
        self.away, self.gathered = away, 0

    def gather(self, _question: Any) -> Gathering:
        self.away -= 1
        if self.away >= 0:
            raise ServiceDownError("the index role does not answer")
        self.gathered += 1
        return Gathering()


def asked(settings: Settings) -> QuestionSpool:
    """A spool with one question that waits."""
    questions = open_questions(settings)
    question = questions.open("CT")
    arrival = question.begin()
    arrival.write(b"object")
    arrival.keep()
    question.close()
    return questions


def answerer(settings: Settings, questions: QuestionSpool, gatherer: Gatherer) -> Answerer:
    unused: Any = None
    stand_in: Any = gatherer
    return Answerer(settings, questions, open_outbox(settings), unused, unused, stand_in)


def test_a_question_waits_however_long_the_index_role_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "RETRY_S", 0.0)
    settings = Settings(home=tmp_path, peers=PEERS, source_peer="PACS", spool_free_bytes=0)
    questions, gatherer = asked(settings), Gatherer(3 * MAX_ATTEMPTS)
    answers = answerer(settings, questions, gatherer)

    answered = [answers.answer_waiting() for _ in range(3 * MAX_ATTEMPTS)]
    waiting = questions.depth()
    last = answers.answer_waiting()

    assert (sum(answered), waiting) == (0, 1)
    assert (last, gatherer.gathered, questions.depth()) == (1, 1, 0)


def test_a_question_that_ends_the_process_again_and_again_is_not_read_again(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, peers=PEERS, source_peer="PACS", spool_free_bytes=0)
    questions, gatherer = asked(settings), Gatherer(0)
    for _ in range(MAX_ATTEMPTS):
        next(questions.waiting()).count_attempt()  # and the process was gone

    answered = answerer(settings, questions, gatherer).answer_waiting()

    assert (answered, gatherer.gathered, questions.depth()) == (1, 0, 0)
