"""Levels and findings of an anatomy."""

import numpy as np

from hashing.phantoms.body.anatomy import Anatomy, Finding, skin_extent, slow_waves, tissue_finding
from hashing.phantoms.body.shape import ellipsoid, thread

ANATOMY = Anatomy((), (), 300.0, 110.0, 100.0, -100.0, (Finding("mass", 10.0, 50.0), Finding("effusion", -90.0, 20.0)))


def test_levels_run_from_the_top_to_the_bottom() -> None:
    assert [ANATOMY.height(level) for level in (0.0, 0.5, 1.0, 1.5)] == [100.0, 0.0, -100.0, -200.0]


def test_a_section_shows_the_findings_it_cuts_and_a_projection_all() -> None:
    assert ANATOMY.findings_at(0.3) == ("mass",)
    assert ANATOMY.findings_at(0.42) == ("mass", "effusion")
    assert ANATOMY.findings_at(0.0) == ()
    assert ANATOMY.findings_at(None) == ("mass", "effusion")


def test_a_finding_reaches_as_far_as_its_first_solid_is_wide() -> None:
    tube = thread("lesion", [(0, 0, -90), (0, 0, 90)], 3.0)

    (found,) = tissue_finding("nodule", [tube, ellipsoid("lesion", (0, 0, 20), (9, 9, 10))], "lesion")

    assert 9 < found.low_mm < 12
    assert 28 < found.high_mm < 31
    assert tissue_finding("nodule", [tube], "lesion") == []


def test_the_skin_gives_the_size() -> None:
    assert np.allclose(skin_extent([ellipsoid("skin", (0, 5, 0), (150, 90, 100))]), (300, 95), atol=0.1)


def test_waves_are_slow_and_of_their_size() -> None:
    heights = np.linspace(-150, 120, 100, dtype=np.float32)

    waves = slow_waves(heights, np.random.default_rng(0), 3.0)

    assert waves.shape == (100, 4)
    assert 1 < np.abs(waves).max() <= 3
    assert np.abs(np.diff(waves, axis=0)).max() < 0.3
