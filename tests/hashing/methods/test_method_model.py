"""Each published method from the bench into a model file, and from there into a node that answers C-FIND."""

from pathlib import Path

import pytest
from pydicom import dcmread

from hashing.bench.experiment import Experiment
from hashing.bench.method_model import export_method
from hashing.bench.method_run import Run
from node.cli.send import files
from node.dicom.private import Element, PrivateBlock
from node.home import open_for_writing
from storage.errors import ModelMismatch
from tests.support.dicom.archive import identifier
from tests.support.hashing.standin import experiment
from tests.support.running import running_node

METHODS = ("semantic attention", "co-occurrence targets", "attention fusion", "union")
BITS = 16


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_trained_method_answers_c_find_by_one_setting(method: str, nih: Path, phantoms: Path, tmp_path: Path) -> None:
    bench = experiment(tmp_path, "imagenet", [method])
    model, paths = tmp_path / "model.safetensors", list(files(phantoms))[:12]
    written = export_method(Run(method, BITS, 0), Experiment.read(bench), nih, tmp_path / "runs", model)
    example = str(dcmread(paths[0], stop_before_pixels=True).SOPInstanceUID)
    asked = {Element.EXAMPLE_SOP_INSTANCE_UID: example, Element.CODE_LENGTH: "", Element.HAMMING_DISTANCE: ""}

    with running_node(tmp_path / "home", model_path=str(model), code_length=str(BITS)) as node:
        stored = {outcome.status for outcome in node.peer.store(paths)}
        node.wait_indexed()
        found = [
            PrivateBlock(one).values(Element.CODE_LENGTH)
            for one in node.peer.find(identifier("IMAGE", asked, SOPInstanceUID=""))
        ]

    assert stored == {0}
    assert written.identifier.startswith("model")
    assert len(found) > 0
    assert found == [[str(BITS)]] * len(found)
    with pytest.raises(ModelMismatch, match="holds codes of model model"):
        open_for_writing(node.settings.model_copy(update={"model_path": None}))
