"""Synthetic hand-eye calibrations with known truth: what is drawn, the least error possible, and OpenCV's methods.

Every cell: 640x480, f 600, no distortion, a board of 6x4 corners at 30 mm seen from 0.35-0.65 m, tilted
by up to 45 degrees and turned by up to 40. Noise is per axis, one standard deviation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from calibration import ArmNoise, HandEyeView, batch
from calibration.hand_eye.board_pose import all_board_poses
from calibration.hand_eye.chain import ChainState, arm_poses, camera_board, derivatives
from calibration.hand_eye.evidence import Corners
from calibration.lens.projection import project
from vision_ik.rig import Mount
from vision_ik.transforms import Transform
from vision_ik.types import BoardDetection, CameraIntrinsics, Floats

LENS = CameraIntrinsics(K=np.array([[600.0, 0.0, 319.5], [0.0, 600.0, 239.5], [0.0, 0.0, 1.0]]), width=640, height=480)
MOUNTS: tuple[Mount, ...] = ("eye_in_hand", "eye_to_hand")
PIXEL_SIGMA = 0.3
"""[px]"""
ARMS = {
    "industrial": ArmNoise(translation=0.05e-3, rotation=float(np.deg2rad(0.01))),
    "cobot": ArmNoise(translation=0.3e-3, rotation=float(np.deg2rad(0.05))),
    "hobby": ArmNoise(translation=2e-3, rotation=float(np.deg2rad(0.4))),
}
_NEAR, _FAR = 0.35, 0.65
"""[m]"""
_TILT, _ROLL = np.deg2rad(45.0), np.deg2rad(40.0)
_MARGIN = 10.0
"""[px] Kept between the board and the border of the picture."""


def grid(columns: int, rows: int, step_m: float) -> Floats:
    """Return (columns * rows, 3) points of a flat board about its centre [m]."""
    x, y = np.meshgrid(np.arange(columns, dtype=float), np.arange(rows, dtype=float))
    points = step_m * np.column_stack([x.ravel(), y.ravel(), np.zeros(x.size)])
    return points - points.mean(axis=0)


BOARD = grid(6, 4, 0.03)
TAG = grid(2, 2, 0.05)
"""Corners of one tag."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One kind of calibration."""

    mount: Mount
    views: int = 20
    arm: str = "cobot"
    """One of `ARMS`."""
    turn_deg: float | None = None
    """Largest turn of the board about each axis; None for the tilts and turns of a careful person."""
    tag: bool = False
    """One tag of 50 mm instead of the board."""
    outliers: float = 0.0
    """Share of bad views."""

    @property
    def points(self) -> Floats:
        """(M, 3) what is looked at, in its own frame [m]."""
        return TAG if self.tag else BOARD


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Trial:
    """One drawn calibration."""

    cell: Cell
    T_mount_camera: Transform
    T_holder_board: Transform
    views: list[HandEyeView]
    good: NDArray[np.bool_]
    """(N,) which views are what they say they are."""
    bound: Floats
    """(6, 6) least covariance of T_mount_camera (right perturbation) for the good views and known noise levels."""

    def error(self, found: Transform) -> tuple[float, float]:
        """Return how far a camera is from the true one [m], [rad]."""
        return found.distance_to(self.T_mount_camera)

    @property
    def bound_m(self) -> float:
        """Least root mean square error of the camera's position [m] (Cramer-Rao)."""
        return float(np.sqrt(np.trace(self.bound[:3, :3])))


def draw(cell: Cell, seed: int, *, lens: CameraIntrinsics = LENS) -> Trial:
    """Return a random calibration; the same for the same cell and seed.

    Args:
        cell: What kind.
        seed: Of everything random.
        lens: That really took the pictures.
    """
    rng = np.random.default_rng((seed, cell.views, MOUNTS.index(cell.mount)))
    X, Y = _setup(cell.mount, rng)
    Ts = sights(cell.points, cell.views, rng, lens=lens, turn_deg=cell.turn_deg)
    arm, mount = ARMS[cell.arm], cell.mount
    Ts_mount_holder = X @ Ts @ np.linalg.inv(Y)
    flanges = Ts_mount_holder if mount == "eye_to_hand" else batch.inverses(Ts_mount_holder)
    sigma = np.repeat([arm.translation, arm.rotation], 3)
    reported = flanges @ batch.exp(sigma * rng.normal(size=(cell.views, 6)))
    uv = pixels(cell.points, Ts, lens)
    noisy = uv + PIXEL_SIGMA * rng.normal(size=uv.shape)
    views = [
        HandEyeView(T_base_flange=flange, detection=seen(cell.points, corners))
        for flange, corners in zip(reported, noisy, strict=True)
    ]
    good = np.ones(cell.views, dtype=np.bool_)
    if cell.outliers:
        spoil(views, good, round(cell.outliers * cell.views), rng)
    return Trial(
        cell=cell,
        T_mount_camera=Transform(X),
        T_holder_board=Transform(Y),
        views=views,
        good=good,
        bound=batch.inverse(information(X, Y, flanges[good], mount, cell.points, arm, lens=lens))[:6, :6],
    )


