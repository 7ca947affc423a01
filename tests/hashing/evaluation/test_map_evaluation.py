"""Maps judged by boxes and by deletion: a map that knows the answer beside controls, and the command."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from typer.testing import CliRunner

from hashing.__main__ import app
from hashing.data import boxes as drawn
from hashing.data import datasets
from hashing.data.boxes import FindingBox, read_boxes
from hashing.data.datasets import Dataset
from hashing.evaluation.map_evaluation import CENTRE, MEAN_BOX, MapJudge, evaluate_maps, table
from hashing.model.architectures import build
from hashing.model.encoder import Encoding
from hashing.model.explain import PairExplanation
from hashing.model.model_file import Architecture
from hashing.model.weights import export

HEADER = "image,label,x,y,w,h,package\n"
CORNER = FindingBox("a", "Mass", 0.0, 0.0, 2 / 7, 2 / 7)
NAMES = ["a", "b", "c", "d", "e"]


class OfTheCorner:
    """An encoder that reads the grey value of the upper left corner alone, 32 pixels wide: a bit for each 16 greys."""

    def encode(self, images: NDArray[np.uint8], modalities: list[str]) -> Encoding:
        grey = images[:, :32, :32].mean(axis=(1, 2))
        relaxed = grey[:, None] - 16.0 * np.arange(16)[None] - 8.0
        return Encoding(relaxed.astype(np.float32), np.empty((len(images), 0), np.float32))


class KnowsTheCorner:
    """An explainer whose map is 1 in the upper left of 7 x 7 cells."""

    model = SimpleNamespace(classes=())

    def explain(self, query: NDArray[np.uint8], match: NDArray[np.uint8]) -> PairExplanation:
        cells = np.zeros((7, 7), np.float32)
        cells[0, 0] = 1
        return PairExplanation(None, -cells, cells, np.empty(0, np.float32))


def dataset(splits: list[str]) -> Dataset:
    images = np.full((5, 224, 224), 250, np.uint8)
    labels, kinds = np.ones((5, 1), bool), np.zeros(5, np.int64)
    return Dataset(images, labels, kinds, np.array(list("pqrst")), np.array(splits), ("Mass",), ("CT",))


def judge(splits: list[str], *boxes: FindingBox) -> MapJudge:
    return MapJudge(cast("Any", OfTheCorner()), cast("Any", KnowsTheCorner()), dataset(splits), NAMES, list(boxes))


def test_a_map_that_knows_the_place_is_above_its_controls_and_hiding_it_moves_the_code() -> None:
    middle = FindingBox("b", "Mass", 0.4, 0.4, 0.6, 0.6)
    unknown = FindingBox("z", "Mass", 0.0, 0.0, 1.0, 1.0)

    scores, deletions = evaluate_maps(judge(["test", "test", "train", "train", "train"], CORNER, middle, unknown))

    found = {(row.name, row.measure): row for row in scores}
    assert {row.boxes for row in scores} == {2}
    assert found["occlusion", "pointing game"].estimate.value == 0.5  # the first box is hit, the second is not
    assert found["occlusion", "energy in box"].estimate.value == pytest.approx(0.5, abs=0.01)
    assert found[CENTRE, "pointing game"].estimate.value == 0.5
    assert found[MEAN_BOX, "pointing game"].estimate.value == 0.0  # each has the other's place
    assert found[MEAN_BOX, "energy in box"].above is None
    above = found["occlusion", "energy in box"].above
    assert above is not None
    assert above[MEAN_BOX].value == pytest.approx(0.5, abs=0.01)
    hidden = {one.name: one for one in deletions}
    assert hidden["occlusion"].estimate.value == 8.0  # 250 has 16 bits, hidden grey 8
    gap = hidden["occlusion"].above
    assert gap is not None
    assert gap.value > 4
    assert "| occlusion | pointing game | 2 | 0.500" in table(scores, deletions)


def test_images_with_boxes_must_be_held_back() -> None:
    with pytest.raises(ValueError, match="training images"):
        judge(["train", "test", "train", "train", "train"], CORNER)
    with pytest.raises(ValueError, match="no image"):
        judge(["train", "test", "train", "train", "train"], FindingBox("z", "Mass", 0, 0, 1, 1))


def test_boxes_of_the_published_file_are_held_back_from_training(shared_data: Path) -> None:
    split = {Path(example.member).stem: example.split for example in datasets.read("nih14k", shared_data)}

    boxes = [box for box in read_boxes(shared_data) if box.image in split]

    assert len(boxes) == 177
    assert {split[box.image] for box in boxes} == {"test"}
    assert all(0 <= box.left < box.right <= 1 and 0 <= box.top < box.bottom <= 1 for box in boxes)


def test_one_command_judges_the_maps_of_a_model(nih: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nih").symlink_to(nih / "nih")
    tested = [
        one for one in datasets.read("chestxray14:nih", nih) if one.split == "test" and one.labels != ("No Finding",)
    ]
    lines = [f"{Path(one.member).name},{one.labels[0]},512,0,512,1024," for one in tested[:2]]
    (tmp_path / drawn.BOXES).parent.mkdir()
    (tmp_path / drawn.BOXES).write_text(HEADER + "\n".join(lines) + "\n")
    monkeypatch.setattr("hashing.evaluation.map_evaluation.SET", "chestxray14:nih")
    monkeypatch.setattr("hashing.evaluation.map_evaluation.MAX_SEARCHED", 8)
    torch.manual_seed(0)
    architecture = Architecture(
        head="semantic attention",
        head_options={"inputs": "guided"},
        code_lengths=(16,),
        modality_bits=False,
        input_size=64,
    )
    model, classes = tmp_path / "model.safetensors", (*datasets.FINDINGS, "No Finding")
    export(build(architecture, len(classes)), architecture, model, "model", {}, classes)
    command = ["maps", str(model), "--data", str(tmp_path), "--output", str(tmp_path / "runs"), "--code-length", "16"]

    done = CliRunner().invoke(app, command)

    assert done.exit_code == 0, done.output
    assert "| attention of the finding | energy in box | 2 | 0." in done.output
    assert "| shared attention | best IoU | 2 | 0." in done.output
