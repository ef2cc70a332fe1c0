"""Viewing rays are the inverse of OpenCV's projection."""

import numpy as np
import pytest

from sim.lens import RayTable, project, ray_table
from vision_ik.cli.benches.camera import LENSES
from vision_ik.types import CameraIntrinsics


@pytest.mark.parametrize("name", LENSES)
def test_rays_through_pixels_project_back_onto_them(name: str):
    lens = LENSES[name].scaled(160, 120)
    table = RayTable(lens)
    corners = np.stack(np.meshgrid(np.arange(161) - 0.5, np.arange(121) - 0.5), axis=-1).reshape(-1, 2)
    np.testing.assert_allclose(project(3.0 * table.corners.reshape(-1, 3), lens), corners, atol=1e-9)
    centres = np.stack(np.meshgrid(np.arange(160), np.arange(120)), axis=-1)
    found = project(table.centres.reshape(-1, 3).astype(np.float64), lens).reshape(120, 160, 2)
    np.testing.assert_allclose(found, centres, atol=0.01)


def test_pixels_that_a_lens_cannot_reach_have_no_ray():
    folded = CameraIntrinsics(
        K=np.array([[100.0, 0, 79.5], [0, 100.0, 59.5], [0, 0, 1]]),
        distortion=np.array([-0.6, 0.0, 0.0, 0.0, 0.0]),
        width=160,
        height=120,
    )
    table = RayTable(folded)
    assert np.isnan(table.corners[0, 0]).all()
    assert np.isfinite(table.corners[60, 80]).all()


def test_points_behind_the_camera_project_to_nothing():
    lens = LENSES["pinhole"]
    assert np.isnan(project(np.array([[0.0, 0.0, -1.0]]), lens)).all()


def test_equal_lenses_share_their_rays():
    lens = LENSES["pinhole"]
    again = CameraIntrinsics(K=lens.K, distortion=lens.distortion, width=lens.width, height=lens.height)
    assert ray_table(lens) is ray_table(again)
