"""The network and its loss."""

import numpy as np
import pytest
import torch

from hashing.methods.orthogonal import NestedOrthogonalLoss, spread_targets
from hashing.model.network import CODE_LENGTHS, ConvolutionNorm, EfficientNetLite0, HashNetwork
from hashing.training.trunk import imagenet_weights


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
    network = HashNetwork().eval()

    with torch.inference_mode():
        shapes = [tuple(network(torch.zeros(2, 1, side, side, dtype=torch.uint8)).shape) for side in (64, 128, 224)]

    assert shapes == [(2, 96)] * 3


def test_a_classifier_adds_its_logits_behind_the_bits_which_stay_what_they_are() -> None:
    network = HashNetwork(n_classes=5).eval()
    images = torch.rand(2, 1, 64, 64) * 255
    with torch.inference_mode():
        outputs = network(images)
        network.classifier = None

        assert (outputs.shape, network.width) == ((2, 96 + 5), 96)
        assert torch.equal(outputs[:, :96], network(images))


def test_a_network_of_given_weights_has_a_classifier_if_they_are_of_one() -> None:
    for n_classes in (0, 5):
        half = {name: tensor.half() for name, tensor in HashNetwork(n_classes).state_dict().items()}

        same = HashNetwork.of(half)

        assert same.n_classes == n_classes
        assert all(torch.equal(one, half[name].to(one.dtype)) for name, one in same.state_dict().items())


def test_fused_and_trained_networks_are_the_same_function() -> None:
    torch.manual_seed(0)
    network = HashNetwork()
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


def test_the_loss_of_one_class_is_that_of_the_formula() -> None:
    loss = NestedOrthogonalLoss(2, (16,), scale=8.0, margin=0.2)
    loss.targets = torch.stack([torch.ones(16), torch.cat([torch.ones(8), -torch.ones(8)])])
    relaxed = torch.ones(1, 16)

    value = loss(relaxed, torch.tensor([[1.0, 0.0]]))

    logits = np.array([8 * (1 - 0.2), 8 * 0.0])
    assert value.item() == pytest.approx(np.log(np.exp(logits).sum()) - logits[0], rel=1e-3)  # 32-bit floats


def test_a_few_steps_bring_codes_to_their_targets() -> None:
    torch.manual_seed(0)
    loss = NestedOrthogonalLoss(4, CODE_LENGTHS)
    relaxed = torch.randn(4, 128, requires_grad=True)
    optimizer = torch.optim.Adam([relaxed], lr=0.1)

    for _ in range(200):
        optimizer.zero_grad()
        loss(relaxed, torch.eye(4)).backward()
        optimizer.step()

    distances = ((relaxed >= 0)[:, None] != (loss.targets > 0)[None]).sum(dim=2)
    assert distances.argmin(dim=1).tolist() == [0, 1, 2, 3]
    assert distances.diagonal().max() <= 16  # by chance 64