def sights(
    points: Floats, n: int, rng: np.random.Generator, *, lens: CameraIntrinsics = LENS, turn_deg: float | None = None
) -> Floats:
    """Return (n, 4, 4) random Ts_camera_board with all points (M, 3) in the picture."""
    size = np.array([lens.width, lens.height], dtype=float)
    found = np.empty((0, 4, 4))
    while len(found) < n:
        tried = np.tile(np.eye(4), (3 * n, 1, 1))
        tried[:, :3, :3] = _orientations(3 * n, rng) if turn_deg is None else _near(3 * n, np.deg2rad(turn_deg), rng)
        depth = rng.uniform(_NEAR, _FAR, (3 * n, 1))
        rays = (rng.uniform(size=(3 * n, 2)) * size - lens.K[:2, 2]) / lens.K[[0, 1], [0, 1]]
        tried[:, :3, 3] = np.hstack([rays, np.ones((3 * n, 1))]) * depth
        uv = pixels(points, tried, lens)
        inside = (uv > _MARGIN).all(axis=(1, 2)) & (uv < size - 1.0 - _MARGIN).all(axis=(1, 2))
        found = np.concatenate([found, tried[inside]])
    return found[:n]


def pixels(points: Floats, Ts_camera_board: Floats, lens: CameraIntrinsics) -> Floats:
    """Return where points (M, 3) are seen in each of (N, 4, 4) poses, (N, M, 2) [px]."""
    R, t = Ts_camera_board[:, :3, :3], Ts_camera_board[:, None, :3, 3]
    uv, _ = project((points @ np.swapaxes(R, 1, 2) + t).reshape(-1, 3), lens)
    return uv.reshape(len(R), len(points), 2)


def _orientations(n: int, rng: np.random.Generator) -> Floats:
    """Return (n, 3, 3): tilted about any axis across the view, and turned about it."""
    azimuth, tilt, roll = rng.uniform(0.0, 2.0 * np.pi, n), rng.uniform(0.0, _TILT, n), rng.uniform(-_ROLL, _ROLL, n)
    zeros = np.zeros(n)
    across = Rotation.from_rotvec(np.column_stack([tilt * np.cos(azimuth), tilt * np.sin(azimuth), zeros]))
    return (across * Rotation.from_rotvec(np.column_stack([zeros, zeros, roll]))).as_matrix()


def _near(n: int, largest: float, rng: np.random.Generator) -> Floats:
    """Return (n, 3, 3) turned by at most ``largest`` [rad] about each axis."""
    return Rotation.from_rotvec(rng.uniform(-largest, largest, (n, 3))).as_matrix()


def seen(points: Floats, uv: Floats) -> BoardDetection:
    """Return corners at pixels."""
    return BoardDetection(points_board=points, points_image=uv, timestamp=0.0)


def spoil(views: list[HandEyeView], good: NDArray[np.bool_], count: int, rng: np.random.Generator) -> None:
    """Make ``count`` of the views bad in one of five ways each; marks them in ``good`` (N,).

    Two exchange their poses; the board's corners are read half a turn off; the board was moved by
    centimetres; the arm stands elsewhere than it says, by 10-100 mm and 2-20 degrees; the pose
    belongs to no picture at all.
    """
    chosen = rng.permutation(len(views))[:count].tolist()
    good[chosen] = False
    while chosen:
        i, kind = chosen.pop(), int(rng.integers(5))
        view = views[i]
        if kind == 0 and chosen:
            j = chosen.pop()
            views[i], views[j] = (
                replace(view, T_base_flange=views[j].flange),
                replace(views[j], T_base_flange=view.flange),
            )
        elif kind == 1:
            half_turned = view.detection.points_image[::-1].copy()
            views[i] = replace(view, detection=replace(view.detection, points_image=half_turned))
        elif kind == 2:
            pose = Transform(all_board_poses([view.detection], LENS)[0, 0])
            moved = pose @ Transform.exp(rng.normal(size=6) * np.repeat([0.03, 0.2], 3))
            uv, _ = project(moved.apply(view.detection.points_board), LENS)
            noisy = uv + PIXEL_SIGMA * rng.normal(size=uv.shape)
            views[i] = replace(view, detection=replace(view.detection, points_image=noisy))
        elif kind == 3:
            away, axis = rng.normal(size=3), rng.normal(size=3)
            away *= np.exp(rng.uniform(np.log(0.01), np.log(0.1))) / np.linalg.norm(away)
            axis *= np.deg2rad(np.exp(rng.uniform(np.log(2.0), np.log(20.0)))) / np.linalg.norm(axis)
            views[i] = replace(view, T_base_flange=view.flange @ Transform.exp(np.concatenate([away, axis])))
        else:
            elsewhere = Transform.from_parts(
                _turn(rng.normal(size=3)), view.flange.translation + 0.2 * rng.normal(size=3)
            )
            views[i] = replace(view, T_base_flange=elsewhere)


