"""The simulated camera: what a frame costs, and how true its corners are."""

from __future__ import annotations

import time

import cv2
import numpy as np

from sim import Scene, Sensor, SimCamera, World, load_scene
from vision_ik.cli.benches import Figure, Level
from vision_ik.transforms import Transform
from vision_ik.types import CameraIntrinsics, Floats, Image, tag_corners

TITLE = "Simulated camera: CPU time a frame, and corners against cv2.projectPoints"

_BUDGET_MS = 20.0
_BIAS_PX = 0.02
_BATCH = 10

LENSES: dict[str, CameraIntrinsics] = {
    "pinhole": CameraIntrinsics(K=np.array([[600.0, 0, 319.5], [0, 600.0, 239.5], [0, 0, 1]]), width=640, height=480),
    "pinhole, 5 coefficients": CameraIntrinsics(
        K=np.array([[612.3, 0, 325.1], [0, 609.8, 233.7], [0, 0, 1]]),
        distortion=np.array([-0.28, 0.12, 0.0011, -0.0008, -0.03]),
        width=640,
        height=480,
    ),
    "pinhole, 8 coefficients": CameraIntrinsics(
        K=np.array([[452.3, 0, 315.2], [0, 453.1, 244.9], [0, 0, 1]]),
        distortion=np.array([0.21, -0.15, 0.0007, 0.0012, 0.02, 0.34, -0.08, 0.01]),
        width=640,
        height=480,
    ),
    "fisheye": CameraIntrinsics(
        K=np.array([[310.4, 0, 321.7], [0, 309.9, 238.2], [0, 0, 1]]),
        distortion=np.array([0.02, -0.012, 0.004, -0.001]),
        width=640,
        height=480,
        model="fisheye",
    ),
}


def run(*, level: Level = Level.NORMAL) -> list[Figure]:
    """Measure CPU time with a still and a moving arm, and corner bias on several lenses."""
    quick = level is Level.QUICK
    batches = 3 if quick else 12
    figures = [
        _cost("still arm", "calibration_board", moving=False, batches=batches),
        _cost("moving arm", "calibration_board", moving=True, batches=batches),
        _cost("camera on the moving arm", "eye_in_hand", moving=True, batches=batches),
    ]
    poses = 12 if quick else 60
    for name, lens in LENSES.items():
        errors = corner_errors(lens, poses=poses, seed=1)
        bias = float(np.linalg.norm(errors.mean(axis=0)))
        scatter = float(np.sqrt(np.mean(errors**2)))
        figures.append(
            Figure(
                name=f"corner bias, {name}",
                value=bias,
                unit="px",
                target=f"at most {_BIAS_PX}",
                met=bias <= _BIAS_PX,
                note=f"mean of {len(errors)} corners fitted in noise-free frames; rms of one corner {scatter:.3f} px",
            )
        )
    return figures


def _cost(name: str, scene_name: str, *, moving: bool, batches: int) -> Figure:
    """Return process CPU time a frame (all threads), the median of batches of ten frames."""
    times: list[float] = []
    with load_scene(scene_name) as scene:
        _swing(scene, moving)
        scene.camera.read()
        for _ in range(batches):
            spent = 0.0
            for _ in range(_BATCH):
                _swing(scene, moving)
                while scene.world.now() < scene.camera.next_arrival():
                    scene.world.sleep_until(scene.camera.next_arrival())
                start = time.process_time()
                frame = scene.camera.read(timeout=0.0)
                spent += time.process_time() - start
                if frame is None:
                    raise RuntimeError("The frame that had arrived could not be read.")
            times.append(1e3 * spent / _BATCH)
    value = float(np.median(times))
    return Figure(
        name=f"CPU time a frame, {name}",
        value=value,
        unit="ms",
        target=f"at most {_BUDGET_MS:g}",
        met=value <= _BUDGET_MS,
        note=f"640x480, scene {scene_name}, all threads, median; best of {batches} batches {min(times):.1f} ms",
    )


def _swing(scene: Scene, moving: bool) -> None:
    """Let all joints swing when ``moving``; a fixed camera sees the face of the board."""
    body = scene.world.arm
    t = scene.world.now()
    q = np.array([-0.25, -0.35, 0.0, -2.0, 0.2, 2.6, 0.8]) if scene.camera.parent == "world" else scene.robot.home
    phase = 2.0 * np.pi * 0.3 * t + np.arange(7)
    speed = 0.12 if moving else 0.0
    body.set_target(q + speed * np.sin(phase), speed * 2.0 * np.pi * 0.3 * np.cos(phase), t)


