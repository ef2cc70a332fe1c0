"""Hand-eye calibration on synthetic views: error, honesty of the covariance, and OpenCV in the same run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from calibration import ArmNoise, HandEyeView, calibrate_hand_eye, closed_form_hand_eye, plan_views
from calibration.hand_eye.board_pose import board_poses
from calibration.lens.projection import project
from calibration.views.candidates import Workcell, board_points
from vision_ik.cli.benches import Figure, Level
from vision_ik.ik import HybridSolver, load_solver
from vision_ik.rig import Mount
from vision_ik.transforms import Transform
from vision_ik.types import BoardDetection, CameraIntrinsics, CharucoBoard, Floats

TITLE = "Hand-eye calibration: error against truth, and whether the stated covariance holds"

_BOARD = CharucoBoard(columns=7, rows=5, square_m=0.03, marker_m=0.022)
_LENS = CameraIntrinsics(
    K=np.array([[601.5, 0.0, 321.3], [0.0, 600.2, 238.1], [0.0, 0.0, 1.0]]),
    distortion=np.array([-0.09, 0.05, 0.0004, -0.0006, 0.0]),
    width=640,
    height=480,
)
_PIXEL_SIGMA = 0.3
_ARM_SIGMA = ArmNoise(translation=0.3e-3, rotation=float(np.deg2rad(0.05)))
_VIEWS = 15
_WITHIN_MM, _WITHIN_DEG = 1.5, 0.2
_HONEST = (0.75, 1.3)
_GUESS = np.array([0.01, 0.01, 0.01, 0.01, 0.01, 0.01])
"""[m, rad] Standard deviation of the guess that views are planned with: a rough first calibration."""


@dataclass(frozen=True, slots=True)
class _Trial:
    """One random set-up with the views of one plan and of a random choice."""

    T_mount_camera: Transform
    planned: list[HandEyeView]
    unplanned: list[HandEyeView]


Method = Callable[[list[HandEyeView], Mount], Transform]


def run(*, level: Level = Level.NORMAL) -> list[Figure]:
    """Calibrate random set-ups of both mounts by our methods and OpenCV's."""
    quick = level is Level.QUICK
    seeds = 10 if quick else 50
    solver = load_solver("panda")
    figures: list[Figure] = []
    mounts: tuple[Mount, ...] = ("eye_to_hand", "eye_in_hand")
    for mount in mounts:
        trials = [_trial(solver, mount, seed) for seed in range(seeds)]
        words = mount.replace("_", " ")
        conditions = f"{seeds} seeds, Panda, 640x480, 0.3 px, 0.3 mm / 0.05 deg per axis"
        main = mount == "eye_to_hand"
        figures += _honest_rows(f"{words}, {_VIEWS} planned views", trials, mount, conditions, asked=main)
        figures += _honest_rows(f"{words}, noise levels told", trials, mount, conditions, told=True)
        figures += _honest_rows(f"{words}, {_VIEWS} random views", trials, mount, conditions, planned=False)
        for name, method in _peers(mount).items():
            figures.append(_peer_row(f"{words}, planned, {name}", trials, mount, method))
    figures.append(_solve_time(solver, trials=3 if quick else 10))
    return figures


