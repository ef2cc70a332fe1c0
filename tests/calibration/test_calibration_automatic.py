"""The arm that calibrates by itself, on a virtual clock: motion, rest, search, plan, result."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from calibration_stage import BOARD, LENS

from calibration import (
    Accuracy,
    NextView,
    Observer,
    Sighting,
    calibrate_automatically,
    collect_views,
    find_first_views,
)
from calibration.lens.projection import project
from calibration.views.moving import Mover
from calibration.views.sights import board_points
from vision_ik.arms import JointLimits
from vision_ik.errors import ArmError, CalibrationError, FrameReadError, TagError
from vision_ik.ik import HybridSolver, load_solver
from vision_ik.tags import BoardFinder, render_board
from vision_ik.testing import FakeArm, FakeCamera, VirtualClock
from vision_ik.transforms import Transform
from vision_ik.types import Board, BoardDetection, Floats, Frame, Image

T_BASE_CAMERA = Transform.from_parts(
    [[0.0, 0.5, -np.sqrt(0.75)], [1.0, 0.0, 0.0], [0.0, -np.sqrt(0.75), -0.5]], [1.25, 0.05, 0.85]
)
T_FLANGE_BOARD = Transform.from_translation([-0.105, -0.075, 0.03])


@cache
def solver() -> HybridSolver:
    return load_solver("panda")


class Cell:
    """A fake arm with a board, seen without pixels; the board shows only where it really would."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        *,
        lag: float = 0.04,
        blind: bool = False,
        picture: Image | None = None,
        pixel: float = 0.0,
    ) -> None:
        self.clock = VirtualClock()
        robot = solver().robot
        self.arm = FakeArm(JointLimits.of(robot), clock=self.clock, q=robot.home, lag=lag)
        self.blind = blind
        self.pixel = pixel
        self.picture = np.zeros((LENS.height, LENS.width, 3), dtype=np.uint8) if picture is None else picture
        self.postures: dict[int, Floats] = {}
        self.camera = FakeCamera(self._expose, clock=self.clock, intrinsics=LENS, latency=0.05)
        self.observe = Observer(self.arm, self.camera, BOARD, robot, clock=self.clock)

        def detect(_finder: BoardFinder, frame: Frame) -> BoardDetection | None:
            return self._detect(frame, BOARD)

        if picture is None:
            monkeypatch.setattr(BoardFinder, "detect", detect)

    def _expose(self, _timestamp: float, index: int) -> Image:
        self.postures[index] = self.arm.read().q
        return self.picture

    def _detect(self, frame: Frame, board: Board) -> BoardDetection | None:
        T_base_flange = Transform(solver().robot.forward(self.postures[frame.index]))
        T_camera_board = T_BASE_CAMERA.inv() @ T_base_flange @ T_FLANGE_BOARD
        points = board_points(board)
        in_camera = T_camera_board.apply(points)
        facing = -T_camera_board.rotation[:, 2] @ in_camera.mean(axis=0) / np.linalg.norm(in_camera.mean(axis=0))
        if self.blind or (in_camera[:, 2] < 0.1).any() or facing < np.cos(np.deg2rad(65)):
            return None
        uv, _ = project(in_camera, LENS)
        if (uv < 0).any() or (uv > (LENS.width - 1, LENS.height - 1)).any():
            return None
        noise = self.pixel * np.random.default_rng(frame.index).normal(size=uv.shape)
        return BoardDetection(points_board=points, points_image=uv + noise, timestamp=frame.timestamp)


