"""Compiled code stays inside the picture, whatever it is given."""

import numpy as np
import pytest

from vision_ik.tags.corners.refinement import refine_markers
from vision_ik.tags.families import marker_cells
from vision_ik.tags.sampling import sample
from vision_ik.types import Floats, Image


def ramp() -> Image:
    return np.add.outer(10 * np.arange(5), np.arange(6)).astype(np.uint8)


def test_brightness_between_pixels_is_interpolated() -> None:
    assert sample(ramp(), 2.25, 1.5) == pytest.approx(17.25)


@pytest.mark.parametrize(
    ("x", "y", "rim"), [(-3.0, 2.0, 20.0), (1e300, 2.0, 25.0), (np.inf, np.inf, 45.0), (-np.inf, np.nan, 0.0)]
)
def test_beside_the_picture_its_rim_goes_on(x: float, y: float, rim: float) -> None:
    assert sample(ramp(), x, y) == pytest.approx(rim, abs=0.02)


@pytest.mark.parametrize(
    "quad",
    [
        np.zeros((4, 2)),
        np.array([[10.0, 10], [20, 20], [30, 30], [40, 40]]),
        np.array([[10.0, 10], [90, 90], [90, 10], [10, 90]]),
        np.full((4, 2), 1e9),
        np.array([[-500.0, -500], [900, -500], [900, 900], [-500, 900]]),
        np.array([[np.nan, 1], [2, 3], [4, 5], [6, 7]]),
    ],
    ids=["a point", "a line", "crossed", "far away", "around the picture", "no numbers"],
)
@pytest.mark.parametrize("shape", [(100, 100), (1, 80), (80, 1)])
def test_quads_that_are_no_marker_keep_their_corners(quad: Floats, shape: tuple[int, int]) -> None:
    gray = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    for cells in (8, [marker_cells("36h11", 3)]):
        found = refine_markers(gray, quad[None], cells)
        assert not found.refined[0]
        assert np.array_equal(found.corners[0], quad, equal_nan=True)
