"""Rendered sequences of one tag, with the truth beside each frame, and what detectors see in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from sim.stress import CONDITIONS, lens_for, random_pose, shoot
from sim.targets import tag_texture
from vision_ik.cli.benches._vision_peers import apriltag_pose, opencv_detector, opencv_pose
from vision_ik.errors import InvalidPoseError
from vision_ik.tags import TagDetector, estimate_pose
from vision_ik.tags.projection import project
from vision_ik.transforms import Transform
from vision_ik.types import CameraIntrinsics, Floats, PoseEstimate, TagDetection, tag_corners

SIZE_M, TAG_ID, FAMILY, RATE_HZ = 0.1, 3, "36h11", 30.0
_MARGIN_PX, _LEAST_PX = 16, 64
"""Around the tag, and least side, of the part of the picture that is rendered."""
_GREY = 120.0
_TEXTURE = tag_texture(FAMILY, TAG_ID, SIZE_M, SIZE_M / 8.0)
_CORNERS = tag_corners(SIZE_M)
LENS = lens_for()

Path = Callable[[float], tuple[Transform, Transform]]
"""T_base_camera and T_base_tag at a time [s]."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Seen:
    """One frame: the truth, our estimate, and the peers' poses as rotation and translation in the base frame."""

    timestamp: float
    T_base_camera: Transform
    T_base_tag: Transform
    mirrored: Floats | None
    """(3, 3) rotation of the other pose that looks like the true one; None where there is none."""
    estimate: PoseEstimate | None
    apriltag: Transform | None
    opencv: Transform | None


def play(path: Path, frames: int, seed: int) -> Iterator[Seen]:
    """Render a path under the stress set's noise, find the tag in each frame, and estimate its pose."""
    detector = TagDetector(FAMILY)
    opencv = opencv_detector(FAMILY, cv2.aruco.CORNER_REFINE_SUBPIX)
    for k in range(frames):
        t = k / RATE_HZ
        T_base_camera, T_base_tag = path(t)
        T_camera_tag = T_base_camera.inv() @ T_base_tag
        lens, grey = _crop(T_camera_tag)
        shot = shoot(
            _TEXTURE,
            {TAG_ID: _CORNERS},
            T_camera_tag,
            lens,
            CONDITIONS["noise"],
            seed=100_000 * seed + k,
            timestamp=t,
            index=k,
            background=grey,
        )
        picture = np.ascontiguousarray(shot.frame.image[:, :, 0])
        found = next((d for d in detector.detect(shot.frame) if d.tag_id == TAG_ID), None)
        corners = dict(opencv(picture)).get(TAG_ID)
        by_opencv = None if corners is None else opencv_pose(corners, SIZE_M, lens)
        yield Seen(
            timestamp=t,
            T_base_camera=T_base_camera,
            T_base_tag=T_base_tag,
            mirrored=_mirrored(T_base_camera, T_camera_tag, shot.corners[TAG_ID]),
            estimate=None if found is None else _pose(found, lens),
            apriltag=_in_base(T_base_camera, apriltag_pose(picture, FAMILY, SIZE_M, lens).get(TAG_ID)),
            opencv=_in_base(T_base_camera, by_opencv),
        )


def doubtful(seed: int) -> Path:
    """Return a far tag, or one seen nearly from the front; it, the camera or neither moves."""
    rng = np.random.default_rng((seed, 7))
    edge, tilt = ((16.0, 32.0), (10.0, 60.0)) if seed % 2 == 0 else ((24.0, 60.0), (3.0, 20.0))
    T = random_pose(rng, LENS, SIZE_M, edge_px=edge, tilt_deg=tilt)
    moves = ("neither", "camera", "tag")[seed % 3]
    sway = rng.uniform(0.03, 0.12) * T.translation[2] * np.array([1.0, 0.6, 0.5]) * rng.choice([-1.0, 1.0], 3)
    phase, rate = rng.uniform(0.0, 2.0 * np.pi, 3), 2.0 * np.pi * rng.uniform(0.15, 0.5, 3)
    turn = np.deg2rad(6.0) * rng.uniform(-1.0, 1.0, 3)

    def path(t: float) -> tuple[Transform, Transform]:
        shift = sway * (np.sin(rate * t + phase) - np.sin(phase))
        if moves == "neither":
            return Transform.identity(), T
        if moves == "tag":
            return Transform.identity(), Transform.from_parts(T.rotation, T.translation + shift)
        look = turn * (np.sin(rate[::-1] * t + phase[::-1]) - np.sin(phase[::-1]))
        return Transform.from_translation(shift) @ Transform.exp(np.concatenate([np.zeros(3), look])), T

    return path


