"""An arm that takes the wizard's views by itself, goes on after a fault, and stops when it is sure enough."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from calibration_stage import BOARD, LENS

from calibration import Observer, Sighting
from calibration.lens.projection import project
from calibration.views.sights import board_points
from calibration.wizard import Answers, Command, Do, Lens, Step, Wizard, drive
from vision_ik.errors import ArmError, CalibrationError
from vision_ik.ik import HybridSolver, load_solver
from vision_ik.layouts import board_table
from vision_ik.rig import load_rig
from vision_ik.transforms import Transform
from vision_ik.types import BoardDetection, CameraIntrinsics, Floats, Frame

T_BASE_CAMERA = Transform.from_parts(
    [[0.0, 0.5, -np.sqrt(0.75)], [1.0, 0.0, 0.0], [0.0, -np.sqrt(0.75), -0.5]], [1.25, 0.05, 0.85]
)
T_FLANGE_BOARD = Transform.from_translation([-0.105, -0.075, 0.03])
_GUESSED = CameraIntrinsics.from_field_of_view(LENS.width, LENS.height)


@cache
def solver() -> HybridSolver:
    return load_solver("panda")


class Cell:
    """An arm with a board before a camera, without pixels; what it says of itself serves as an `Observer`."""

    def __init__(self, *, lens: CameraIntrinsics = LENS, blind: bool = False, fails_after: int = 10**6) -> None:
        self.robot = solver().robot
        self.board = BOARD
        self.camera = SimpleNamespace(intrinsics=lens)
        self.arm = SimpleNamespace(read=lambda: SimpleNamespace(q=self.q))
        self.q: Floats = self.robot.home
        self.blind = blind
        self.looks = self.seen = 0
        self.fails_after = fails_after
        self._rng = np.random.default_rng(1)

    @property
    def observer(self) -> Observer:
        return cast("Observer", self)

    def explain_missing(self) -> None:
        """Nothing is known of other boards here."""

    def __call__(self, way: Floats) -> Sighting:
        self.looks += 1
        if self.seen >= self.fails_after:
            raise ArmError("The arm has been stopped.", "Release its stop.")
        self.q = np.atleast_2d(way)[-1]
        reported = Transform(self.robot.forward(self.q))
        noise = np.repeat([2e-4, 4e-4], 3) * self._rng.normal(size=6)
        image = np.zeros((LENS.height, LENS.width, 3), dtype=np.uint8)
        frame = Frame(image=image, timestamp=float(self.looks), index=self.looks, intrinsics=self.camera.intrinsics)
        found = self._detect(reported @ Transform.exp(noise), frame.timestamp)
        self.seen += found is not None
        return Sighting(q=self.q, T_base_flange=reported, frame=frame, detection=found)

    def _detect(self, T_base_flange: Transform, timestamp: float) -> BoardDetection | None:
        T_camera_board = T_BASE_CAMERA.inv() @ T_base_flange @ T_FLANGE_BOARD
        points = board_points(BOARD)
        in_camera = T_camera_board.apply(points)
        facing = -T_camera_board.rotation[:, 2] @ in_camera.mean(axis=0) / np.linalg.norm(in_camera.mean(axis=0))
        if self.blind or (in_camera[:, 2] < 0.1).any() or facing < np.cos(np.deg2rad(65)):
            return None
        uv = project(in_camera, LENS)[0] + 0.1 * self._rng.normal(size=(len(points), 2))
        if (uv < 0).any() or (uv > (LENS.width - 1, LENS.height - 1)).any():
            return None
        return BoardDetection(points_board=points, points_image=uv, timestamp=timestamp)


def _wizard(folder: Path, **answers: object) -> Wizard:
    wizard = Wizard(folder, goal="all")
    told: dict[str, object] = {"robot": "panda", "mount": "eye_to_hand", "board": board_table(BOARD), "edge_mm": 0}
    wizard.handle(Answers(told | answers))
    return wizard


def test_an_arm_takes_everything_the_lens_included(tmp_path: Path) -> None:
    cell = Cell(lens=_GUESSED)
    doings: list[str] = []
    with _wizard(tmp_path, views=10, checks=2, lens_from_views=True, model="pinhole") as wizard:
        drive(wizard, cell.observer, solver(), on_progress=lambda doing, _done, _wanted: doings.append(doing))
        view = wizard.view
        while view.command is not None:
            view = wizard.handle(Do(view.command))
    assert view.finished
    assert [len(wizard.state.of(role)) for role in ("views", "checks")] == [10, 2]
    assert 4 <= len(wizard.state.of("rough")) <= 6
    rig = load_rig(tmp_path)
    assert rig.T_mount_camera is not None
    assert rig.intrinsics is not None
    assert rig.T_mount_camera.distance_to(T_BASE_CAMERA)[0] < 3e-3
    assert rig.intrinsics.K[0, 0] == pytest.approx(LENS.K[0, 0], rel=0.01)
    assert view.results["check"]["error_mm"] < 2.0
    sigmas = [entry.sigma_mm for entry in view.accuracy]
    assert sigmas[-1] < 0.5 * sigmas[0]
    assert "looking for the board" in doings
    assert any("foretold" in doing for doing in doings)


def test_after_a_fault_the_arm_goes_on_where_it_was(tmp_path: Path) -> None:
    cell = Cell(fails_after=9)
    with _wizard(tmp_path, views=8, checks=0) as wizard:
        wizard.handle(Lens(intrinsics=LENS, origin="a test"))
        with pytest.raises(ArmError):
            drive(wizard, cell.observer, solver())
        before = len(wizard.state.of("views"))
        assert 0 < before < 8
        again = Cell()
        drive(wizard, again.observer, solver())
        assert len(wizard.state.of("views")) == 8
        assert again.looks == 8 - before  # nothing was looked for again


def test_views_are_taken_one_by_one_until_the_accuracy_is_reached(tmp_path: Path) -> None:
    said: list[str] = []
    with _wizard(tmp_path, views=40, checks=0, accuracy_mm=1.0) as wizard:
        wizard.handle(Lens(intrinsics=LENS, origin="a test"))
        drive(wizard, Cell().observer, solver(), on_progress=lambda doing, _done, _wanted: said.append(doing))
        assert wizard.is_done(Step.VIEWS)
        assert 6 <= len(wizard.state.of("views")) < 15
        assert wizard.handle(Do(Command.SOLVE)).results["hand-eye"]["sigma_mm"] < 1.2
    assert any("with it about" in sentence for sentence in said)


def test_a_board_that_is_nowhere_ends_the_search(tmp_path: Path) -> None:
    with _wizard(tmp_path) as wizard:
        wizard.handle(Lens(intrinsics=LENS, origin="a test"))
        with pytest.raises(CalibrationError, match="not seen from any"):
            drive(wizard, Cell(blind=True).observer, solver())
        assert not wizard.state.views
