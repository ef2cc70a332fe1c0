"""Rendered corners are where cv2.projectPoints puts them, for several lenses."""

import numpy as np
import pytest

from sim import Sensor, SimCamera, World
from sim.lens import project
from vision_ik.cli.benches.camera import LENSES, corner_errors
from vision_ik.tags import TagDetector, detect_board
from vision_ik.transforms import Transform
from vision_ik.types import CharucoBoard, TagGridBoard

UP = Transform.from_translation((0.0, 0.0, 5.0))
"""A camera far above the table that looks up: it sees nothing but what is hung before it."""
CLEAN = Sensor(noise=0.0, blur_px=0.0)


@pytest.mark.parametrize("name", LENSES)
def test_corners_are_biased_by_at_most_a_fiftieth_of_a_pixel(name: str):
    errors = corner_errors(LENSES[name], poses=8, seed=3)
    assert np.abs(errors.mean(axis=0)).max() < 0.004
    assert np.abs(errors).max() < 0.04


def test_the_lens_blur_does_not_move_corners():
    assert np.abs(corner_errors(LENSES["pinhole"], poses=6, seed=4, blur_px=0.6).mean(axis=0)).max() < 0.02


@pytest.mark.parametrize("turn", [0.0, 1.3, -2.0])
def test_a_detector_reads_the_tag_and_its_corners_in_order(turn: float):
    with World() as world:
        camera = SimCamera(world, LENSES["pinhole"], UP, sensor=CLEAN)
        T_camera_tag = Transform.from_xyz_rpy((0.05, -0.03, 0.7), (np.pi - 0.3, 0.2, turn))
        world.attach_tag(17, 0.1, "world", UP @ T_camera_tag)
        frame = camera.read()
        assert frame is not None
        (found,) = TagDetector(family="36h11").detect(frame)
        assert found.tag_id == 17
        np.testing.assert_allclose(found.corners, camera.truth(frame.index).corners[17], atol=0.15)


@pytest.mark.parametrize(
    "board",
    [
        CharucoBoard(columns=7, rows=5, square_m=0.03, marker_m=0.022),
        CharucoBoard(columns=5, rows=4, square_m=0.04, marker_m=0.03, legacy=True),
        TagGridBoard(columns=4, rows=3, tag_m=0.04, gap_m=0.012),
    ],
    ids=["charuco", "legacy charuco", "tag grid"],
)
def test_a_board_is_found_where_it_is(board: CharucoBoard | TagGridBoard):
    with World() as world:
        camera = SimCamera(world, LENSES["pinhole, 5 coefficients"], UP, sensor=CLEAN)
        T_camera_board = Transform.from_xyz_rpy((-0.09, 0.08, 0.5), (np.pi + 0.35, 0.2, 0.1))
        world.attach_board(board, "world", UP @ T_camera_board)
        frame = camera.read()
        assert frame is not None
        found = detect_board(frame, board)
        assert found is not None
        assert len(found.points_board) >= 12
        truth = project(T_camera_board.apply(found.points_board), camera.intrinsics)
        assert np.abs(found.points_image - truth).max() < 0.35