def _honest_rows(
    name: str,
    trials: list[_Trial],
    mount: Mount,
    conditions: str,
    *,
    planned: bool = True,
    told: bool = False,
    asked: bool = False,
) -> list[Figure]:
    """Return share within the wanted error, 95th percentiles and mean normalised error squared / 6."""
    errors: list[tuple[float, float, float]] = []
    for trial in trials:
        result = calibrate_hand_eye(
            trial.planned if planned else trial.unplanned,
            intrinsics=_LENS,
            mount=mount,
            pixel_sigma=_PIXEL_SIGMA if told else None,
            arm_sigma=_ARM_SIGMA if told else None,
        )
        metres, angle = result.T_mount_camera.distance_to(trial.T_mount_camera)
        twist = (result.T_mount_camera.inv() @ trial.T_mount_camera).log()
        normalised = float(twist @ np.linalg.solve(result.covariance, twist)) / 6.0
        errors.append((metres * 1e3, float(np.rad2deg(angle)), normalised))
    table = np.array(errors)
    within = float(np.mean((table[:, 0] <= _WITHIN_MM) & (table[:, 1] <= _WITHIN_DEG)))
    mm, deg = np.percentile(table[:, :2], 95.0, axis=0).tolist()
    honesty = float(table[:, 2].mean())
    return [
        Figure(
            name=f"{name}: within {_WITHIN_MM} mm and {_WITHIN_DEG} deg",
            value=100.0 * within,
            unit="%",
            target="at least 95" if asked else "",
            met=within >= 0.95 if asked else None,
            note=f"95th percentiles {mm:.2f} mm, {deg:.3f} deg; {conditions}",
        ),
        Figure(
            name=f"{name}: normalised error squared / 6",
            value=honesty,
            target=f"{_HONEST[0]} to {_HONEST[1]}" if asked else "",
            met=_HONEST[0] <= honesty <= _HONEST[1] if asked else None,
            note="1 is a covariance that holds; noise levels " + ("told" if told else "estimated"),
        ),
    ]


def _peer_row(name: str, trials: list[_Trial], mount: Mount, method: Method) -> Figure:
    errors = [method(trial.planned, mount).distance_to(trial.T_mount_camera) for trial in trials]
    mm, deg = np.percentile(np.array(errors), 95.0, axis=0).tolist()
    note = f"rotation {np.rad2deg(deg):.3f} deg; gives no covariance"
    return Figure(name=f"{name}: 95th percentile", value=mm * 1e3, unit="mm", note=note)


def _peers(mount: Mount) -> dict[str, Method]:
    """Return the closed form alone, and what this OpenCV offers."""
    peers: dict[str, Method] = {
        "our closed form alone": lambda views, m: closed_form_hand_eye(views, intrinsics=_LENS, mount=m)
    }
    if hasattr(cv2, "calibrateHandEye"):
        for name in ("TSAI", "PARK", "HORAUD", "DANIILIDIS"):
            peers[f"OpenCV {name}"] = _opencv_hand_eye(getattr(cv2, f"CALIB_HAND_EYE_{name}"))
    if mount == "eye_to_hand" and hasattr(cv2, "calibrateRobotWorldHandEye"):
        for name in ("SHAH", "LI"):
            peers[f"OpenCV {name}"] = _opencv_robot_world(getattr(cv2, f"CALIB_ROBOT_WORLD_HAND_EYE_{name}"))
    return peers


def _opencv_hand_eye(flag: int) -> Method:
    def method(views: list[HandEyeView], mount: Mount) -> Transform:
        # For eye to hand, OpenCV's "gripper" is the base: the caller has to invert.
        arms = [v.flange if mount == "eye_in_hand" else v.flange.inv() for v in views]
        boards = [Transform(board_poses(v.detection, _LENS)[0]) for v in views]
        R, t = cv2.calibrateHandEye(
            [T.rotation for T in arms],
            [T.translation for T in arms],
            [T.rotation for T in boards],
            [T.translation for T in boards],
            method=flag,
        )
        return Transform.from_parts(R, np.ravel(t))

    return method


def _opencv_robot_world(flag: int) -> Method:
    def method(views: list[HandEyeView], _mount: Mount) -> Transform:
        arms = [v.flange for v in views]
        boards = [Transform(board_poses(v.detection, _LENS)[0]) for v in views]
        _, _, R, t = cv2.calibrateRobotWorldHandEye(
            [T.rotation for T in boards],
            [T.translation for T in boards],
            [T.rotation for T in arms],
            [T.translation for T in arms],
            method=flag,
        )
        return Transform.from_parts(R, np.ravel(t)).inv()

    return method


