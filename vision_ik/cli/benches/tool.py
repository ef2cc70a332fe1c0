"""The tip of a tool from touches, and the checks of a calibration: as sure as stated, and finding what is wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from calibration import (
    Surface,
    arm_surfaces,
    calibrate_tool_tip,
    depth_check,
    plan_touch_test,
    seen_board,
)
from calibration.validation.touch_test import TouchTest
from vision_ik.cli.benches import Cell, Figure, Level, Table, tell
from vision_ik.cli.benches._hand_eye_cells import ARMS
from vision_ik.errors import CalibrationError
from vision_ik.ik import load_solver
from vision_ik.transforms import Transform
from vision_ik.types import CharucoBoard, Floats

TITLE = "Tool tip, touch test and depth check"
_TILT = np.deg2rad(40.0)
_TURN = np.deg2rad(90.0)
_MISSED = 5e-3
"""[m] By a bad touch."""
_CAMERA_SIGMA = np.repeat([0.5e-3, 0.7e-3], 3)
"""[m], [rad] Of the calibrations that the touch test judges."""
_SIGHT_SIGMA = np.repeat([0.3e-3, 1e-3], 3)
"""[m], [rad] Of the board as the camera sees it."""
_DISPLACED = (5e-3, np.deg2rad(0.5))
_DEPTH_NOISE = 2e-3
"""[m] At 1 m, growing with the square of the distance."""


@dataclass(frozen=True, slots=True)
class _Touched:
    """What came of one way to find the tip, over all trials."""

    errors: Floats
    """(T,) [m]"""
    sigmas: Floats
    """(T,) [m], NaN where none is stated."""
    scores: Floats
    """(T,) squared errors in units of the stated covariance, over 3."""
    named: Floats
    """(T,) 1 where exactly the bad touches were left out."""

    @property
    def rms_mm(self) -> float:
        """Root mean square error [mm]."""
        return 1e3 * float(np.sqrt(np.mean(self.errors**2)))


def run(*, level: Level = Level.NORMAL) -> list[Figure | Table]:
    """Measure tips, touches and depth."""
    trials = level.pick(quick=20, normal=400, full=400)
    parts: list[Figure | Table] = [*_tips(trials), *_touch_tests(level.pick(quick=30, normal=400, full=1000))]
    return [*parts, *_depths(level.pick(quick=2, normal=20, full=60))]


# -- tips --------------------------------------------------------------------------------


def _tips(trials: int) -> list[Figure | Table]:
    rows: list[tuple[Cell, ...]] = []
    eight = None
    for n, bad in ((4, 0), (8, 0), (16, 0), (8, 1)):
        tell(f"{n} touches{', one bad' if bad else ''}")
        ours, plain = _trial_tips(n, bad, trials, ours=True), _trial_tips(n, bad, trials, ours=False)
        eight = ours if (n, bad) == (8, 0) else eight
        stated = 1e3 * float(np.sqrt(np.mean(ours.sigmas**2)))
        named = f"{100 * ours.named.mean():.1f} %"
        rows.append(
            (
                f"{n}{', one 5 mm off' if bad else ''}",
                ours.rms_mm,
                stated,
                float(np.mean(ours.scores)),
                plain.rms_mm,
                named,
            )
        )
    if eight is None:
        raise ValueError("The cell of eight touches is missing.")
    score = float(np.mean(eight.scores))
    note = f"{trials} trials, tilts up to 40 deg, turns up to 90, tool 0.15 m, arm 0.3 mm and 0.05 deg per axis"
    return [
        Figure(
            name="tip after 8 touches: squared error in units of its covariance, over 3",
            value=score,
            target="0.7 to 1.3",
            met=0.7 <= score <= 1.3,
            note=note,
        ),
        Figure(name="tip after 8 touches, rms error", value=eight.rms_mm, unit="mm", note=note),
        Figure(name="the same, as stated (rms sigma)", value=1e3 * float(np.sqrt(np.mean(eight.sigmas**2))), unit="mm"),
        Figure(
            name="one of 8 touches 5 mm off: rms error over that of 8 good ones",
            value=float(rows[-1][1]) / eight.rms_mm,
            note="the bad touch is found among the others, not told",
        ),
        Table(
            name="Tip of the tool [mm]",
            columns=("touches", "rms", "stated", "score (1)", "plain least squares", "left out just the bad"),
            rows=tuple(rows),
            note=note + "; plain least squares: the pivot equations of all touches alike, no sigma",
        ),
    ]


def _trial_tips(n: int, bad: int, trials: int, *, ours: bool) -> _Touched:
    errors, sigmas, scores, named = (np.full(trials, np.nan) for _ in range(4))
    for trial in range(trials):
        rng = np.random.default_rng((trial, n, bad))
        tip, Ts, spoilt = _touches(rng, n, bad)
        if not ours:
            errors[trial] = float(np.linalg.norm(_pivot(Ts) - tip))
            continue
        try:
            result = calibrate_tool_tip(Ts)
        except CalibrationError:
            continue  # drawn touches may all lean the same way: refused, and counted as NaN by the mean
        error = result.tip - tip
        errors[trial], sigmas[trial] = float(np.linalg.norm(error)), result.sigma_translation
        scores[trial] = float(error @ np.linalg.solve(result.tip_covariance, error)) / 3.0
        named[trial] = {i for i, touch in enumerate(result.touches) if not touch.used} == spoilt
    return _Touched(errors, sigmas, scores, named)


def _touches(rng: np.random.Generator, n: int, bad: int) -> tuple[Floats, list[Transform], set[int]]:
    """Return a random tip (3,), T_base_flange of n touches of one point as reported, and which are bad."""
    tip = np.array([0.02, -0.01, 0.15]) + 0.02 * rng.normal(size=3)
    point = np.array([0.5, 0.1, 0.02])
    azimuth, tilt = rng.uniform(0.0, 2.0 * np.pi, n), _TILT * np.sqrt(rng.uniform(size=n))
    tilts = np.column_stack([tilt * np.cos(azimuth), tilt * np.sin(azimuth), np.zeros(n)])
    turns = np.column_stack([np.zeros((n, 2)), rng.uniform(-_TURN, _TURN, n)])
    down = Rotation.from_euler("x", np.pi)
    arm = ARMS["cobot"]
    sigma = np.repeat([arm.translation, arm.rotation], 3)
    spoilt = set(rng.permutation(n)[:bad].tolist())
    Ts: list[Transform] = []
    for i, R in enumerate((down * Rotation.from_rotvec(tilts) * Rotation.from_rotvec(turns)).as_matrix()):
        away = rng.normal(size=3)
        at = point + (_MISSED * away / np.linalg.norm(away) if i in spoilt else 0.0)
        Ts.append(Transform.from_parts(R, at - R @ tip) @ Transform.exp(sigma * rng.normal(size=6)))
    return tip, Ts, spoilt


def _pivot(Ts: list[Transform]) -> Floats:
    """Return the tip (3,) by plain least squares of R_i x - p = -t_i, as pivot calibration is usually done."""
    A = np.concatenate([np.hstack([T.rotation, -np.eye(3)]) for T in Ts])
    b = np.concatenate([-T.translation for T in Ts])
    return np.asarray(np.linalg.lstsq(A, b, rcond=None)[0][:3], dtype=np.float64)


# -- touch test --------------------------------------------------------------------------


def _touch_tests(trials: int) -> list[Figure | Table]:
    tell("touch test")
    board, tool = (
        CharucoBoard(columns=7, rows=5, square_m=0.03, marker_m=0.022),
        Transform.from_translation([0, 0, 0.12]),
    )
    solver = load_solver("panda", T_flange_tool=tool)
    T_base_camera = Transform.from_parts(np.diag([1.0, -1.0, -1.0]), [0.45, 0.0, 0.8])
    T_base_board = Transform.from_translation([0.4, -0.1, 0.0])
    camera, sight = np.diag(_CAMERA_SIGMA**2), np.diag(_SIGHT_SIGMA**2)
    T_camera_board = T_base_camera.inv() @ T_base_board
    believed, covariance = seen_board(T_base_camera, camera, T_camera_board, sight)
    arm = ARMS["cobot"]
    test = plan_touch_test(board, believed, solver, covariance=covariance, arm_sigma=arm, q_start=solver.robot.home)
    errors, scores = _touched(test, trials, T_base_camera, T_camera_board)
    predicted = test.judge(dict.fromkeys((point.name for point in test.points), np.zeros(3))).sigma
    measured = float(np.sqrt(np.mean(np.square(errors))))
    note = f"{trials} draws of camera (0.5 mm, 0.04 deg), sighting and cobot noise; {len(test.points)} points"
    return [
        Figure(
            name="touch test: true rms error over the predicted one",
            value=measured / predicted,
            target="0.9 to 1.1",
            met=0.9 <= measured / predicted <= 1.1,
            note=note,
        ),
        Figure(name="touch test: predicted rms error", value=1e3 * predicted, unit="mm"),
        Figure(
            name="touch test: sound calibrations called inconsistent", value=100.0 * float(np.mean(scores)), unit="%"
        ),
    ]


def _touched(
    test: TouchTest, trials: int, T_base_camera: Transform, T_camera_board: Transform
) -> tuple[list[float], list[bool]]:
    arm = ARMS["cobot"]
    sigma = np.repeat([arm.translation, arm.rotation], 3)
    tool = Transform.from_translation([0, 0, 0.12])
    errors: list[float] = []
    doubted: list[bool] = []
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        true = T_base_camera @ Transform.exp(_CAMERA_SIGMA * rng.normal(size=6))
        true = true @ T_camera_board @ Transform.exp(_SIGHT_SIGMA * rng.normal(size=6))
        reached = {
            point.name: point.T_base_tool @ tool.inv() @ Transform.exp(sigma * rng.normal(size=6)) @ tool
            for point in test.points
        }
        report = test.judge(test.truth(reached, true))
        errors.append(report.error)
        doubted.append(report.consistent is False)
    return errors, doubted


# -- depth -------------------------------------------------------------------------------


def _depths(displacements: int) -> list[Figure | Table]:
    try:
        from sim import load_scene
        from sim.meshes import robot_meshes

        scene = load_scene("calibration_board", camera={"depth": True})
    except ImportError as error:
        return [Figure(name="depth check", value=float("nan"), note=f"skipped: {error}")]
    tell("depth check")
    with scene:
        frame = scene.camera.read(2.0)
        if frame is None:
            raise CalibrationError("The simulated camera gave no picture.", "Look into the scene.")
        truth, robot = scene.camera.truth(frame.index), scene.robot
        shapes = {
            name: Surface(name=name, vertices=mesh.vertices.astype(float), triangles=mesh.triangles.astype(np.int64))
            for name, mesh in robot_meshes(robot).items()
        }
        surfaces = arm_surfaces(robot, scene.arm.read().q, shapes)
    rng = np.random.default_rng(0)
    depth = np.asarray(frame.depth, dtype=np.float64)
    errors, angles, scores, sigmas = ([] for _ in range(4))
    for _ in range(displacements):
        noisy = depth + _DEPTH_NOISE * depth**2 * rng.normal(size=depth.shape)
        v, w = (away / np.linalg.norm(away) for away in rng.normal(size=(2, 3)))
        moved = np.concatenate([_DISPLACED[0] * v, _DISPLACED[1] * w])
        believed = truth.T_base_camera @ Transform.exp(-moved)
        _, found = depth_check(replace(frame, depth=noisy.astype(np.float32)), surfaces, believed)
        if found is None:
            continue
        error = found.twist - moved
        errors.append(float(np.linalg.norm(error[:3])))
        angles.append(float(np.linalg.norm(error[3:])))
        sigmas.append(found.offset_sigma)
        scores.append(float(error @ np.linalg.solve(found.covariance, error)) / 6.0)
    note = f"{displacements} displacements by 5 mm and 0.5 deg; depth noise 2 mm at 1 m; arm noise 0.3 mm, 0.05 deg"
    return [
        Figure(
            name="depth check: displaced camera found to",
            value=1e3 * _rms(errors),
            unit="mm",
            target="at most 1.5",
            met=_rms(errors) <= 1.5e-3,
            note=note,
        ),
        Figure(name="depth check: ... and to", value=float(np.rad2deg(_rms(angles))), unit="deg"),
        Figure(name="depth check: sigma stated of the offset", value=1e3 * _rms(sigmas), unit="mm"),
        Figure(
            name="depth check: squared error in units of its covariance, over 6",
            value=float(np.mean(scores)) if scores else float("nan"),
            note="far below 1: parts of 6 cm are taken to err together, as the shapes of real arms do and these do not",
        ),
        Figure(name="depth check: found in", value=100.0 * len(errors) / displacements, unit="%"),
    ]


def _rms(values: list[float]) -> float:
    return float(np.sqrt(np.mean(np.square(values)))) if values else float("nan")
