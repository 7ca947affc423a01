"""From a question that was sent to its answer in the outbox, exactly once."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from io import BytesIO
from typing import Final

import numpy as np
from pydicom.dataset import FileDataset

from hashing.ranking_scores import Outputs
from node.ask.gathering import AskedExample, ExampleGatherer, Gathering
from node.examples.request import ServiceDownError
from node.query.answers import chance_expectation
from node.query.question import Exclusion, Question
from node.query.retriever import LookAlikes, Retriever
from node.results.answer import Answer, SimilarCase
from node.results.cases import similar_cases
from node.results.contact_sheet import contact_sheets
from node.results.key_objects import key_objects
from node.results.report import report
from node.settings import Settings
from storage.database import columns
from storage.database.database import Database
from storage.database.snapshot import Snapshot
from storage.record import Level, names_a_patient
from storage.search.index import Filter
from storage.spool.outbox import Outbox, ResultObject
from storage.spool.questions import QuestionSpool, StoredQuestion

MAX_ATTEMPTS: Final = 10
"""A question that ended this process so often is answered without being read again."""
RETRY_S: Final = 1.0
NOTHING_FOUND: Final = "No image of another patient is indexed here."
TOO_OFTEN: Final = "The question could not be answered: reading it failed again and again."

logger = logging.getLogger(__name__)


class Answerer:
    """Answers the questions that wait, oldest first.

    Parameters
    ----------
    check
        Called again and again during long work.
    """

    def __init__(
        self,
        settings: Settings,
        questions: QuestionSpool,
        outbox: Outbox,
        database: Database,
        retriever: Retriever,
        gatherer: ExampleGatherer,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings, self._questions, self._outbox = settings, questions, outbox
        self._database, self._retriever, self._gatherer, self._check = database, retriever, gatherer, check
        self._not_before_s = 0.0

    def answer_waiting(self) -> int:
        """Answer the questions that are complete; return how many were.

        While the index role does not answer, they go on waiting.
        """
        answered = 0
        if time.monotonic() < self._not_before_s:
            return 0
        for question in self._questions.waiting():
            self._check()
            try:
                self._answer(question)
            except ServiceDownError as error:
                logger.warning("question %s waits: %s", question.name, error)
                self._not_before_s = time.monotonic() + RETRY_S
                break
            answered += 1
        return answered

    def _answer(self, question: StoredQuestion) -> None:
        """Answer one question; a kill between the two steps repeats the second only."""
        started = time.monotonic()
        if not self._outbox.is_answered(question.name):
            destination = self._settings.answers_to(question.calling_ae_title)
            objects = list(self._objects(question)) if destination else []
            new = self._outbox.add(question.name, destination, objects)
            elapsed_s = time.monotonic() - started
            caller = question.calling_ae_title
            logger.info("question of %s: %d objects, %d new, in %.2f s", caller, len(objects), new, elapsed_s)
        self._questions.finish(question)

    def _objects(self, question: StoredQuestion) -> Iterator[ResultObject]:
        gathering = Gathering()
        try:
            if question.count_attempt() > MAX_ATTEMPTS:
                gathering.problems.append(TOO_OFTEN)
            else:
                gathering = self._gatherer.gather(question)
            answer = self._answered(question, gathering)
        except ServiceDownError:
            question.uncount_attempt()
            raise
        except Exception:  # of a question, whatever it holds: its sender is told, and the next one is answered
            logger.exception("internal error while answering question %s", question.name)
            gathering.problems.append("An internal error occurred; the log of the node says more.")
            answer = self._unanswered(question, gathering)
        if answer is None:
            logger.error("question %s names no study: there is nowhere to send an answer to", question.name)
            return
        yield from result_objects(answer, self._settings)

    def _answered(self, question: StoredQuestion, gathering: Gathering) -> Answer | None:
        if not gathering.examples or gathering.place is None:
            return self._unanswered(question, gathering)
        with self._database.snapshot() as snapshot:
            found = self._search(snapshot, gathering.examples)
            patients = {one.record.patient_key for one in gathering.examples}
            expected = chance_expectation(
                self._database.path, snapshot, _modality(gathering.examples), found.pairs, None
            )
            cases = tuple(similar_cases(snapshot, found.matches, patients, expected))
            state = snapshot.identifier
        return self._made(question, gathering, state, found.candidates, cases)

    def _unanswered(self, question: StoredQuestion, gathering: Gathering) -> Answer | None:
        """A page that says why; None if no study is known to which it belongs."""
        return None if gathering.place is None else self._made(question, gathering, "", None, ())

    def _made(
        self,
        question: StoredQuestion,
        gathering: Gathering,
        snapshot: str,
        candidates: int | None,
        cases: tuple[SimilarCase, ...],
    ) -> Answer:
        examples, problems = gathering.examples, " ".join(dict.fromkeys(gathering.problems))
        place = gathering.place
        assert place is not None
        in_study = [one.reference for one in examples if one.record.study_instance_uid == place.study_instance_uid]
        return Answer(
            question=gathering.key(self._settings.ask_matches, self._settings.burned_in, place.study_instance_uid),
            examples=tuple(dict.fromkeys([*in_study, *(one.reference for one in examples)])) or (place,),
            study=gathering.attributes,
            cases=cases,
            code_length=self._database.header.code_length,
            model=self._retriever.model,
            snapshot=snapshot,
            candidates=candidates,
            answered=datetime.fromtimestamp(question.received_ns // 10**9, UTC),
            regions=tuple(_region_text(one) for one in examples if one.region),
            reason="" if cases else problems or NOTHING_FOUND,
            note=problems if cases else "",
        )

    def _search(self, snapshot: Snapshot, examples: Sequence[AskedExample]) -> LookAlikes:
        """One case of each other patient, nearest first."""
        outputs = [one.outputs for one in examples if one.outputs is not None]
        question = Question(
            examples=tuple(one.record.sop_instance_uid for one in examples),
            maximum_matches=self._settings.ask_matches,
            region=examples[0].region if all(one.region for one in examples) else None,
            exclusions=frozenset({Exclusion.SELF, Exclusion.PATIENT, Exclusion.DUPLICATE}),
        )
        return self._retriever.nearest(
            snapshot,
            np.concatenate([one.codes for one in examples]),
            question,
            Level.PATIENT,
            _others(snapshot, examples),
            Outputs.joined(outputs) if len(outputs) == len(examples) else None,
            modality=_modality(examples),
        )


def result_objects(answer: Answer, settings: Settings) -> Iterator[ResultObject]:
    """Yield what an answer becomes: report, sheets, key objects; of one without cases, the page that says why."""
    if answer.cases:
        both = report(answer), report(answer, three_dimensional=False)
        yield ResultObject(str(both[0].SOPInstanceUID), tuple(map(_bytes, both)))
    for sheet in contact_sheets(answer, settings.burned_in):
        yield ResultObject(str(sheet.SOPInstanceUID), (_bytes(sheet),))
    if answer.cases:
        marked = key_objects(answer)
        yield ResultObject(str(marked.SOPInstanceUID), (_bytes(marked),))


def _bytes(result: FileDataset) -> bytes:
    file = BytesIO()
    result.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _others(snapshot: Snapshot, examples: Sequence[AskedExample]) -> Filter:
    """Images of other patients, as far as their IDs tell; the example's own picture under another name is none."""
    patients = {one.record.patient_key for one in examples if names_a_patient(one.record.patient_key)}
    return Filter(
        excluded_patients=frozenset(patients).union(*map(snapshot.possible_patients, patients)),
        excluded_studies=frozenset(one.record.study_instance_uid for one in examples),
        excluded_digests=frozenset(one.pixel_digest for one in examples if one.pixel_digest is not None),
    )


def _modality(examples: Sequence[AskedExample]) -> str | None:
    """The one modality of the examples; None if they have several, or are parts of images: chance is unknown then."""
    modalities = {columns.modality(one.record.series) for one in examples}
    return modalities.pop() if len(modalities) == 1 and not any(one.region for one in examples) else None


def _region_text(example: AskedExample) -> str:
    corners = "\\".join(map(str, example.region or ()))
    return f"region {corners} of {example.record.sop_instance_uid}, from its {example.source}"
