"""Hand-eye calibrations that are systematically off by something known: a clock, the board, the lens."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation, RotationSpline

from calibration import FlangeRecording, HandEyeView, batch, views_from_stream
from calibration.hand_eye.board_pose import all_board_poses
from calibration.lens.projection import project
from vision_ik.cli.benches._hand_eye_cells import ARMS, BOARD, LENS, PIXEL_SIGMA, Cell, Trial, draw, seen, sights
from vision_ik.rig import Mount
from vision_ik.transforms import Transform
from vision_ik.types import BoardDetection, CameraIntrinsics, Floats

CALIBRATED = replace(
    LENS,
    distortion=np.zeros(5),
    covariance=np.diag(np.square([2.0, 2.0, 2.0, 2.0, 8e-3, 2e-2, 4e-4, 4e-4, 2e-2])),
)
"""The lens with what a calibration from fifteen pictures leaves uncertain of it."""
DELAY = 0.05
"""[s] From light to time stamp."""
SPEED = 0.19
"""[m/s] Mean speed of the flange."""
_RATE_CAMERA, _RATE_ARM = 30.0, 100.0
"""[Hz]"""
_WAYPOINTS = 40
_ARM_PERIOD = 0.5
"""[s] Over which the arm's error changes: it belongs to where the arm is, not to its reports."""
_KNOWN_OFFSETS = np.arange(-0.2, 0.2, 1e-3)
"""[s] Tried by the correlation of speeds."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Moving:
    """A calibration from an arm in motion."""

    mount: Mount
    T_mount_camera: Transform
    detections: list[BoardDetection]
    """With time stamps that are `DELAY` late."""
    recording: FlangeRecording

    def pictures(self, n: int) -> list[BoardDetection]:
        """Return n of the pictures, spread evenly."""
        chosen = np.linspace(0, len(self.detections) - 1, n).round().astype(int)
        return [self.detections[i] for i in chosen]

    def views(self, n: int, time_offset: float = 0.0) -> list[HandEyeView]:
        """Return n views, poses taken ``time_offset`` [s] after the pictures' time stamps."""
        return views_from_stream(self.pictures(n), self.recording, time_offset=time_offset)


def draw_moving(mount: Mount, seed: int, *, arm: str = "cobot") -> Moving:
    """Return a random calibration with the flange on a smooth way past random sights of the board.

    Pictures at 30 Hz wherever the whole board is seen, poses at 100 Hz; the noise of the arm is smooth
    over half a second, as errors of its joints are.
    """
    rng = np.random.default_rng((seed, 77))
    still = draw(Cell(mount=mount, views=5, arm=arm), seed)
    X, Y = still.T_mount_camera.matrix, still.T_holder_board.matrix
    Ts = sights(BOARD, _WAYPOINTS, rng)
    flanges = X @ Ts @ np.linalg.inv(Y)
    flanges = flanges if mount == "eye_to_hand" else batch.inverses(flanges)
    order = _short_way(flanges)
    true = _way(flanges[order])
    times = np.arange(true.timestamps[0] + 0.5, true.timestamps[-1] - 0.5, 1.0 / _RATE_CAMERA)
    detections: list[BoardDetection] = []
    size = np.array([LENS.width, LENS.height])
    for time, T_base_flange in zip(times, true.poses(times), strict=True):
        T_mount_holder = T_base_flange if mount == "eye_to_hand" else np.linalg.inv(T_base_flange)
        T = np.linalg.inv(X) @ T_mount_holder @ Y
        points = BOARD @ T[:3, :3].T + T[:3, 3]
        if (points[:, 2] < 0.2).any() or T[2, 2] < np.cos(np.deg2rad(65.0)):
            continue
        uv, _ = project(points, LENS)
        if (uv > 2.0).all() and (uv < size - 3.0).all():
            noisy = uv + PIXEL_SIGMA * rng.normal(size=uv.shape)
            detections.append(replace(seen(BOARD, noisy), timestamp=float(time) + DELAY))
    reports = np.arange(true.timestamps[0], true.timestamps[-1], 1.0 / _RATE_ARM)
    knots = np.arange(reports[0] - 1.0, reports[-1] + 1.0, _ARM_PERIOD)
    noise = ARMS[arm]
    sigma = np.repeat([noise.translation, noise.rotation], 3)
    errors = CubicSpline(knots, sigma * rng.normal(size=(len(knots), 6)))(reports)
    recording = FlangeRecording(reports, true.poses(reports) @ batch.exp(errors))
    return Moving(mount=mount, T_mount_camera=still.T_mount_camera, detections=detections, recording=recording)