def _trial(solver: HybridSolver, mount: Mount, seed: int) -> _Trial:
    """Draw a set-up, plan with a rough guess of it, and see what the plan and a random choice show."""
    rng = np.random.default_rng(seed)
    T_mount_camera, T_holder_board = _setup(mount, rng)
    guess = [T @ Transform.exp(_GUESS * rng.normal(size=6)) for T in (T_mount_camera, T_holder_board)]
    plan = plan_views(
        solver.robot,
        solver,
        _LENS,
        _BOARD,
        T_mount_camera=guess[0],
        T_holder_board=guess[1],
        mount=mount,
        n=_VIEWS,
        seed=seed,
    )
    workcell = Workcell(
        solver=solver,
        intrinsics=_LENS,
        board=_BOARD,
        mount=mount,
        T_mount_camera=guess[0],
        T_holder_board=guess[1],
    )
    reachable = workcell.postures(solver.robot.home, 1500, rng)
    chance = reachable[rng.choice(len(reachable), _VIEWS, replace=False)]

    def see(postures: Floats) -> list[HandEyeView]:
        reported = [Transform(T) for T in solver.robot.forward(postures)]
        return [_view(T, T_mount_camera, T_holder_board, mount, rng) for T in reported]

    return _Trial(T_mount_camera, see(plan.postures), see(chance))


def _setup(mount: Mount, rng: np.random.Generator) -> tuple[Transform, Transform]:
    """Return a random T_mount_camera and T_holder_board."""
    turn = np.concatenate([np.zeros(3), 0.1 * rng.normal(size=3)])
    if mount == "eye_in_hand":
        place = np.array([0.5, 0.0, 0.0]) + 0.03 * rng.normal(size=3) * (1.0, 1.0, 0.0)
        return Transform.from_translation([0.06, 0.0, 0.03]) @ Transform.exp(turn), Transform.from_translation(place)
    azimuth, distance = rng.uniform(-0.7, 0.7), rng.uniform(1.1, 1.35)
    eye = np.array([distance * np.cos(azimuth), distance * np.sin(azimuth), rng.uniform(0.5, 0.9)])
    forward = np.array([0.4, 0.0, 0.35]) - eye
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    T_base_aim = Transform.from_parts(np.column_stack([right, np.cross(forward, right), forward]), eye)
    T_flange_board = Transform.from_translation([-0.105, -0.075, 0.03]) @ Transform.exp(turn)
    return T_base_aim @ Transform.exp(turn), T_flange_board


def _view(
    T_base_flange: Transform,
    T_mount_camera: Transform,
    T_holder_board: Transform,
    mount: Mount,
    rng: np.random.Generator,
) -> HandEyeView:
    """Return what is seen with the arm off by its noise and the corners by theirs."""
    sigma = np.repeat([_ARM_SIGMA.translation, _ARM_SIGMA.rotation], 3)
    T_base_true = T_base_flange @ Transform.exp(sigma * rng.normal(size=6))
    T_mount_holder = T_base_true if mount == "eye_to_hand" else T_base_true.inv()
    points = board_points(_BOARD)
    uv, _ = project((T_mount_camera.inv() @ T_mount_holder @ T_holder_board).apply(points), _LENS)
    noisy = uv + _PIXEL_SIGMA * rng.normal(size=uv.shape)
    detection = BoardDetection(points_board=points, points_image=noisy, timestamp=0.0)
    return HandEyeView(T_base_flange=T_base_flange, detection=detection)


def _solve_time(solver: HybridSolver, trials: int) -> Figure:
    """Return the CPU time of one calibration from 15 views, the least of some runs."""
    trial = _trial(solver, "eye_to_hand", 0)
    seconds: list[float] = []
    for _ in range(trials):
        start = time.process_time()
        calibrate_hand_eye(trial.planned, intrinsics=_LENS)
        seconds.append(time.process_time() - start)
    corners = len(trial.planned[0].detection.points_board)
    note = f"CPU time, all threads, {_VIEWS} views of {corners} corners"
    return Figure(
        name="solve", value=min(seconds) * 1e3, unit="ms", target="at most 300", met=min(seconds) < 0.3, note=note
    )
