"""`lookalike model train`: the model that is set goes on learning from the previews of a home folder."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

from hashing.model.architectures import build
from hashing.model.encoder import Encoder
from hashing.model.model_file import DEFAULT_MODEL, Architecture, read_model
from hashing.model.network import HashNetwork, resized
from hashing.model.weights import export, load_network
from node.cli.models.commands import app
from node.errors import SettingsError
from node.home import open_for_writing
from node.settings import Settings
from storage.item import Item
from tests.support.storage.invented import item

ARCHITECTURE = Architecture("efficientnet-lite0", "plain", {"hidden": 16}, (16, 64), modality_bits=False, input_size=32)
IMAGES = 60


def pictures() -> NDArray[np.uint8]:
    """Images with a bright upper or lower half, in turn, and noise."""
    noise = np.random.default_rng(0).integers(0, 60, (IMAGES, 224, 224), np.uint8)
    noise[::2, :112] += 150
    noise[1::2, 112:] += 150
    return noise


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Home folder with sixty images of as many patients, and a table of labels."""
    home = tmp_path_factory.mktemp("site")
    model, images = home / "old.safetensors", pictures()
    export(of_shipped_trunk(images), ARCHITECTURE, model, "old", {}, ("a", "b"))
    with open_for_writing(Settings(home=home, model_path=model, map_size_bytes=2**27)) as database:
        database.append([replace(alone(number), previews=images[[number]]) for number in range(IMAGES)])
    (home / "settings.toml").write_text(f'model_path = "{model}"\n')
    with (home / "labels.csv").open("w", newline="") as table:
        writer = csv.writer(table)
        writer.writerow(["SOPInstanceUID", "labels"])
        writer.writerows([f"2.25.2{number}", ("upper", "lower")[number % 2]] for number in range(IMAGES))
    return home


def of_shipped_trunk(images: NDArray[np.uint8]) -> HashNetwork:
    """The shipped trunk with a head of random weights, whose batch normalisation knows the images."""
    torch.manual_seed(0)
    network = build(ARCHITECTURE, 2)
    network.trunk.load_state_dict(load_network(DEFAULT_MODEL)[0].trunk.state_dict())
    with torch.no_grad():
        features = network.trunk.eval().maps(resized(torch.from_numpy(images).unsqueeze(1), 32), ())
        for _ in range(50):
            network.head.train()(features)
    return network.eval()


def alone(number: int) -> Item:
    """An image that is the only one of its patient."""
    study, series = f"2.25.4{number}", f"2.25.3{number}"
    return item(number, patient_key=f"P{number}", study_instance_uid=study, series_instance_uid=series)


def train(home: Path, out: Path, *options: str) -> Result:
    command = ["train", str(out), "--home", str(home), "--steps", "12", *options]
    return CliRunner().invoke(app, command)


def test_with_labels_images_that_share_one_come_nearer_and_class_scores_stay(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "ours.safetensors"

    done = train(home, out, "--labels", str(home / "labels.csv"))

    assert done.exit_code == 0, done.output
    assert f"{read_model(out).identifier} in" in done.output
    assert "MAP among patients that it did not learn from" in done.output
    assert read_model(out).architecture == ARCHITECTURE
    old, new = (Encoder.load(path, 64, "cpu", "torch") for path in (home / "old.safetensors", out))
    images, none = pictures()[:20], ["CT"] * 20
    assert contrast(new.encode(images, none).relaxed) > contrast(old.encode(images, none).relaxed)
    assert np.array_equal(new.encode(images, none).class_scores, old.encode(images, none).class_scores)


def contrast(relaxed: NDArray[np.float32]) -> float:
    """Bits between images of different labels less those between images of one label, of the even and odd rows."""
    bits = relaxed >= 0
    distances = (bits[:, None] != bits[None]).sum(axis=2)
    same = np.arange(len(bits)) % 2 == np.arange(len(bits))[:, None] % 2
    return float(distances[~same].mean() - distances[same & ~np.eye(len(bits), dtype=bool)].mean())


def test_without_labels_the_model_stays_near_itself_and_is_not_judged(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "ours.safetensors"

    done = train(home, out, "--limit", "30")

    assert done.exit_code == 0, done.output
    assert "from 30 images" in done.output
    assert "not judged" in done.output
    old, new = load_network(home / "old.safetensors")[0].eval(), load_network(out)[0].eval()
    with torch.inference_mode():
        before, after = (net(torch.from_numpy(pictures()[:20]).unsqueeze(1))[:, :64] for net in (old, new))
    assert not torch.equal(before, after)
    assert ((before >= 0) == (after >= 0)).float().mean() > 0.75


def test_a_table_without_its_columns_or_of_other_images_is_refused(home: Path, tmp_path: Path) -> None:
    (tmp_path / "odd.csv").write_text("uid,labels\n1.2,a\n")
    (tmp_path / "other.csv").write_text("SOPInstanceUID,labels\n1.2.3,a\n")

    odd, other = (
        train(home, tmp_path / "x.safetensors", "--labels", str(tmp_path / f"{n}.csv")) for n in ("odd", "other")
    )

    assert isinstance(odd.exception, SettingsError)
    assert "no column SOPInstanceUID" in str(odd.exception)
    assert "none of them is indexed with a preview" in str(other.exception)
    assert not (tmp_path / "x.safetensors").exists()