def test_a_camera_nobody_placed_is_found_and_calibrated(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = Cell(monkeypatch)
    told: list[str] = []
    done = calibrate_automatically(
        cell.observe, solver(), n=8, on_progress=lambda doing, _done, _wanted: told.append(doing)
    )
    metres, angle = done.result.T_mount_camera.distance_to(T_BASE_CAMERA)
    # Pictures taken before the arm came to rest would be off by far more.
    assert metres < 2e-4
    assert angle < 2e-4
    assert done.result.used_views == len(done.views) == 8
    assert told[0] == "looking for the board"
    assert told[-1] == "solving"


def test_the_search_turns_the_flange_until_the_board_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = Cell(monkeypatch)
    looked: list[bool] = []

    def observe(way: Floats) -> Sighting:
        sighting = cell.observe(way)
        looked.append(sighting.detection is not None)
        return sighting

    robot = solver().robot
    assert not looked
    views = find_first_views(observe, robot, solver(), robot.home, count=4)
    assert len(views) == 4
    assert not looked[0], "at home the flange looks down, away from the camera"
    turns = [a.flange.distance_to(b.flange)[1] for a, b in pairwise(views)]
    assert min(turns) > np.deg2rad(3.0)


def test_a_board_that_is_never_seen_ends_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = Cell(monkeypatch, blind=True)
    robot = solver().robot
    with pytest.raises(CalibrationError, match="not seen from any of 5 postures"):
        find_first_views(cell.observe, robot, solver(), robot.home, most_looks=5)


def page(board: Board) -> Image:
    """Return a picture that is filled by a board."""
    sheet = np.full((LENS.height, LENS.width, 3), 200, dtype=np.uint8)
    drawn = render_board(board, px_per_m=2000.0, margin_m=0.01)
    sheet[30 : 30 + len(drawn), 60 : 60 + drawn.shape[1]] = drawn[:, :, None]
    return sheet


def test_another_board_before_the_camera_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = Cell(monkeypatch, picture=page(replace(BOARD, family="5x5_100")))

    def search(observe: Observer, _robot: object, _solver: object, q_start: Floats, **_others: object) -> None:
        observe(q_start)
        raise CalibrationError("The board was not seen.", "Look.")

    monkeypatch.setattr("calibration.views.automatic.find_first_views", search)
    with pytest.raises(TagError, match="markers 0-16 of 5x5_50 or a larger 5x5 dictionary in 7 columns") as caught:
        calibrate_automatically(cell.observe, solver())
    assert isinstance(caught.value.__cause__, CalibrationError)


def test_a_search_that_shows_nothing_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = Cell(monkeypatch, blind=True)
    assert cell.observe(solver().robot.home).detection is None
    assert cell.observe.explain_missing() is None


def test_the_layout_that_the_print_turns_out_to_have_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = replace(BOARD, columns=BOARD.rows, rows=BOARD.columns)
    cell = Cell(monkeypatch, picture=page(BOARD))
    observe = Observer(cell.arm, cell.camera, printed, solver().robot, clock=cell.clock)
    assert observe.board == printed
    assert observe(solver().robot.home).detection is not None
    assert observe.board == BOARD
    assert "swapped" in observe.remarks[0]
    observe(solver().robot.home)
    assert len(observe.remarks) == 1
    assert observe.explain_missing() is None


def test_views_without_the_board_are_not_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = Cell(monkeypatch)
    assert collect_views(cell.observe, [solver().robot.home]) == []


def test_a_camera_that_stops_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = Cell(monkeypatch)
    cell.camera.fail_at = 0.0
    with pytest.raises(FrameReadError):
        cell.observe(solver().robot.home)


def test_motion_keeps_to_its_share_of_all_limits_and_ends_at_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = Cell(monkeypatch, lag=0.0)
    robot = solver().robot
    goal = robot.home + np.array([0.5, -0.2, 0.3, 0.4, -0.6, 0.2, 0.8])
    Mover(arm=cell.arm, robot=robot, clock=cell.clock, speed=0.3).go(goal)
    times, q = (np.array([w[i] for w in cell.arm.written]) for i in (0, 1))
    fresh = np.concatenate([[True], np.diff(times) > 1e-9])
    times, q = times[fresh], q[fresh]
    dq = np.diff(q, axis=0) / np.diff(times)[:, None]
    ddq = np.diff(dq, axis=0) / 0.01
    assert (np.abs(dq) <= 0.3 * robot.velocity * 1.001).all()
    assert (np.abs(ddq) <= 0.3 * robot.acceleration * 1.01).all()
    np.testing.assert_allclose(cell.arm.read().q, goal, atol=1e-6)
    assert not cell.arm.read().dq.any()


def test_an_arm_that_sticks_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = Cell(monkeypatch, lag=0.0)
    cell.arm.fault = "stuck"
    robot = solver().robot
    with pytest.raises(ArmError, match="came to rest"):
        Mover(arm=cell.arm, robot=robot, clock=cell.clock).go(robot.home + 0.3)


def test_views_are_taken_until_the_accuracy_asked_for_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = Cell(monkeypatch, pixel=0.3)
    wanted = Accuracy(translation=0.5e-3, rotation=np.deg2rad(0.1))
    done = calibrate_automatically(cell.observe, solver(), accuracy=wanted)
    assert done.enough is not None
    assert done.enough.reached
    assert done.enough.sentence.startswith("Reached: ")
    assert done.result.sigma_translation <= wanted.translation
    assert done.result.T_mount_camera.distance_to(T_BASE_CAMERA)[0] < 2.5 * wanted.translation
    last = done.steps[-1]
    assert last.sigma_after.translation < done.steps[0].proposal.sigma_before.translation
    assert last.sigma_after.translation == pytest.approx(last.proposal.sigma_after.translation, rel=0.35)
    assert 6 <= len(done.views) == len(done.steps) < 15


def test_an_accuracy_out_of_reach_is_said_before_the_views_are_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = Cell(monkeypatch, pixel=0.3)
    asked: list[NextView] = []

    def no(proposal: NextView) -> bool:
        asked.append(proposal)
        return False

    wanted = Accuracy(translation=1e-6, rotation=np.deg2rad(0.1))
    done = calibrate_automatically(cell.observe, solver(), accuracy=wanted, most=20, confirm=no)
    assert len(asked) == 1
    assert "leaves" in asked[0].remark
    assert "after 20 views" in asked[0].remark
    assert asked[0].remark in asked[0].sentence
    assert done.views == ()
    assert done.enough is None
    assert done.result is done.rough


def test_after_the_most_views_it_is_said_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = Cell(monkeypatch, pixel=0.3)
    wanted = Accuracy(translation=1e-6, rotation=np.deg2rad(0.1))
    done = calibrate_automatically(cell.observe, solver(), accuracy=wanted, most=5)
    assert done.enough is not None
    assert not done.enough.reached
    assert "is left" in done.enough.sentence
    assert done.result.used_views == 5
