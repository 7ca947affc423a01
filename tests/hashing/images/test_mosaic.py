"""Mosaics are seen as one section."""

import numpy as np
import pytest
from pydicom.dataset import Dataset

from hashing.images.mosaic import middle_section
from hashing.images.pixels import network_input
from tests.support.hashing.images import image

SECTIONS = np.arange(36, dtype=np.uint8).reshape(6, 6)
GRID = np.kron(SECTIONS, np.ones((64, 64), np.uint8))


def mosaic(count: int | None = None, matrix: list[int] | None = None) -> Dataset:
    """Attributes of a mosaic."""
    dataset = Dataset()
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
    if count is not None:
        dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0A, "US", count)
    if matrix is not None:
        dataset.AcquisitionMatrix = matrix
    return dataset


@pytest.mark.parametrize(("count", "middle"), [(35, 17), (36, 17), (26, 12), (31, 15)])
def test_the_middle_section_is_taken(count: int, middle: int) -> None:
    section = middle_section(GRID, mosaic(count))

    assert section.shape == (64, 64)
    assert (section == middle).all()


def test_without_the_private_count_the_acquired_size_tells_the_grid() -> None:
    section = middle_section(GRID, mosaic(matrix=[64, 0, 0, 64]))

    assert section.shape == (64, 64)
    assert (section == 17).all()


@pytest.mark.parametrize("dataset", [mosaic(), mosaic(count=0), mosaic(count=26 * 26), mosaic(matrix=[0, 0, 0, 0])])
def test_a_mosaic_that_cannot_be_cut_stays_whole(dataset: Dataset) -> None:
    assert middle_section(GRID, dataset) is GRID


def test_other_images_stay_whole() -> None:
    dataset = mosaic(count=36)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]

    assert middle_section(GRID, dataset) is GRID


@pytest.mark.parametrize("term", [" MOSAIC", "MOSAIC ", " MOSAIC "])
def test_spaces_around_the_word_mosaic_mean_nothing(term: str) -> None:
    dataset = mosaic(count=36)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", term]

    assert middle_section(GRID, dataset).shape == (64, 64)


def test_the_network_sees_one_section() -> None:
    dataset = image(GRID)
    dataset.update(mosaic(count=36))

    assert len(np.unique(network_input(dataset))) == 1
