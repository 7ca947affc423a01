"""Model files, and codes from the shipped model."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydicom import dcmread
from safetensors.torch import save_file

from hashing.codes import unpack
from hashing.images.pixels import network_input
from hashing.model import backends
from hashing.model.architectures import build
from hashing.model.backends import Backend
from hashing.model.encoder import Encoder, Encoding
from hashing.model.modality import joined
from hashing.model.model_file import (
    CODE_LENGTHS,
    DEFAULT_MODEL,
    FIRST_ARCHITECTURE,
    Architecture,
    ModelError,
    read_model,
)
from hashing.model.network import HashNetwork, resized
from hashing.model.weights import export, load_network
from hashing.training.class_targets import CLASSES

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 224, 224), np.uint8)
MODALITIES = ["CT", "DX", ""]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.load(code_length=128, device="cpu")


def test_the_shipped_model_is_small_and_has_a_card() -> None:
    assert DEFAULT_MODEL.stat().st_size <= 12_000_000
    assert read_model().fingerprint in DEFAULT_MODEL.with_suffix(".md").read_text()


@pytest.mark.parametrize("code_length", CODE_LENGTHS)
def test_short_codes_are_the_beginning_of_long_ones(code_length: int, encoder: Encoder) -> None:
    long = unpack(encoder.encode(IMAGES, MODALITIES).codes, 128)

    short = unpack(Encoder.load(code_length=code_length, device="cpu").encode(IMAGES, MODALITIES).codes, code_length)

    assert np.array_equal(short, long[:, :code_length])


def test_an_image_has_one_code_and_the_same_class_scores_in_whatever_batch(encoder: Encoder) -> None:
    together = encoder.encode(IMAGES, MODALITIES)

    alone = Encoding.joined([encoder.encode(IMAGES[i : i + 1], MODALITIES[i : i + 1]) for i in range(len(IMAGES))])

    assert np.array_equal(together.codes, alone.codes)
    assert np.array_equal(together.class_scores, alone.class_scores)


def test_class_scores_of_an_image_sum_to_one_and_are_kept_in_a_byte_each(encoder: Encoder) -> None:
    encoding = encoder.encode(IMAGES, MODALITIES)

    kept = encoding.outputs.class_scores
    assert encoder.model.classes == CLASSES
    assert encoding.class_scores.shape == (3, len(CLASSES))
    assert np.allclose(encoding.class_scores.sum(axis=1), 1, atol=1e-6)
    assert kept is not None
    assert np.allclose((kept / 255.0) ** 2, encoding.class_scores, atol=1 / 255)


def test_parts_of_an_encoding_are_those_of_their_images(encoder: Encoder) -> None:
    first, second = encoder.encode(IMAGES, MODALITIES).split([1])

    assert np.array_equal(first.codes, encoder.encode(IMAGES[:1], MODALITIES[:1]).codes)
    assert np.array_equal(second.class_scores, encoder.encode(IMAGES[1:], MODALITIES[1:]).class_scores)


def test_images_of_another_size_or_type_are_refused(encoder: Encoder) -> None:
    with pytest.raises(ValueError, match="224"):
        encoder.encode(np.zeros((1, 128, 128), np.uint8), ["CT"])
    with pytest.raises(ValueError, match="uint8"):
        encoder.encode(np.zeros((1, 224, 224), np.float32), ["CT"])


def test_a_model_keeps_its_codes_when_it_is_exported_and_read(tmp_path: Path) -> None:
    network = untrained(n_classes=0)

    model = export(network, Architecture(), tmp_path / "own.safetensors", "own", {"note": "untrained"})
    loaded = Encoder.load(tmp_path / "own.safetensors", 64, "cpu")

    assert loaded.model == model
    assert model.identifier.startswith("own-")
    with torch.inference_mode():
        expected = network(torch.from_numpy(IMAGES).unsqueeze(1))
    encoding = loaded.encode(IMAGES, MODALITIES)
    learned = encoding.relaxed.reshape(3, -1, 4)[:, :, :3].reshape(3, -1)
    assert np.allclose(learned, expected[:, :48], atol=1e-2)
    assert model.classes == ()
    assert encoding.class_scores.shape == (3, 0)
    assert encoding.outputs.class_scores is None


def test_a_model_with_classes_keeps_their_names_and_scores_and_has_the_codes_of_one_without(tmp_path: Path) -> None:
    with_classes, plain = untrained(n_classes=3), untrained(n_classes=0)
    shared = {name: one for name, one in with_classes.weights().items() if not name.startswith("classifier")}
    plain.load_weights(shared)
    names = ("hand", "Größe", "head")

    model = export(with_classes, Architecture(), tmp_path / "with.safetensors", "own", {}, names)
    export(plain, Architecture(), tmp_path / "plain.safetensors", "own", {})

    encoding, other = (
        Encoder.load(tmp_path / f"{name}.safetensors", 128, "cpu").encode(IMAGES, MODALITIES)
        for name in ("with", "plain")
    )
    with torch.inference_mode():
        expected = with_classes(torch.from_numpy(IMAGES).unsqueeze(1))[:, 96:].softmax(dim=1)
    assert read_model(tmp_path / "with.safetensors") == model
    assert model.classes == names
    assert np.allclose(encoding.class_scores, expected, atol=1e-3)
    assert np.array_equal(encoding.codes, other.codes)


def test_one_network_makes_one_file_whenever_it_is_exported(tmp_path: Path) -> None:
    network, facts = untrained(n_classes=2), {f"fact {number}": str(number) for number in range(9)}
    script = "import sys; from tests.hashing.model.test_encoder import *; "
    script += f"export(untrained(2), Architecture(), Path(sys.argv[1]), 'own', {facts!r}, 'ab')"

    export(network, Architecture(), tmp_path / "here.safetensors", "own", facts, "ab")
    subprocess.run([sys.executable, "-c", script, tmp_path / "there.safetensors"], check=True)

    assert (tmp_path / "here.safetensors").read_bytes() == (tmp_path / "there.safetensors").read_bytes()


def test_a_classifier_whose_classes_have_no_names_is_refused(tmp_path: Path) -> None:
    network, path = untrained(n_classes=2), tmp_path / "own.safetensors"
    with pytest.raises(ModelError, match="1 names came for 2 classes"):
        export(network, Architecture(), path, "own", {}, ["hand"])
    save_file(network.weights(), path, metadata={"architecture": FIRST_ARCHITECTURE, "classes": '["hand"]'})

    with pytest.raises(ModelError, match="do not fit its header, which names a plain head of 96 bits and 1 classes"):
        Encoder.load(path)


def untrained(n_classes: int) -> HashNetwork:
    """A network whose weights fit half precision."""
    torch.manual_seed(0)
    network = build(Architecture(), n_classes).eval()
    network.load_weights({name: tensor.half() for name, tensor in network.weights().items()})
    return network


def test_models_that_cannot_be_used_are_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "broken.safetensors").write_bytes(b"no weights")
    save_file({"weight": torch.zeros(1)}, tmp_path / "other.safetensors", metadata={"architecture": "other"})

    for name, reason in (("missing", "no model"), ("broken", "damaged"), ("other", "architecture other")):
        with pytest.raises(ModelError, match=reason):
            Encoder.load(tmp_path / f"{name}.safetensors")
    with pytest.raises(ModelError, match="code length 40"):
        Encoder.load(code_length=40)


@pytest.mark.parametrize("name", ["torch", "openvino"])
@pytest.mark.slow
def test_every_backend_gives_the_reference_codes_but_for_one_bit_in_a_thousand(name: Backend, phantoms: Path) -> None:
    if name == "openvino":
        pytest.importorskip("openvino", reason="the extra openvino is not installed")
    images = np.stack([network_input(dcmread(path)) for path in sorted(phantoms.rglob("*.dcm"))[::4]])
    encoder = Encoder.load(code_length=128, device="cpu", backend_name=name)

    differing = unpack(encoder.encode(images, ["MR"] * len(images)).codes, 128) != reference(images, "MR")

    assert len(images) > 15
    assert differing.mean() <= 1e-3


def reference(images: NDArray[np.uint8], modality: str) -> NDArray[np.bool_]:
    """Bits of the network as it is defined, in fp32."""
    network, model = load_network(DEFAULT_MODEL)
    with torch.inference_mode():
        scaled = [resized(torch.from_numpy(image)[None, None], network.input_size) for image in images]
        outputs = torch.cat([network.eval()(image) for image in scaled]).numpy()[:, : network.code_length]
    return (joined(outputs, [modality] * len(images)) if model.architecture.modality_bits else outputs) >= 0


def test_the_quickest_backend_there_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[str] = []
    for name in ("_openvino", "_torch"):
        monkeypatch.setattr(backends, name, lambda _, name=name: chosen.append(name))

    for openvino in (True, False):
        monkeypatch.setattr(backends, "find_spec", lambda _, there=openvino: there or None)
        Encoder.load(device="cpu")

    assert chosen == ["_openvino", "_torch"]


def test_a_backend_that_is_not_there_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "find_spec", lambda _: None)

    with pytest.raises(ModelError, match="pip install"):
        Encoder.load(device="cpu", backend_name="openvino")


@pytest.mark.parametrize("count", [0, 1, 5])
def test_any_number_of_images_has_as_many_codes(count: int, encoder: Encoder) -> None:
    images = np.resize(IMAGES, (count, 224, 224))

    encoding = encoder.encode(images, ["MR"] * count)

    assert encoding.codes.shape == (count, 2)
    assert encoding.class_scores.shape == (count, len(encoder.model.classes))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_said_plainly() -> None:
    with pytest.raises(ModelError, match="sees no GPU"):
        Encoder.load(device="cuda")


@pytest.mark.gpu
def test_codes_of_gpu_and_cpu_differ_in_at_most_one_bit_in_a_thousand(encoder: Encoder) -> None:
    on_gpu = Encoder.load(code_length=128, device="cuda").encode(IMAGES, MODALITIES).codes

    assert (unpack(on_gpu, 128) != unpack(encoder.encode(IMAGES, MODALITIES).codes, 128)).mean() <= 1e-3
