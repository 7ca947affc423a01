"""The role `answer`: answers questions that were sent, and sends the answers.

It is a role of its own: an archive that does not answer must hold up neither the index nor a receiver, and drawing and
writing documents needs libraries that belong into the memory of neither. It runs where an answer has a destination.
"""

import threading
import time
from functools import partial
from typing import Final

from node.ask.answering import Answerer
from node.ask.gathering import ExampleGatherer
from node.ask.originals import Originals
from node.ask.sending import ResultSender
from node.examples.request import ExampleClient
from node.home import open_for_reading, open_outbox, open_questions
from node.ingest.refusals import Refusals
from node.processes import Heartbeat
from node.roles.kernel_cache import load_kernels
from node.roles.threads import vital_thread
from node.settings import Settings

POLL_S: Final = 0.2
ERASE_EVERY_S: Final = 60.0


def run(settings: Settings, stop: threading.Event, _number: int, heartbeat: Heartbeat) -> None:
    """Answer and send until `stop` is set; what waits for another process renews the heartbeat."""
    reading, questions, outbox = open_for_reading(settings), open_questions(settings), open_outbox(settings)
    load_kernels(settings.run_path, reading.database.header.code_length)
    questions.repair()
    outbox.repair()
    refusals = Refusals(settings.run_path, 0)  # receivers count from 1
    originals = Originals(settings, settings.ask_path / "originals", refusals)
    gatherer = ExampleGatherer(settings, reading.database, ExampleClient(settings), originals.file_of, heartbeat.renew)
    answerer = Answerer(
        settings, questions, outbox, reading.database, reading.retriever, gatherer, check=heartbeat.renew
    )
    heartbeat.renew()
    with vital_thread("sender", stop, partial(ResultSender(settings, outbox).run, stop)):
        erased_s = 0.0
        while not stop.wait(POLL_S):
            heartbeat.renew()
            answerer.answer_waiting()
            if time.monotonic() - erased_s > ERASE_EVERY_S:
                erased_s = time.monotonic()
                questions.erase(time.time_ns() - int(settings.ask_keep_s * 1e9))
                outbox.forget(time.time_ns() - int(settings.answer_keep_s * 1e9))
                refusals.write()