def still(seed: int) -> Path:
    """Return a tag of 30 px that stands."""
    T = random_pose(np.random.default_rng((seed, 11)), LENS, SIZE_M, edge_px=(30.0, 30.0), tilt_deg=(5.0, 50.0))
    return lambda _t: (Transform.identity(), T)


def swinging(seed: int) -> Path:
    """Return a tag of 30 px that swings 0.12 m to either side, 0.5 to 0.8 times a second."""
    rng = np.random.default_rng((seed, 13))
    T = _in_the_middle(rng)
    rate, turn = 2.0 * np.pi * rng.uniform(0.5, 0.8), rng.uniform(0.0, 2.0 * np.pi)
    along = 0.12 * np.array([np.cos(turn), 0.7 * np.sin(turn), 0.5])
    return lambda t: (Transform.identity(), Transform.from_translation(along * np.sin(rate * t)) @ T)


def shaken(seed: int) -> Path:
    """Return a tag of 30 px that is shaken: 6 cm to either side and 10 degrees, about twice a second."""
    rng = np.random.default_rng((seed, 19))
    T = _in_the_middle(rng)
    rate, along = 2.0 * np.pi * rng.uniform(1.5, 2.5), rng.normal(size=3)
    along *= 0.06 / np.linalg.norm(along)

    def path(t: float) -> tuple[Transform, Transform]:
        turn = 0.17 * np.array([np.sin(1.1 * rate * t), np.cos(0.9 * rate * t), 0.0])
        shake = Transform.from_translation(along * np.sin(rate * t))
        return Transform.identity(), shake @ T @ Transform.exp(np.concatenate([np.zeros(3), turn]))

    return path


def starting(seed: int) -> Path:
    """Return a tag of 30 px that stands for a second, then goes off at 0.3 m/s, reached within 0.1 s."""
    rng = np.random.default_rng((seed, 17))
    T = _in_the_middle(rng)
    turn = rng.uniform(0.0, 2.0 * np.pi)
    along = 0.3 * np.array([np.cos(turn), 0.7 * np.sin(turn), 0.3])
    return lambda t: (Transform.identity(), Transform.from_translation(along * _run(t - STARTS_S, 0.1)) @ T)


STARTS_S = 1.0


def flipped(R: Floats, seen: Seen) -> bool:
    """Return whether a rotation (3, 3) is off by more than 45 degrees, or nearer to the mirrored pose."""
    off = _angle(R, seen.T_base_tag.rotation)
    return off > np.deg2rad(45.0) or (seen.mirrored is not None and _angle(R, seen.mirrored) < off)


def _run(t: float, ramp: float) -> float:
    """Return the way at unit speed, reached evenly within ``ramp`` [s] from 0."""
    return 0.0 if t <= 0.0 else 0.5 * t * t / ramp if t < ramp else t - 0.5 * ramp


def _in_the_middle(rng: np.random.Generator) -> Transform:
    T = random_pose(rng, LENS, SIZE_M, edge_px=(30.0, 30.0), tilt_deg=(5.0, 50.0))
    return Transform.from_parts(T.rotation, np.array([0.0, 0.0, T.translation[2]]))


def _crop(T_camera_tag: Transform) -> tuple[CameraIntrinsics, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    """Return the lens of the part of the picture around a tag, and its background."""
    uv = project(1.5 * _CORNERS, T_camera_tag, LENS)[0]
    low = np.floor(uv.min(axis=0)) - _MARGIN_PX
    width, height = np.maximum(np.ceil(uv.max(axis=0)) + _MARGIN_PX - low, _LEAST_PX).astype(int).tolist()
    K = np.array(LENS.K)
    K[:2, 2] -= low
    return CameraIntrinsics(K=K, width=width, height=height), np.full((height, width), _GREY, dtype=np.float32)


def _mirrored(T_base_camera: Transform, T_camera_tag: Transform, corners: Floats) -> Floats | None:
    exact = TagDetection(tag_id=TAG_ID, family=FAMILY, corners=corners, timestamp=0.0)
    estimate = estimate_pose(exact, SIZE_M, _crop(T_camera_tag)[0])
    for T in (estimate.T_camera_tag, estimate.alternative):
        if T is not None and T.distance_to(T_camera_tag)[1] > 1e-4:
            return (T_base_camera @ T).rotation
    return None


def _pose(found: TagDetection, lens: CameraIntrinsics) -> PoseEstimate | None:
    try:
        return estimate_pose(found, SIZE_M, lens)
    except InvalidPoseError:
        return None


def _in_base(T_base_camera: Transform, pose: tuple[Floats, Floats] | None) -> Transform | None:
    return None if pose is None else T_base_camera @ Transform.from_parts(*pose)


def _angle(A: Floats, B: Floats) -> float:
    return float(np.arccos(np.clip(0.5 * (np.trace(A.T @ B) - 1.0), -1.0, 1.0)))
