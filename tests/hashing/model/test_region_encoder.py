"""Codes of regions: features pooled where they lie, at the scale of the whole image."""

import numpy as np
import pytest
import torch

from hashing.model.encoder import Encoder, fused
from hashing.model.model_file import MODELS
from hashing.model.network import INPUT_SIZE, resized
from hashing.model.region_encoder import MIN_SIDE, PART, PARTS, RegionEncoder, shares_of, widened
from hashing.model.weights import load_network

FIRST_MODEL = MODELS / "lookalike-1.safetensors"
WHOLE = (1, 1, INPUT_SIZE, INPUT_SIZE)
IMAGE = np.random.default_rng(0).integers(0, 256, (INPUT_SIZE, INPUT_SIZE), np.uint8)


def test_a_region_has_its_share_of_each_cell() -> None:
    shares = shares_of((1, 33, 48, 64), 7)

    expected = np.zeros((7, 7))
    expected[1, :2] = 2 / 3, 1 / 3
    assert np.allclose(shares, expected)


@pytest.mark.parametrize("region", [(1, 1, 5, 5), (220, 100, 224, 103), (90, 1, 140, 224), WHOLE])
def test_a_small_region_gets_its_surroundings_within_the_image(region: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = widened(region)

    assert 1 <= left <= region[0] <= region[2] <= right <= INPUT_SIZE
    assert 1 <= top <= region[1] <= region[3] <= bottom <= INPUT_SIZE
    assert (right - left + 1, bottom - top + 1) == (
        max(MIN_SIDE, region[2] - region[0] + 1),
        max(MIN_SIDE, region[3] - region[1] + 1),
    )


def test_the_whole_image_as_a_region_has_the_code_of_the_image() -> None:
    encoding = RegionEncoder.load(device="cpu").encode(IMAGE, [WHOLE], "CT")

    whole = Encoder.load(device="cpu").encode(IMAGE[None], ["CT"])
    assert np.allclose(encoding.relaxed, whole.relaxed, atol=1e-3)
    assert np.allclose(encoding.class_scores, whole.class_scores, atol=1e-4)


def test_parts_cover_the_image_and_are_four_cells_of_the_doubled_image_wide_and_high() -> None:
    lefts, tops, rights, bottoms = (np.array(side) for side in zip(*PARTS, strict=True))

    assert len(set(PARTS)) == len(PARTS) == 121
    assert (lefts.min(), tops.min(), rights.max(), bottoms.max()) == (1, 1, INPUT_SIZE, INPUT_SIZE)
    assert {*(rights - lefts + 1), *(bottoms - tops + 1)} == {PART}
    assert {int(np.count_nonzero(shares_of(part, 14))) for part in PARTS} == {16}


def test_a_fine_code_of_a_region_is_that_of_the_doubled_image_and_not_widened() -> None:
    network, model = load_network(FIRST_MODEL)
    n_bits = model.architecture.learned_bits_of(64)
    doubled = resized(torch.from_numpy(IMAGE)[None, None], 2 * INPUT_SIZE)
    with torch.inference_mode():
        maps = fused(network).trunk.maps(doubled, (32,))[0]
        expected = network.head((maps[:, :, 2:4, 1:3].mean(dim=(2, 3)),)).relaxed[0, :n_bits].numpy()

    found = RegionEncoder.load(FIRST_MODEL, device="cpu").encode(IMAGE, [(17, 33, 48, 64)], "", is_fine=True).relaxed

    assert np.allclose(found.reshape(-1, 4)[:, :3].reshape(-1), expected, atol=1e-3)


def test_a_region_s_code_is_that_of_the_features_at_its_cells() -> None:
    network, model = load_network(FIRST_MODEL)
    n_bits = model.architecture.learned_bits_of(64)
    with torch.inference_mode():
        maps = fused(network).trunk.maps(torch.from_numpy(IMAGE)[None, None].float(), (32,))[0]
        expected = network.head((maps[:, :, 2:5, 0:3].mean(dim=(2, 3)),)).relaxed[0, :n_bits].numpy()

    regions = [(1, 65, 96, 160), WHOLE]
    found = RegionEncoder.load(FIRST_MODEL, device="cpu").encode(IMAGE, regions, "").relaxed

    learned = found.reshape(2, -1, 4)[:, :, :3].reshape(2, -1)  # every fourth bit is the modality's
    assert np.allclose(learned[0], expected, atol=1e-3)
    assert not np.allclose(learned[0], learned[1], atol=1e-1)
