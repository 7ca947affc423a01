"""What `lookalike status` tells an operator."""

from pathlib import Path

from rich.console import Console

from node.cli.status import read_status, status_table
from node.home import open_for_writing, open_outbox, open_questions, open_spool
from node.ingest.refusals import Refusals
from node.settings import Settings
from storage.spool.outbox import OutboxState, ResultObject


def test_it_says_what_was_refused_to_whom_and_how_full_the_spool_is(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", spool_capacity=4, spool_free_bytes=0, receivers=2)
    open_for_writing(settings).close()
    open_spool(settings).put([b"x"])
    for number in (1, 2):
        refusals = Refusals(settings.run_path, number)
        refusals.add("A700 disk full, retry later", "CT[1]")
        refusals.write()

    status = read_status(settings)
    console = Console(width=200, record=True, file=(tmp_path / "printed").open("w"))
    console.print(status_table(status))
    console.file.close()

    assert [(one.reason, one.count) for one in status.refused] == [("A700 disk full, retry later", 2)]
    assert (status.pressure.resource, status.pressure.share, status.waiting) == ("objects", 0.25, 1)
    assert list(status.roles) == ["index", "dicom", "dicom-2", "web"]
    lines = console.export_text().splitlines()
    assert any("A700 disk full, retry later (from CT[1], last 20" in line and " 2 " in line for line in lines)
    assert any("fullest limit" in line and "objects, 25%" in line for line in lines)


def test_it_says_what_became_of_questions_that_were_sent(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", spool_free_bytes=0)
    open_for_writing(settings).close()
    before = read_status(settings)
    question = open_questions(settings).open("CT")
    arrival = question.begin()
    outbox = open_outbox(settings)
    outbox.add("q", "PACS", [ResultObject(f"2.25.{number}", (b"x",)) for number in range(3)])
    outbox.sent(outbox.due()[0])
    outbox.committed(["2.25.0"], "PACS")

    status = read_status(settings)

    arrival.abandon()
    question.close()
    assert (before.questions, before.answers) == (0, OutboxState())
    assert (status.questions, status.answers) == (1, OutboxState(waiting=2, sent=1, committed=1, questions=1))
