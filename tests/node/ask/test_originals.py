"""Original objects for regions: those that are kept come first, and nothing is fetched where no archive is set."""

from pathlib import Path

from node.ask.originals import Originals
from node.ingest.refusals import Refusals
from node.settings import Settings
from storage.objects.object_store import ObjectStore


def test_a_kept_object_is_given_and_stays_and_another_cannot_be_had(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    settings.home.mkdir()
    (tmp_path / "image").write_bytes(b"object")
    ObjectStore(settings.objects_path).keep({"2.25.1": tmp_path / "image"})
    originals = Originals(settings, settings.home / "originals", Refusals(settings.home, 1))

    with originals.file_of("2.25.1", lambda: None) as kept, originals.file_of("2.25.2", lambda: None) as other:
        assert kept is not None
        assert (kept.read_bytes(), other) == (b"object", None)

    assert kept.read_bytes() == b"object"
    assert list((settings.home / "originals").iterdir()) == []


def test_where_nothing_was_ever_kept_nothing_is_made(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    settings.home.mkdir()
    originals = Originals(settings, settings.home / "originals", Refusals(settings.home, 1))

    with originals.file_of("2.25.1", lambda: None) as file:
        assert file is None

    assert not settings.objects_path.exists()
