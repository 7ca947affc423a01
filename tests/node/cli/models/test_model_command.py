"""`lookalike model`: the models there are, the one that is used, and a home folder that changes its model."""

import json
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

from hashing.model.architectures import build
from hashing.model.encoder import Encoder, Encoding
from hashing.model.model_file import DEFAULT_MODEL, Architecture, ModelError, read_model
from hashing.model.weights import export
from node.cli.models.choice import with_setting
from node.cli.models.commands import app
from node.configuration import load_settings
from node.errors import SettingsError
from node.home import open_database, open_for_writing
from node.locks import InUseError
from node.processes import node_lock
from node.settings import Settings
from storage.errors import ModelMismatch
from storage.record import Level
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


def run(home: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["reencode", "--home", str(home), *options])


@pytest.mark.slow
def test_a_ray_cluster_makes_the_same_codes_anew(home: Path, models: dict[str, Path]) -> None:
    pytest.importorskip("ray", reason="the extra ray is not installed")
    command = [sys.executable, "-m", "node", "model", "reencode", "--home", str(home), "--ray", "local"]

    ended = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)

    assert ended.returncode == 0, ended.stderr
    expected = Encoder.load(models["new"], 64, "cpu", "torch").encode(PREVIEWS, ["CT", "CT", "MR"])
    with open_for_writing(load_settings(home=home)) as database, database.snapshot() as snapshot:
        uids = [image.uid for image in snapshot.entities(Level.IMAGE)]
        assert np.array_equal(np.concatenate([snapshot.codes_of(uid) for uid in uids]), expected.codes)
        outputs = [snapshot.outputs_of(uid) for uid in uids]
    assert [one.relaxed.tolist() for one in outputs if one] == expected.outputs.relaxed[:, None].tolist()


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


def test_what_was_prepared_beside_a_running_node_is_not_encoded_again(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    encode = Encoder.encode

    def counted(self: Encoder, images: NDArray[np.uint8], modalities: list[str]) -> Encoding:
        encoded.append(len(images))
        return encode(self, images, modalities)

    monkeypatch.setattr(Encoder, "encode", counted)
    before = codes_of(home)
    with node_lock(Settings(home=home)):
        ready = run(home, "--prepare")
    untouched = codes_of(home) == before

    done = run(home)

    assert (ready.exit_code, done.exit_code) == (0, 0), ready.output + done.output
    assert "3 frames are ready" in ready.output
    assert untouched
    assert encoded == [3], "all in the first run"
    assert "3 frames have codes" in done.output


def codes_of(home: Path) -> list[list[list[int]]]:
    with open_database(Settings(home=home)) as database, database.snapshot() as snapshot:
        return [snapshot.codes_of(image.uid).tolist() for image in snapshot.entities(Level.IMAGE)]


def test_one_command_goes_back_to_the_model_before_without_encoding_and_says_what_it_costs(
    home: Path, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, old = codes_of(home), read_model(models["old"])
    (home / "models").mkdir()
    models["old"].rename(home / "models/old.safetensors")
    done = run(home)
    between = codes_of(home)
    monkeypatch.setattr(Encoder, "encode", None)

    back = invoke("back", "--home", str(home))

    assert f"those of {old.identifier} are kept, in " in done.output
    assert "lookalike model back" in done.output
    assert "3 frames have codes" in back.output, back.exception
    assert codes_of(home) == before != between
    assert load_settings(home=home).model_path == home / "models/old.safetensors"
    named = invoke("back", str(models["new"]), "--home", str(home))
    assert named.exit_code == 0, named.exception
    assert codes_of(home) == between


def test_nothing_changes_without_a_model_before_or_its_file_or_beside_a_running_node(
    home: Path, models: dict[str, Path]
) -> None:
    run(home, "--prepare")
    settings, nothing = (home / "settings.toml").read_text(), invoke("back", "--home", str(home))
    run(home)
    codes, gone = codes_of(home), invoke("back", "--home", str(home))
    other = invoke("back", str(models["short"]), "--home", str(home))
    with node_lock(Settings(home=home)):
        running = invoke("back", str(models["old"]), "--home", str(home))

    assert "no model before is kept" in str(nothing.exception)
    for failed in (gone, other):
        assert f"the file of model {read_model(models['old']).identifier} is not there" in str(failed.exception)
    assert isinstance(running.exception, InUseError)
    assert (home / "settings.toml").read_text() == settings
    assert codes_of(home) == codes


def test_what_is_kept_is_dropped_beside_a_running_node(home: Path) -> None:
    run(home)
    with node_lock(Settings(home=home)):
        dropped = invoke("drop", "--home", str(home))

    assert "bytes are free" in dropped.output
    assert "no model before is kept" in str(invoke("back", "--home", str(home)).exception)


def test_a_model_is_listed_set_and_set_back(home: Path, models: dict[str, Path]) -> None:
    old = read_model(models["old"]).identifier
    (home / "settings.toml").write_text(f'model_path = "{models["new"]}"\nport = 104  # ours\n\n[peers]\n')
    (home / "models").mkdir()
    (home / "models/old.safetensors").write_bytes(models["old"].read_bytes())

    used = invoke("use", "old", "--home", str(home))
    listed = json.loads(invoke("list", "--json", "--home", str(home)).stdout)
    back = invoke("use", DEFAULT_MODEL.stem, "--home", str(home))

    assert f"{old} is set" in used.output
    assert [one["model"] for one in listed if one["set"]] == [old]
    assert {one["model"] for one in listed if one["database"]} == {old}
    assert read_model().identifier in {one["model"] for one in listed}
    assert "run lookalike model reencode" in back.output
    assert load_settings(home=home).model_path is None
    assert "port = 104  # ours" in (home / "settings.toml").read_text()


def test_a_table_of_models_is_printed(home: Path) -> None:
    printed = invoke("list", "--home", str(home)).output

    assert read_model().identifier in printed
    assert "set" in printed


def test_a_model_that_is_not_there_or_has_other_codes_is_refused_and_nothing_is_set(
    home: Path, models: dict[str, Path]
) -> None:
    before = (home / "settings.toml").read_text()

    unknown = invoke("use", "best", "--home", str(home))
    short = invoke("use", str(models["short"]), "--home", str(home))

    assert isinstance(unknown.exception, ModelError)
    assert f"one of {DEFAULT_MODEL.stem}" in str(unknown.exception) or DEFAULT_MODEL.stem in str(unknown.exception)
    assert "has codes of (32,) bits, and code_length is 64" in str(short.exception)
    assert (home / "settings.toml").read_text() == before


def test_a_setting_in_another_form_is_left_to_its_author(home: Path) -> None:
    (home / "settings.toml").write_text('"model_path" = "other"\n')

    refused = invoke("use", DEFAULT_MODEL.stem, "--home", str(home))

    assert isinstance(refused.exception, SettingsError)
    assert (home / "settings.toml").read_text() == '"model_path" = "other"\n'


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("", "/a b.x", "model_path = '/a b.x'\n"),
        ("port = 1", "/a", "port = 1\nmodel_path = '/a'\n"),
        ("[peers]\n", "/a", "model_path = '/a'\n[peers]\n"),
        ("model_path = '/b'\n[peers]\nmodel_path = 3\n", None, "[peers]\nmodel_path = 3\n"),
    ],
)
def test_one_line_of_the_settings_changes(text: str, value: str | None, expected: str) -> None:
    changed = with_setting(text, "model_path", value)

    assert changed == expected
    assert tomllib.loads(changed).get("model_path") == value


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))