def corner_errors(lens: CameraIntrinsics, *, poses: int, seed: int, blur_px: float = 0.0) -> Floats:
    """Return the errors (4 * poses, 2) [px] of rendered tag corners against ``cv2.projectPoints``.

    Each edge of the tag's border is located by the darkness along its normal (its mean does not
    depend on the pixel grid), compared with the projection of the true edge, and the offsets of
    two edges give that of the corner between them.
    """
    rng = np.random.default_rng(seed)
    size = 0.16
    errors: list[Floats] = []
    sensor = Sensor(noise=0.0, blur_px=blur_px)
    with World(seed=seed) as world:
        # High above the table, looking up: nothing but the tag is in view.
        camera = SimCamera(world, lens, Transform.from_translation((0.0, 0.0, 5.0)), sensor=sensor)
        while len(errors) < poses:
            T_camera_tag = _random_pose(rng, lens, size)
            if T_camera_tag is None:
                continue
            world.attach_tag(0, size, "world", camera.T_world_camera() @ T_camera_tag)
            since, frame = world.now(), camera.read()
            while frame is None or frame.timestamp < since:  # exposed before the tag was there
                frame = camera.read()
            world.detach("tag 0")
            errors.append(_fitted_errors(frame.image, T_camera_tag, lens, size))
    return np.concatenate(errors)


def _random_pose(rng: np.random.Generator, lens: CameraIntrinsics, size: float) -> Transform | None:
    """Return a pose anywhere in the picture, tilted by up to 45 degrees, of 70 px edges and more; or None."""
    uv = rng.uniform((60.0, 60.0), (lens.width - 60.0, lens.height - 60.0))
    depth = rng.uniform(0.5, 0.95) * lens.K[0, 0] * size / 70.0
    x, y = (uv - lens.K[:2, 2]) / lens.K[[0, 1], [0, 1]]
    T_camera_front = Transform.from_xyz_rpy((x * depth, y * depth, depth), (np.pi, 0.0, 0.0))
    w = np.array([*rng.uniform(-0.55, 0.55, 2), rng.uniform(-np.pi, np.pi)])
    T_camera_tag = T_camera_front @ Transform.exp(np.concatenate([np.zeros(3), w]))
    paper = _project(T_camera_tag.apply(1.5 * tag_corners(size)), lens)
    edges = np.linalg.norm(np.roll(paper, -1, axis=0) - paper, axis=1)
    inside = (paper > 4.0).all() and (paper < (lens.width - 5.0, lens.height - 5.0)).all()
    return T_camera_tag if inside and edges.min() > 1.5 * 60.0 else None


def _fitted_errors(image: Image, T_camera_tag: Transform, lens: CameraIntrinsics, size: float) -> Floats:
    grey = image[..., 0].astype(np.float32)
    corners = tag_corners(size)
    along = np.linspace(0.12, 0.88, 200)
    normals, offsets = np.empty((4, 2, 2)), np.empty((4, 2))
    for k in range(4):
        a, b = corners[k], corners[(k + 1) % 4]
        points = _project(T_camera_tag.apply(a + along[:, None] * (b - a)), lens)
        tangents = np.gradient(points, axis=0)
        tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
        outward = np.column_stack([tangents[:, 1], -tangents[:, 0]])
        line = np.polynomial.Polynomial.fit(along, _edge_offsets(grey, points, outward), 1)
        for end, s in enumerate((0.0, 1.0)):
            offsets[k, end] = line(s)
            normals[k, end] = outward[0 if end == 0 else -1]
    # Corner k ends edge k - 1 and begins edge k.
    return np.stack(
        [
            np.linalg.solve(np.stack([normals[k - 1, 1], normals[k, 0]]), [offsets[k - 1, 1], offsets[k, 0]])
            for k in range(4)
        ]
    )


def _edge_offsets(
    grey: Image | np.ndarray[tuple[int, ...], np.dtype[np.float32]], points: Floats, outward: Floats
) -> Floats:
    """Return how far (N,) [px] the black reaches beyond ``points`` along ``outward``."""
    reach, count = 3.0, 240
    s = (np.arange(count) + 0.5) * (2.0 * reach / count) - reach
    where = (points[:, None] + s[:, None] * outward[:, None]).astype(np.float32)
    profile = cv2.remap(grey, where[..., 0], where[..., 1], cv2.INTER_LINEAR).astype(np.float64)
    black = profile[:, :24].mean()
    white = profile[:, -24:].mean()
    darkness = (white - profile) / (white - black)
    return darkness.sum(axis=1) * (2.0 * reach / count) - reach


def _project(points_camera: Floats, lens: CameraIntrinsics) -> Floats:
    zero = np.zeros(3)
    if lens.model == "fisheye":
        uv, _ = cv2.fisheye.projectPoints(points_camera[:, None], zero, zero, lens.K, lens.distortion)
    else:
        uv, _ = cv2.projectPoints(points_camera, zero, zero, lens.K, lens.distortion)
    return uv.reshape(-1, 2).astype(np.float64)
