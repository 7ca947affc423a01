"""A node changes its model as an operator would do it: prepared beside the running node, switched while it stands."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import dcmread

from hashing.model.model_file import DEFAULT_MODEL, Model, read_model
from hashing.model.weights import export, load_network
from node.cli.send import files
from node.dicom.private import Element, PrivateBlock
from tests.support.dicom.archive import identifier
from tests.support.running import REPOSITORY, RunningNode, running_node

IMAGES = 6


def command(*words: str | Path, home: Path) -> subprocess.CompletedProcess[str]:
    """`lookalike model ...` in a process of its own."""
    line = [sys.executable, "-m", "node", "model", *map(str, words), "--home", str(home)]
    return subprocess.run(line, capture_output=True, text=True, timeout=300, check=False, cwd=REPOSITORY)


def other_model(path: Path) -> Model:
    """The shipped weights at a smaller input: other codes, another fingerprint."""
    network, model = load_network(DEFAULT_MODEL)
    return export(network, replace(model.architecture, input_size=64), path, "other", {}, model.classes)


def models_of_answers(node: RunningNode, example: str) -> list[str]:
    """Model Identifier of each answer to a query by example."""
    asked = {Element.EXAMPLE_SOP_INSTANCE_UID: example, Element.MODEL_IDENTIFIER: ""}
    found = node.peer.find(identifier("IMAGE", asked, SOPInstanceUID=""))
    return [PrivateBlock(one).values(Element.MODEL_IDENTIFIER)[0] for one in found]


@pytest.mark.slow
def test_a_node_answers_by_its_model_until_the_switch_and_by_the_new_one_after(phantoms: Path, tmp_path: Path) -> None:
    home, paths, old = tmp_path / "home", list(files(phantoms))[:IMAGES], read_model()
    new = other_model(tmp_path / "other.safetensors")
    example = str(dcmread(paths[0], stop_before_pixels=True).SOPInstanceUID)
    with running_node(home) as node:
        assert {stored.status for stored in node.peer.store(paths)} == {0}
        node.wait_indexed()

        used = command("use", tmp_path / "other.safetensors", home=home)
        refused = command("reencode", home=home)
        prepared = command("reencode", "--prepare", home=home)
        before = models_of_answers(node, example)
        assert f"{new.identifier} is set" in used.stdout
        assert refused.returncode != 0
        assert f"{IMAGES} frames are ready" in prepared.stdout, prepared.stderr
        assert before == [old.identifier] * (IMAGES - 1)

        node.stop()
        switched = command("reencode", home=home)
        assert f"{IMAGES} frames have codes" in switched.stdout, switched.stderr
        node.start()
        assert models_of_answers(node, example) == [new.identifier] * (IMAGES - 1)

        node.stop()
        back = command("back", home=home)
        assert f"{IMAGES} frames have codes" in back.stdout, back.stderr
        node.start()
        assert models_of_answers(node, example) == [old.identifier] * (IMAGES - 1)