def information(
    X: Floats, Y: Floats, flanges: Floats, mount: Mount, points: Floats, arm: ArmNoise, *, lens: CameraIntrinsics = LENS
) -> Floats:
    """Return the (12, 12) Fisher information about X and Y for known noise on pixels and arm, at the truth."""
    state = ChainState(X, Y, np.eye(4)[None])
    nothing = seen(points, np.zeros((len(points), 2)))
    sight = Corners([nothing] * len(flanges), lens).linearise(camera_board(state, flanges, mount))
    D, A = derivatives(state, flanges, mount)
    noise = np.array([arm.translation] * 3 + [arm.rotation] * 3) ** 2
    V = PIXEL_SIGMA**2 * sight.covariance + A * noise @ np.swapaxes(A, 1, 2)
    return np.sum(np.swapaxes(D, 1, 2) @ np.linalg.solve(V, D), axis=0)


_NOWHERE = Transform.from_translation([1e3, 0.0, 0.0])

Peer = Callable[[Floats, Floats], Transform]
"""From (N, 4, 4) Ts_base_flange (eye to hand) or Ts_flange_base (eye in hand), and Ts_camera_board."""


def opencv_methods() -> dict[str, Peer]:
    """Return every method that this OpenCV has; where one finds nothing, its answer lies a kilometre away."""
    methods: dict[str, Peer] = {}
    if hasattr(cv2, "calibrateHandEye"):
        for name in ("TSAI", "PARK", "HORAUD", "ANDREFF", "DANIILIDIS"):
            methods[name.capitalize()] = _quiet(_opencv_hand_eye(getattr(cv2, f"CALIB_HAND_EYE_{name}")))
    if hasattr(cv2, "calibrateRobotWorldHandEye"):
        for name in ("SHAH", "LI"):
            methods[name.capitalize()] = _quiet(_opencv_robot_world(getattr(cv2, f"CALIB_ROBOT_WORLD_HAND_EYE_{name}")))
    return methods


def _quiet(method: Peer) -> Peer:
    """Return a method that neither logs nor raises."""

    def quiet(arms: Floats, boards: Floats) -> Transform:
        level = cv2.utils.logging.getLogLevel()
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        try:
            return method(arms, boards)
        except cv2.error:
            return _NOWHERE
        finally:
            cv2.utils.logging.setLogLevel(level)

    return quiet


def pose_pairs(trial: Trial, lens: CameraIntrinsics = LENS) -> tuple[Floats, Floats]:
    """Return what a `Peer` takes: arm poses, and the best PnP pose of each view, refined to its least squares."""
    flanges = np.stack([view.flange.matrix for view in trial.views])
    boards = all_board_poses([view.detection for view in trial.views], lens)[:, 0]
    return arm_poses(flanges, trial.cell.mount), boards


def _opencv_hand_eye(flag: int) -> Peer:
    def method(arms: Floats, boards: Floats) -> Transform:
        # OpenCV's gripper in base; for eye to hand its "gripper" is the base, and the caller has to invert.
        grippers = batch.inverses(arms)
        R, t = cv2.calibrateHandEye(
            list(grippers[:, :3, :3]),
            list(grippers[:, :3, 3]),
            list(boards[:, :3, :3]),
            list(boards[:, :3, 3]),
            method=flag,
        )
        return _transform(R, t)

    return method


def _opencv_robot_world(flag: int) -> Peer:
    def method(arms: Floats, boards: Floats) -> Transform:
        _, _, R, t = cv2.calibrateRobotWorldHandEye(
            list(boards[:, :3, :3]), list(boards[:, :3, 3]), list(arms[:, :3, :3]), list(arms[:, :3, 3]), method=flag
        )
        return _transform(R, t).inv()

    return method


def _transform(R: object, t: object) -> Transform:
    """Return OpenCV's answer as a transform; far away when it is none."""
    rotation = np.asarray(R, dtype=np.float64)
    if not np.isfinite(rotation).all():
        return _NOWHERE
    u, _, vt = np.linalg.svd(rotation)
    u[:, 2] *= np.linalg.det(u @ vt)
    return Transform.from_parts(u @ vt, np.ravel(np.asarray(t, dtype=np.float64)))


def _setup(mount: Mount, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return a random T_mount_camera and T_holder_board."""
    near, far = _turn(0.3 * rng.normal(size=3)), _turn(rng.normal(size=3))
    if mount == "eye_in_hand":
        return (
            Transform.from_parts(near, np.array([0.05, 0.03, 0.06])).matrix,
            Transform.from_parts(far, np.array([0.5, 0.1, 0.0])).matrix,
        )
    return (
        Transform.from_parts(far, np.array([0.9, 0.1, 0.6])).matrix,
        Transform.from_parts(near, np.array([0.0, 0.05, 0.08])).matrix,
    )


def _turn(w: Floats) -> Floats:
    return Transform.exp(np.concatenate([np.zeros(3), w])).rotation
