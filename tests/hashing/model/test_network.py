"""The network and its loss."""

import numpy as np
import pytest
import torch

from hashing.methods.base import HeadOutputs, Targets
from hashing.methods.orthogonal import TargetCrossEntropy, nested_target_cross_entropy, spread_targets
from hashing.model.architectures import build
from hashing.model.model_file import CODE_LENGTHS, Architecture
from hashing.model.network import ConvolutionNorm, EfficientNetLite0, HashNetwork
from hashing.training.trunk import imagenet_weights


def untrained(n_classes: int = 0) -> HashNetwork:
    return build(Architecture(), n_classes)


def test_published_imagenet_weights_fit_and_recognise_shapes() -> None:
    trunk = EfficientNetLite0()
    checkpoint = imagenet_weights()

    trunk.load_imagenet(checkpoint)

    assert torch.equal(trunk.stem.convolution.weight, checkpoint["_conv_stem.weight"].sum(dim=1, keepdim=True))
    assert torch.equal(trunk.head.convolution.weight, checkpoint["_conv_head.weight"])


def test_other_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="not the weights"):
        EfficientNetLite0().load_imagenet({"weight": torch.zeros(3, 3)})


def test_an_image_becomes_96_values_whatever_its_size() -> None:
    network = untrained().eval()

    with torch.inference_mode():
        shapes = [tuple(network(torch.zeros(2, 1, side, side, dtype=torch.uint8)).shape) for side in (64, 128, 224)]

    assert shapes == [(2, 96)] * 3


def test_a_classifier_adds_its_logits_behind_the_bits_which_stay_what_they_are() -> None:
    network, plain = untrained(n_classes=5).eval(), untrained().eval()
    plain.load_weights({name: one for name, one in network.weights().items() if not name.startswith("classifier")})
    images = torch.rand(2, 1, 64, 64) * 255
    with torch.inference_mode():
        outputs = network(images)

        assert (outputs.shape, network.width, plain.width) == ((2, 96 + 5), 96 + 5, 96)
        assert torch.equal(outputs[:, :96], plain(images))


def test_maps_of_any_strides_are_those_of_one_trunk() -> None:
    trunk, images = EfficientNetLite0().eval(), torch.rand(2, 1, 64, 64) * 255
    with torch.inference_mode():
        pyramid = trunk.maps(images, (8, 16, 32))

        assert [tuple(maps.shape) for maps in pyramid] == [(2, 40, 8, 8), (2, 112, 4, 4), (2, 1280, 2, 2)]
        assert torch.equal(trunk.maps(images, (32,))[0], pyramid[2])
        assert torch.equal(trunk.maps(images, ())[0], pyramid[2].mean(dim=(2, 3)))
        assert torch.equal(trunk(images), pyramid[2].mean(dim=(2, 3)))


def test_fused_and_trained_networks_are_the_same_function() -> None:
    torch.manual_seed(0)
    network = untrained()
    network(torch.rand(8, 1, 64, 64) * 255)  # gives batch normalisation statistics of its own
    network.eval()
    images = torch.rand(4, 1, 64, 64) * 255
    with torch.inference_mode():
        before = network(images)

        for module in network.modules():
            if isinstance(module, ConvolutionNorm):
                module.fuse()

        assert torch.allclose(network(images), before, atol=1e-3)


def test_targets_are_far_apart_at_every_code_length() -> None:
    targets = spread_targets(30, CODE_LENGTHS, np.random.default_rng(0))

    for code_length in CODE_LENGTHS:
        short = targets[:, :code_length]
        distances = (short[:, None] != short[None]).sum(axis=2)[~np.eye(30, dtype=bool)]
        assert distances.min() >= code_length // 8


def shares(labels: torch.Tensor) -> Targets:
    return Targets(labels, torch.ones_like(labels), torch.arange(len(labels)))


def test_the_loss_of_one_class_is_that_of_the_formula() -> None:
    targets = np.array([[True] * 16, [True] * 8 + [False] * 8])
    loss = TargetCrossEntropy(targets, scale=8.0, margin=0.2)

    value = loss(HeadOutputs(torch.ones(1, 16)), shares(torch.tensor([[1.0, 0.0]])))

    logits = np.array([8 * (1 - 0.2), 8 * 0.0])
    assert value.item() == pytest.approx(np.log(np.exp(logits).sum()) - logits[0], rel=1e-3)  # 32-bit floats


def test_a_few_steps_bring_codes_to_their_targets() -> None:
    torch.manual_seed(0)
    loss = nested_target_cross_entropy(4, CODE_LENGTHS, seed=0)
    relaxed = torch.randn(4, 128, requires_grad=True)
    optimizer = torch.optim.Adam([relaxed], lr=0.1)

    for _ in range(200):
        optimizer.zero_grad()
        loss(HeadOutputs(relaxed), shares(torch.eye(4))).backward()
        optimizer.step()

    longest = loss.parts[-1]
    assert isinstance(longest, TargetCrossEntropy)
    distances = ((relaxed >= 0)[:, None] != (longest.targets > 0)[None]).sum(dim=2)
    assert distances.argmin(dim=1).tolist() == [0, 1, 2, 3]
    assert distances.diagonal().max() <= 16  # by chance 64
