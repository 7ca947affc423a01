"""What the operator is told was refused."""

from pathlib import Path
from threading import Event, Thread

from node.ingest.refusals import MAX_ENTRIES, OTHERS, Refusals, read_refusals


def test_counts_of_all_receivers_and_of_earlier_lives_are_added_up(tmp_path: Path) -> None:
    for number, life in ((1, "A700 busy"), (1, "A700 busy"), (2, "A700 busy"), (2, "C000 no data set")):
        refusals = Refusals(tmp_path / "run", number)
        refusals.add(life, "MODALITY")
        refusals.write()

    found = read_refusals(tmp_path / "run")

    assert [(one.reason, one.calling_ae_title, one.count) for one in found] == [
        ("C000 no data set", "MODALITY", 1),
        ("A700 busy", "MODALITY", 3),
    ]


def test_nothing_is_written_when_nothing_is_new(tmp_path: Path) -> None:
    refusals = Refusals(tmp_path, 1)

    refusals.write()

    assert list(tmp_path.iterdir()) == []


def test_callers_that_invent_titles_do_not_fill_the_memory(tmp_path: Path) -> None:
    refusals = Refusals(tmp_path, 1)

    for number in range(MAX_ENTRIES + 50):
        refusals.add("A700 busy", f"AE{number}")
    refusals.write()

    found = {one.calling_ae_title: one.count for one in read_refusals(tmp_path)}
    assert len(found) == MAX_ENTRIES + 1
    assert found[OTHERS] == 50


def test_a_file_that_was_cut_short_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "refused-1.json").write_text('[{"reas')

    refusals = Refusals(tmp_path, 1)
    refusals.add("A700 busy", "A")
    refusals.write()

    assert [one.count for one in read_refusals(tmp_path)] == [1]


def test_whoever_writes_waits_for_what_another_thread_is_writing(tmp_path: Path) -> None:
    refusals, begun, may_go_on = Refusals(tmp_path, 1), Event(), Event()
    write = refusals._write

    def slowly(text: str) -> None:
        begun.set()
        may_go_on.wait(60)
        write(text)

    refusals._write = slowly  # type: ignore[method-assign]
    refusals.add("A700 busy, retry", "CT1")
    first, second = (Thread(target=refusals.write) for _ in range(2))
    first.start()
    begun.wait(60)
    second.start()
    second.join(0.2)

    assert second.is_alive()
    may_go_on.set()
    first.join()
    second.join()
    assert [one.count for one in read_refusals(tmp_path)] == [1]
