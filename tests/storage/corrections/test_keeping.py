"""With `retain = "all"` the object of each indexed instance stays, as it came; corrections and `forget` erase it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from node.corrections.corrector import Corrector
from node.corrections.order_book import OrderBook, OrderKind
from node.home import open_objects
from node.ingest.indexer import Indexer
from node.settings import Settings
from storage.database.database import Database
from storage.database.rejections import Title
from storage.errors import DatabaseFull
from storage.objects.object_store import ObjectStore
from storage.spool.queue import Spool
from tests.support.storage.indexing import create
from tests.support.storage.invented import item, record


@dataclass
class Site:
    """The parts of a node that keep and erase objects."""

    settings: Settings
    database: Database
    spool: Spool

    @property
    def objects(self) -> ObjectStore:
        return open_objects(self.settings)

    def arrive(self, number: int, text: str, **changes: Any) -> None:
        """Index an instance that came as a file of this text."""
        entry = self.spool.put([text.encode()], f"2.25.2{number}")
        self.indexer._append([(entry, item(number, **changes))])

    @property
    def indexer(self) -> Indexer:
        return Indexer(self.settings, self.spool, self.database, None)  # type: ignore[arg-type]

    def order(self, kind: OrderKind, **fields: object) -> None:
        """Have a correction carried out."""
        orders = OrderBook(self.settings.corrections_path)
        name = orders.put(kind, **fields)
        assert Corrector(self.database, orders, self.spool, self.objects).carry_out_all(Event())
        answer = orders.take_answer(name)
        assert answer is not None
        assert "error" not in answer

    def reject(self, title: Title, number: int) -> None:
        references = {f"2.25.2{number}": record(number).study_instance_uid}
        self.order(OrderKind.REJECT, note="2.25.9", title=title, references=references, received_ns=1 << 62)

    def texts(self) -> dict[int, str]:
        """Text of each kept object, by number."""
        kept = self.objects.kept([f"2.25.2{number}" for number in range(20)])
        assert self.objects.usage().objects == len(kept)
        return {int(uid.removeprefix("2.25.2")): self.objects.file(uid).read_text() for uid in kept}


@pytest.fixture(params=["quarantine"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    settings = Settings(home=tmp_path / "home", retain="all", other_content=request.param)
    with create(settings.database_path) as database:
        yield Site(settings, database, Spool(settings.spool_path, 100, 0))


def test_the_object_of_each_indexed_instance_stays(site: Site) -> None:
    site.arrive(1, "one")
    site.arrive(2, "two")

    assert site.texts() == {1: "one", 2: "two"}
    assert len(site.spool) == 0


@pytest.mark.parametrize("retain", ["none", "preview"])
def test_nothing_stays_unless_it_is_set(site: Site, retain: str) -> None:
    site.settings = site.settings.model_copy(update={"retain": retain})

    site.arrive(1, "one")

    assert site.texts() == {}


@pytest.mark.parametrize(
    ("site", "kept"), [("quarantine", "first"), ("keep_first", "first"), ("replace", "other")], indirect=["site"]
)
def test_the_object_that_stays_is_the_one_that_is_indexed(site: Site, kept: str) -> None:
    site.arrive(1, "first")

    site.arrive(1, "other", content_digest=b"other", received_ns=1 << 61)

    assert site.texts() == {1: kept}


@pytest.mark.parametrize("site", ["replace"], indirect=True)
def test_an_object_that_arrived_earlier_takes_no_place(site: Site) -> None:
    site.arrive(1, "later", received_ns=9)
    site.arrive(1, "earlier", received_ns=3)

    assert site.texts() == {1: "later"}


def test_an_instance_that_was_indexed_without_its_object_gets_one(site: Site) -> None:
    site.database.append([item(1)])

    site.arrive(1, "sent again")

    assert site.texts() == {1: "sent again"}


def test_after_a_kill_between_database_and_object_the_entry_still_waits(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise DatabaseFull(Path(), 0)

    with monkeypatch.context() as patch:
        patch.setattr(ObjectStore, "keep", killed)
        with pytest.raises(DatabaseFull):
            site.arrive(1, "one")
    [entry] = site.spool.take(9)

    site.indexer._append([(entry, item(1))])

    assert site.texts() == {1: "one"}
    assert len(site.spool) == 0


@pytest.mark.parametrize("title", Title)
def test_what_can_be_restored_stays_and_what_cannot_is_erased(site: Site, title: Title) -> None:
    site.arrive(1, "one")
    site.arrive(2, "two")
    one = site.objects.file("2.25.21")

    site.reject(title, 1)

    assert site.texts() == ({1: "one"} if title.hides else {}) | {2: "two"}
    assert one.exists() == title.hides


@pytest.mark.parametrize("title", [Title.QUALITY, Title.WORKLIST_ENTRY])
def test_an_object_that_comes_after_its_rejection_stays_only_if_it_can_be_restored(site: Site, title: Title) -> None:
    site.reject(title, 1)

    site.arrive(1, "one")

    assert site.texts() == ({1: "one"} if title.hides else {})


def test_what_is_forgotten_is_erased_hidden_objects_too(site: Site) -> None:
    for number in (0, 1, 4, 8):
        site.arrive(number, str(number))
    site.reject(Title.QUALITY, 1)
    fields = {"patient_id": "", "issuer": None}

    site.order(OrderKind.FORGET, study=record(0).study_instance_uid, **fields)

    assert site.texts() == {4: "4", 8: "8"}
    site.order(OrderKind.FORGET, study="", patient_id="P0", issuer=None)
    assert site.texts() == {8: "8"}