def _short_way(flanges: Floats) -> list[int]:
    """Return the order in which the next pose is the nearest one left."""
    left, order = set(range(1, len(flanges))), [0]
    while left:
        here = flanges[order[-1]]
        nearest = min(left, key=lambda i: float(np.linalg.norm(flanges[i, :3, 3] - here[:3, 3])))
        left.remove(nearest)
        order.append(nearest)
    return order


def _way(flanges: Floats) -> FlangeRecording:
    """Return a smooth way through poses (N, 4, 4) at `SPEED` on average."""
    steps = np.linalg.norm(np.diff(flanges[:, :3, 3], axis=0), axis=1)
    turns = Rotation.from_matrix(np.swapaxes(flanges[:-1, :3, :3], 1, 2) @ flanges[1:, :3, :3]).magnitude()
    knots = np.concatenate([[0.0], np.cumsum(np.maximum(steps / SPEED, turns / 0.8) + 1e-3)])
    translation, rotation = (
        CubicSpline(knots, flanges[:, :3, 3]),
        RotationSpline(knots, Rotation.from_matrix(flanges[:, :3, :3])),
    )
    fine = np.arange(0.0, knots[-1], 0.01)
    poses = np.tile(np.eye(4), (len(fine), 1, 1))
    poses[:, :3, 3], poses[:, :3, :3] = translation(fine), rotation(fine).as_matrix()
    mean = float(np.mean(np.linalg.norm(translation(fine, 1), axis=1)))
    return FlangeRecording(fine * mean / SPEED, poses)


def offset_by_speeds(moving: Moving) -> float:
    """Return the offset [s] at which the turning speeds of board and flange agree best: the simple way.

    The board's orientation in successive pictures gives its turning speed whatever the camera's
    place is; the flange's comes from its recording. The best correlation is found to a fraction of a
    millisecond by a parabola.
    """
    times = np.array([detection.timestamp for detection in moving.detections])
    boards = all_board_poses(moving.detections, LENS)[:, 0]
    R = Rotation.from_matrix(boards[:, :3, :3])
    near = np.diff(times) < 1.5 / _RATE_CAMERA
    steps = (R[:-1].inv() * R[1:]).magnitude() / np.diff(times)
    flipped = steps > 5.0
    middle, speeds = (0.5 * (times[:-1] + times[1:]))[near & ~flipped], steps[near & ~flipped]
    reports = moving.recording.timestamps
    own = np.linalg.norm(moving.recording.twists(reports)[:, 3:], axis=1)
    correlation = np.array(
        [np.corrcoef(np.interp(middle + tried, reports, own), speeds)[0, 1] for tried in _KNOWN_OFFSETS]
    )
    best = int(np.clip(np.argmax(correlation), 1, len(correlation) - 2))
    left, top, right = correlation[best - 1 : best + 2]
    return float(_KNOWN_OFFSETS[best] + 0.5e-3 * (left - right) / (left - 2.0 * top + right))


def told_scale(trial: Trial, share: float) -> list[HandEyeView]:
    """Return the views of a board that is really larger by ``share`` than it is told to be."""
    return [
        replace(view, detection=replace(view.detection, points_board=view.detection.points_board / (1.0 + share)))
        for view in trial.views
    ]


def bent(trial: Trial, height: float) -> list[HandEyeView]:
    """Return the views of a board that is bent along its longer side, by ``height`` [m] at the rim."""
    x = BOARD[:, 0] / np.abs(BOARD[:, 0]).max()
    lifted = BOARD + np.outer(height * x * x, [0.0, 0.0, 1.0])
    views: list[HandEyeView] = []
    for view in trial.views:
        T = all_board_poses([view.detection], LENS)[0, 0]
        flat, up = (project(points @ T[:3, :3].T + T[:3, 3], LENS)[0] for points in (BOARD, lifted))
        views.append(
            replace(view, detection=replace(view.detection, points_image=view.detection.points_image + up - flat))
        )
    return views


def calibrated_lens(lens: CameraIntrinsics, seed: int) -> CameraIntrinsics:
    """Return what a calibration says of ``lens``: off by what its covariance allows; itself where it has none."""
    if lens.covariance is None:
        return lens
    size = len(lens.covariance)
    off = np.random.default_rng((seed, 9)).multivariate_normal(np.zeros(size), lens.covariance)
    K = lens.K + np.array([[off[0], 0.0, off[2]], [0.0, off[1], off[3]], [0.0, 0.0, 0.0]])
    return replace(lens, K=K, distortion=lens.distortion + off[4:])


def lens_longer(share: float) -> CameraIntrinsics:
    """Return the lens that really took the pictures where its calibration is off by ``share`` of the focal length."""
    K = LENS.K.copy()
    K[[0, 1], [0, 1]] *= 1.0 + share
    return replace(LENS, K=K)
