"""`lookalike model reencode`: a home folder changes its model without the PACS."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from hashing.model.architectures import build
from hashing.model.encoder import Encoder
from hashing.model.model_file import Architecture
from hashing.model.weights import export
from node.cli.model import app
from node.home import open_for_writing
from node.locks import InUseError
from node.processes import node_lock
from node.settings import Settings
from storage.errors import ModelMismatch
from tests.support.storage.invented import item

PREVIEWS = np.random.default_rng(0).integers(0, 256, (3, 224, 224), np.uint8)


@pytest.fixture
def models(tmp_path: Path) -> dict[str, Path]:
    """Untrained models of 64 bits, one with bits of the modality, and one of 32 bits only."""
    torch.manual_seed(0)
    parts = {
        "old": Architecture(code_lengths=(64,), modality_bits=False, input_size=32),
        "new": Architecture(code_lengths=(64,), modality_bits=True, input_size=32),
        "short": Architecture(code_lengths=(32,), modality_bits=False, input_size=32),
    }
    for name, architecture in parts.items():
        export(build(architecture, 0), architecture, tmp_path / f"{name}.safetensors", name, {})
    return {name: tmp_path / f"{name}.safetensors" for name in parts}


@pytest.fixture
def home(tmp_path: Path, models: dict[str, Path]) -> Path:
    """Home folder with three images indexed by the old model; settings name the new one."""
    home = tmp_path / "home"
    settings = Settings(home=home, model_path=models["old"], map_size_bytes=2**26)
    encoding = Encoder.load(models["old"], 64, "cpu", "torch").encode(PREVIEWS, ["CT", "CT", "MR"])
    with open_for_writing(settings) as database:
        database.append(
            [
                replace(
                    item(number),
                    codes=encoding.codes[[number]],
                    previews=PREVIEWS[[number]],
                    outputs=encoding.outputs.relaxed[[number]],
                    class_scores=None,
                )
                for number in range(3)
            ]
        )
    use(home, models["new"])
    return home


def use(home: Path, model: Path) -> None:
    (home / "settings.toml").write_text(f'model_path = "{model}"\ndevice = "cpu"\nencoder_backend = "torch"\n')


def run(home: Path) -> Result:
    return CliRunner().invoke(app, ["--home", str(home)])


def test_the_node_refuses_codes_of_another_model_until_they_are_made_anew(home: Path, models: dict[str, Path]) -> None:
    settings = Settings(home=home, model_path=models["new"], map_size_bytes=2**26)
    with pytest.raises(ModelMismatch, match="lookalike model reencode"):
        open_for_writing(settings)

    done, again = run(home), run(home)

    expected = Encoder.load(models["new"], 64, "cpu", "torch").encode(PREVIEWS, ["CT", "CT", "MR"])
    with open_for_writing(settings) as database, database.snapshot() as snapshot:
        for number in range(3):
            outputs = snapshot.outputs_of(f"2.25.2{number}")
            assert snapshot.codes_of(f"2.25.2{number}").tolist() == expected.codes[[number]].tolist()
            assert outputs is not None
            assert outputs.relaxed.tolist() == expected.outputs.relaxed[[number]].tolist()
    assert (done.exit_code, again.exit_code) == (0, 0), done.output
    assert "3 frames" in done.output
    assert "nothing to do" in again.output
    assert sorted(path.name for path in (home / "database").iterdir()) == ["data.mdb", "lock.mdb"]


def test_a_running_node_keeps_its_database(home: Path) -> None:
    with node_lock(Settings(home=home)):
        refused = run(home)

    assert isinstance(refused.exception, InUseError)


def test_a_model_without_codes_of_the_stored_length_changes_nothing(home: Path, models: dict[str, Path]) -> None:
    use(home, models["short"])
    before = (home / "database/data.mdb").read_bytes()

    refused = run(home)

    assert "code length 64 is not one of (32,)" in str(refused.exception)
    assert (home / "database/data.mdb").read_bytes() == before
