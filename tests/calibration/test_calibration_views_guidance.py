"""A person is told the right way round where to move board or camera, and what is good enough is taken."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from calibration_stage import BOARD, LENS, make_stage

from calibration import Accuracy, Goal, HandEyeResult, HandEyeView, NextView, Workcell, calibrate_hand_eye, next_view
from calibration.lens.projection import project
from calibration.views.guidance import guide, opening_views, worth
from calibration.views.sights import outline, turned_about_centre
from vision_ik.ik import load_solver
from vision_ik.rig import Mount
from vision_ik.transforms import Transform
from vision_ik.types import Floats

SEEN = Transform.from_parts(np.diag([1.0, -1.0, -1.0]), [-0.1, 0.07, 0.6])
"""T_camera_board: upright in the middle of the picture."""


def turned(*w_deg: float) -> Transform:
    return Transform(turned_about_centre(SEEN.matrix, np.deg2rad([w_deg]), BOARD)[0])


def shifted(x: float, y: float, z: float) -> Transform:
    return Transform.from_translation([x, y, z]) @ SEEN


def edges(corners: Floats) -> dict[str, float]:
    """Return the lengths in pixels of the edges of an outline, by where they are in the picture."""
    pairs = [(corners[i], corners[(i + 1) % 4]) for i in range(4)]
    middle = {tuple((a + b) / 2): float(np.linalg.norm(a - b)) for a, b in pairs}
    ends = {
        "left": min(middle, key=lambda p: p[0]),
        "right": max(middle, key=lambda p: p[0]),
        "upper": min(middle, key=lambda p: p[1]),
        "lower": max(middle, key=lambda p: p[1]),
    }
    return {name: middle[place] for name, place in ends.items()}


@pytest.mark.parametrize(
    ("wanted", "board", "camera"),
    [
        (shifted(0.1, 0.0, 0.0), "Move the board 10 cm to the right.", "Move the camera 10 cm to its left."),
        (
            shifted(0.0, 0.1, 0.0),
            "Move the board 10 cm down in the picture.",
            "Move the camera 10 cm up as it sees it.",
        ),
        (shifted(0.0, 0.0, -0.1), "Move the board 10 cm closer to the camera.", "Move the camera 10 cm forward."),
        (turned(0.0, 0.0, 25.0), "Turn the board 25 degrees clockwise in the picture.", "counter-clockwise"),
        (turned(-20.0, 0.0, 0.0), "Tilt the board's upper edge 20 degrees away.", "look up"),
        (turned(0.0, 20.0, 0.0), "Tilt the board's left edge 20 degrees away.", "look left"),
    ],
)
def test_each_motion_is_said_for_whoever_holds_what(wanted: Transform, board: str, camera: str) -> None:
    assert guide(SEEN, wanted, board=BOARD, intrinsics=LENS).sentence == board
    assert camera in guide(SEEN, wanted, board=BOARD, intrinsics=LENS, mount="eye_in_hand").sentence


@pytest.mark.parametrize(("wanted", "farther"), [(turned(-20.0, 0.0, 0.0), "upper"), (turned(0.0, 20.0, 0.0), "left")])
def test_the_edge_that_is_told_to_go_away_looks_smaller_in_the_ghost(wanted: Transform, farther: str) -> None:
    told = guide(SEEN, wanted, board=BOARD, intrinsics=LENS)
    opposite = {"upper": "lower", "left": "right"}[farther]
    assert f"{farther} edge" in told.sentence
    assert edges(told.ghost)[farther] < edges(told.now)[farther]
    assert edges(told.ghost)[farther] < edges(told.ghost)[opposite]


def test_a_board_told_to_turn_clockwise_turns_so_in_the_picture() -> None:
    told = guide(SEEN, turned(0.0, 0.0, 25.0), board=BOARD, intrinsics=LENS)
    rim = [corners[1] - corners[0] for corners in (told.now, told.ghost)]
    # With y downward a positive cross product is clockwise to the eye.
    assert rim[0][0] * rim[1][1] - rim[0][1] * rim[1][0] > 0.0
    np.testing.assert_allclose(told.now, project(SEEN.apply(outline(BOARD)), LENS)[0])


def test_near_enough_is_said_and_at_most_three_things_at_once() -> None:
    assert guide(SEEN, shifted(0.01, 0.0, 0.02), board=BOARD, intrinsics=LENS).near
    far = Transform.from_translation([0.1, 0.05, -0.2]) @ turned(20.0, 15.0, 30.0)
    told = guide(SEEN, far, board=BOARD, intrinsics=LENS)
    assert not told.near
    assert told.sentence.count(",") == 2
    assert told.distance == pytest.approx(0.229, abs=1e-3)


@cache
def situation() -> tuple[Workcell, HandEyeResult, Goal, NextView, list[HandEyeView]]:
    mount: Mount = "eye_to_hand"
    solver = load_solver("panda")
    X = Transform.from_parts([[0.0, 0.5, -np.sqrt(0.75)], [1, 0, 0], [0, -np.sqrt(0.75), -0.5]], [1.25, 0.05, 0.85])
    Y = Transform.from_translation([-0.105, -0.075, 0.03])
    stage = make_stage(np.random.default_rng(1), mount, 5, pixel=0.3, translation=0.3e-3, rotation=1e-3, setup=(X, Y))
    result = calibrate_hand_eye(stage.views, intrinsics=LENS, mount=mount)
    cell = Workcell(solver=solver, intrinsics=LENS, board=BOARD, mount=mount, T_mount_camera=X, T_holder_board=Y)
    goal = Goal(accuracy=Accuracy(translation=0.4e-3, rotation=1e-3))
    step = next_view(cell, result, goal, q=solver.robot.home, samples=1000)
    assert isinstance(step, NextView)
    return cell, result, goal, step, stage.views


def test_a_view_that_tells_as_much_is_taken_as_it_comes_and_a_repeated_one_is_not() -> None:
    cell, result, goal, wanted, _ = situation()
    there = worth(cell, result, goal, wanted, wanted.T_base_flange)
    assert there.share == pytest.approx(1.0)
    assert there.take
    assert there.sigma_after.translation == pytest.approx(wanted.sigma_after.translation, rel=1e-6)
    near = worth(cell, result, goal, wanted, Transform(wanted.T_base_flange) @ Transform.exp([0.03, 0, 0, 0.05, 0, 0]))
    assert near.take
    again = worth(cell, result, goal, wanted, wanted.T_base_flange, visited=wanted.T_base_flange[None])
    assert not again.take


def test_a_view_that_tells_little_is_waited_out() -> None:
    cell, result, goal, wanted, views = situation()
    shares = [worth(cell, result, goal, wanted, view.flange).share for view in views]
    assert min(shares) < 0.6
    assert wanted.sigma_after.translation < wanted.sigma_before.translation


def test_the_opening_turns_the_board_about_two_axes_and_keeps_it_in_the_picture() -> None:
    views = opening_views(SEEN, board=BOARD, intrinsics=LENS)
    assert len(views) == 6
    for T in views:
        uv, _ = project(Transform(T).apply(outline(BOARD)), LENS)
        assert ((uv > 0) & (uv < (LENS.width - 1, LENS.height - 1))).all()
    result = np.linalg.matrix_rank(views[:, :3, 2] - SEEN.rotation[:, 2], tol=1e-6)
    assert result >= 2
