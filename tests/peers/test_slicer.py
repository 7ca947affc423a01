"""The module for 3D Slicer, over stand-ins of Slicer's own: what it asks, shows and loads."""

import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from lookalike.client import NodeError

from tests.support.running import REPOSITORY

MODULE = REPOSITORY / "deploy" / "slicer" / "LookalikeSimilar.py"
OTHER = "OTHER PATIENT, not this examination"


class Base:
    """Stands for the base classes of scripted modules."""

    def __init__(self, parent: Any = None) -> None:
        self.parent, self.layout = parent, MagicMock()

    def setup(self) -> None:
        """Slicer's own part of it."""


class Field:
    """Stands for a widget with a text or a number."""

    def __init__(self, text: object = "") -> None:
        self.text, self.value, self.minimum, self.maximum, self.wordWrap = text, 0, 0, 0, False


class Case(dict[str, str]):
    """A look-alike as the client gives it."""

    def __init__(self, rank: int, *, is_chance: bool) -> None:
        super().__init__(Modality="CT", PatientSex="F", PatientAge="050Y", SeriesDescription="Thorax")
        self.rank, self.is_chance, self.likeness = rank, is_chance, "alike"
        self.study_instance_uid, self.series_instance_uid = "1.1", f"1.1.{rank}"


class Qt:
    """Stands for PythonQt: what is not named here does nothing."""

    QLineEdit = QSpinBox = QLabel = QPushButton = Field

    def __init__(self) -> None:
        self.groups: list[str] = []
        self.QVBoxLayout = self.QFormLayout = self.QPixmap = self.QByteArray = MagicMock()
        self.QSettings = lambda: MagicMock(value=lambda _key, default: default)

    def QGroupBox(self, title: str) -> MagicMock:  # noqa: N802 -- Qt's name
        self.groups.append(title)
        return MagicMock()


@pytest.fixture
def qt(monkeypatch: pytest.MonkeyPatch) -> Qt:
    made = Qt()
    for name in ("QLabel", "QPushButton"):
        monkeypatch.setattr(Qt, name, lambda *_: MagicMock(text=""))
    return made


@pytest.fixture
def module(qt: Qt, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, loaded as Slicer does."""
    scripted = {
        f"ScriptedLoadableModule{part}": type(part or "Module", (Base,), {}) for part in ("", "Logic", "Widget")
    }
    package: Any = ModuleType("slicer")
    package.app, package.mrmlScene = MagicMock(), MagicMock()
    stand_ins = {"slicer": package, "slicer.ScriptedLoadableModule": SimpleNamespace(**scripted), "qt": qt}
    for name, stand_in in {**stand_ins, "ctk": MagicMock(), "DICOMLib": MagicMock()}.items():
        monkeypatch.setitem(sys.modules, name, stand_in)
    spec = importlib.util.spec_from_file_location("LookalikeSimilar", MODULE)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def show(module: Any, uids: str | None, slice_number: int) -> None:
    """Let the red view show a slice of a volume."""
    logic = module.slicer.app.layoutManager.return_value.sliceWidget.return_value.sliceLogic.return_value
    volume = MagicMock(GetAttribute=lambda _: uids)
    logic.GetBackgroundLayer.return_value.GetVolumeNode.return_value = volume
    logic.GetSliceIndexFromOffset.return_value = slice_number


def widget(module: Any, monkeypatch: pytest.MonkeyPatch, similar: Callable[..., list[Case]]) -> Any:
    client = MagicMock(similar=similar, thumbnail=lambda _: b"png")
    monkeypatch.setattr(module, "Client", lambda _address: client)
    made = module.LookalikeSimilarWidget()
    made.setup()
    made.cases.count.return_value = 0
    return made


@pytest.mark.parametrize(("number", "uid"), [(1, "1.2.1"), (3, "1.2.3"), (9, "1.2.3"), (-1, "1.2.1")])
def test_the_slice_that_is_shown_is_the_example(module: Any, number: int, uid: str) -> None:
    show(module, "1.2.1 1.2.2 1.2.3", number)

    assert module.LookalikeSimilarLogic().shown_instance() == uid


@pytest.mark.parametrize(("is_chance", "said"), [(False, "2 nearest cases."), (True, "Nothing close")])
def test_each_case_has_a_banner_and_chance_is_said(
    module: Any, qt: Qt, monkeypatch: pytest.MonkeyPatch, is_chance: bool, said: str
) -> None:
    asked: list[tuple[str, int]] = []
    show(module, "1.2.1", 1)

    def similar(uid: str, limit: int) -> list[Case]:
        asked.append((uid, limit))
        return [Case(rank, is_chance=is_chance) for rank in (1, 2)]

    panel = widget(module, monkeypatch, similar)
    panel.find()

    assert asked == [("1.2.1", 3)]
    assert qt.groups == [f"1. {OTHER}", f"2. {OTHER}"]
    assert panel.status.text.startswith(said)


def test_no_volume_and_no_answer_are_said(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def similar(_uid: str, limit: int) -> list[Case]:
        raise NodeError("busy", 503)

    show(module, None, 1)
    panel = widget(module, monkeypatch, similar)
    panel.find()
    without_volume = panel.status.text
    show(module, "1.2.1", 1)
    panel.find()

    assert "no volume" in without_volume
    assert panel.status.text.startswith("No answer: ")


def test_what_is_loaded_is_named_as_another_patient_s(module: Any) -> None:
    utilities, node = sys.modules["DICOMLib"].DICOMUtils, MagicMock(GetName=lambda: "Thorax")
    utilities.loadSeriesByUID.return_value = ["vtkNode1"]
    module.slicer.mrmlScene.GetNodeByID.return_value = node

    module.LookalikeSimilarLogic().load(Case(1, is_chance=False), "http://pacs/dicom-web")

    utilities.importFromDICOMWeb.assert_called_once_with("http://pacs/dicom-web", "1.1", "1.1.1")
    node.SetName.assert_called_once_with(f"{OTHER}: Thorax")
