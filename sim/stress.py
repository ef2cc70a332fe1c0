"""Pictures of printed targets under bad conditions, with the exact truth beside them.

A picture is built in the order light travels: paper and print (exact to thousandths of a pixel,
:mod:`sim.markers`) on a cluttered background, something in front of it, the light on the scene,
the path during the exposure, the lens' blur, the sensor's noise, eight bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from sim.lens import project, ray_table
from sim.markers import draw_sheet
from sim.sensor import Sensor, expose
from sim.targets import Texture, tag_texture
from vision_ik.transforms import Transform, exp_rotation
from vision_ik.types import CameraIntrinsics, Floats, Frame, tag_corners

_WORLD_M = 50.0
"""[m] Range of the background."""
_SHADOW_SOFT_PX = 0.7
"""[px] Width (standard deviation) of the edge of a hard shadow."""
_PATH_STEP_PX = 0.1
"""[px] Distance of the points that make up the path of a motion blur."""
_SKIN = 150.0
"""[grey levels] Middle grey of what covers a target."""


Grey: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Ellipse:
    """Something round in front of the scene, in the picture."""

    centre: Floats
    """(2,) [px]"""
    radii: tuple[float, float]
    """[px]"""
    angle: float
    """[rad] Of the first radius, from x towards y."""

    def outline(self) -> Floats:
        """Return (72, 2) points around it [px]."""
        t = np.linspace(0.0, 2.0 * np.pi, 72, endpoint=False)
        a, b = self.radii[0] * np.cos(t), self.radii[1] * np.sin(t)
        c, s = np.cos(self.angle), np.sin(self.angle)
        return self.centre + np.column_stack([c * a - s * b, s * a + c * b])


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What lies between a print and its picture."""

    light: float = 1.0
    """Factor on all light."""
    contrast: float = 1.0
    """Factor on the distance of the print's greys from their middle."""
    noise: float = 0.0
    """[grey levels] Standard deviation of the sensor's noise."""
    blur_px: float = 0.0
    """[px] Standard deviation of the lens' blur."""
    motion_px: float = 0.0
    """[px] Length of the picture's straight path during the exposure; the truth is its middle."""
    shadow: float = 1.0
    """Factor on the light beyond a straight edge that crosses the target's middle part; 1 for no shadow."""
    cover: tuple[float, float] = (0.0, 0.0)
    """Bounds of the share of the target that something round, from somewhere on its rim, covers."""


CONDITIONS: Mapping[str, Conditions] = {
    "clean": Conditions(blur_px=0.5),
    "noise": Conditions(noise=13.0, blur_px=0.5),
    "blur": Conditions(blur_px=2.0),
    "low light": Conditions(light=0.1, noise=2.0, blur_px=0.5),
    "low contrast": Conditions(contrast=0.12, noise=2.0, blur_px=0.5),
    "motion blur": Conditions(motion_px=12.0, noise=2.0, blur_px=0.5),
    "hard shadow": Conditions(shadow=0.46, noise=2.0, blur_px=0.5),
    "covered": Conditions(cover=(0.10, 0.22), noise=2.0, blur_px=0.5),
}
"""What detectors are judged under. OpenCV's default finds about 60 % of :func:`random_shot` in low light, motion
blur and hard shadow, 70 % in low contrast."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Shot:
    """One picture and its truth."""

    frame: Frame
    T_camera_target: Transform
    """In the middle of the exposure."""
    corners: Mapping[int, Floats]
    """(4, 2) corners of each marker [px]."""
    covered: float = 0.0
    """Share of the target that is covered."""


def lens_for(width: int = 640, height: int = 480, focal_px: float = 600.0) -> CameraIntrinsics:
    """Return a lens without distortion, its centre in the middle of the picture."""
    K = np.array([[focal_px, 0.0, 0.5 * (width - 1)], [0.0, focal_px, 0.5 * (height - 1)], [0.0, 0.0, 1.0]])
    return CameraIntrinsics(K=K, width=width, height=height)


def random_pose(
    rng: np.random.Generator,
    lens: CameraIntrinsics,
    size_m: float,
    *,
    edge_px: tuple[float, float],
    tilt_deg: tuple[float, float] = (0.0, 60.0),
    margin_px: float = 12.0,
) -> Transform:
    """Return the pose of a target of edge ``size_m`` that lies wholly in the picture, facing the camera.

    Args:
        rng: Source of chance.
        lens: The camera's.
        size_m: Edge of the target [m].
        edge_px: Bounds of ``size_m`` in the picture, seen from the front [px], drawn evenly in the logarithm.
        tilt_deg: Bounds of the angle between the target's normal and the line of sight [deg].
        margin_px: Distance of the target's corners from the rim of the picture [px].

    Raises:
        ValueError: No such pose fits the picture.
    """
    focal = float(lens.K[0, 0])
    half = 0.5 * size_m
    square = np.array([[-half, half, 0.0], [half, half, 0.0], [half, -half, 0.0], [-half, -half, 0.0]])
    for _ in range(1000):
        depth = focal * size_m / np.exp(rng.uniform(*np.log(edge_px)))
        pixel = rng.uniform(0.0, 1.0, 2) * (lens.width, lens.height)
        sight = np.array([(pixel[0] - lens.K[0, 2]) / focal, (pixel[1] - lens.K[1, 2]) / focal, 1.0])
        sight /= np.linalg.norm(sight)
        R = _facing(sight, np.deg2rad(rng.uniform(*tilt_deg)), rng.uniform(0.0, 2.0 * np.pi), rng)
        T = Transform.from_parts(R, depth * sight)
        uv = project(T.apply(square), lens)
        if (uv >= margin_px).all() and (uv <= np.array([lens.width, lens.height]) - 1.0 - margin_px).all():
            return T
    raise ValueError(f"No target of {edge_px} px fits a picture of {lens.width}x{lens.height}.")


def _facing(sight: Floats, tilt: float, turn: float, rng: np.random.Generator) -> Floats:
    """Return the rotation of a target whose normal points back along ``sight``, tilted, and turned in its plane."""
    back = -sight
    side = np.cross(back, rng.normal(size=3))
    side /= np.linalg.norm(side)
    normal = exp_rotation(tilt * side) @ back
    x = np.cross(normal, rng.normal(size=3))
    x /= np.linalg.norm(x)
    R = np.column_stack([x, np.cross(normal, x), normal])
    return R @ exp_rotation(np.array([0.0, 0.0, turn]))


def shoot(
    texture: Texture,
    markers: Mapping[int, Floats],
    T_camera_target: Transform,
    lens: CameraIntrinsics,
    conditions: Conditions,
    *,
    seed: int,
    timestamp: float = 0.0,
    index: int = 0,
    background: Grey | None = None,
    cover: Ellipse | None = None,
) -> Shot:
    """Take a picture of a printed target.

    Args:
        texture: What is printed, see :func:`sim.targets.tag_texture`.
        markers: Corners (4, 3) [m] of each marker in the target's frame, by id.
        T_camera_target: Where it is.
        lens: The camera's.
        conditions: What spoils the picture.
        seed: Of the background, the direction of motion, the shadow, the cover and the noise.
        timestamp: Of the frame [s].
        index: Of the frame.
        background: (H, W) grey levels in full light; None draws :func:`clutter`.
        cover: What lies in front; None draws it as ``conditions`` say.
    """
    rng = np.random.default_rng(seed)
    corners = {i: project(T_camera_target.apply(points), lens) for i, points in markers.items()}
    rim = _hull(np.concatenate(list(corners.values())))
    grey = clutter(lens.width, lens.height, rng) if background is None else background
    canvas = np.repeat(grey[:, :, None], 3, axis=2)
    distance = np.full(grey.shape, _WORLD_M, dtype=np.float32)
    draw(canvas, distance, _faded(texture, conditions.contrast), T_camera_target, lens)
    if cover is None and conditions.cover[1] > 0.0:
        cover = _ellipse(float(rng.uniform(*conditions.cover)), rim, rng)
    if cover is not None:
        _lay_over(canvas, cover, seed)
    shade = _shade(conditions.shadow, rim, lens, rng)
    light = np.asarray(_smeared(canvas, conditions.motion_px, rng) * (conditions.light * shade)[:, :, None])
    sensor = Sensor(noise=conditions.noise, blur_px=conditions.blur_px)
    image = expose(light.astype(np.float32), sensor, int(rng.integers(2**63)))
    return Shot(
        frame=Frame(image=image, timestamp=timestamp, index=index, intrinsics=lens),
        T_camera_target=T_camera_target,
        corners=corners,
        covered=0.0 if cover is None else covered_share(cover, rim),
    )


def random_shot(
    family: str,
    conditions: Conditions,
    seed: int,
    *,
    lens: CameraIntrinsics | None = None,
    size_m: float = 0.1,
    edge_px: tuple[float, float] = (40.0, 160.0),
    tilt_deg: tuple[float, float] = (0.0, 60.0),
) -> Shot:
    """Return a picture of one tag with a random id below 30 and a random pose before clutter; same seed, same picture.

    Args:
        family: Of the tag.
        conditions: See :data:`CONDITIONS`.
        seed: Of everything.
        lens: The camera's; None takes 640x480 at 600 px.
        size_m: Edge of the tag's black border [m]; it has a white margin of an eighth of that.
        edge_px: See :func:`random_pose`.
        tilt_deg: See :func:`random_pose`.
    """
    rng = np.random.default_rng((seed, 1))
    lens = lens or lens_for()
    T = random_pose(rng, lens, size_m, edge_px=edge_px, tilt_deg=tilt_deg)
    tag_id = int(rng.integers(30))
    texture = tag_texture(family, tag_id, size_m, size_m / 8.0)
    return shoot(texture, {tag_id: tag_corners(size_m)}, T, lens, conditions, seed=seed)


def draw(canvas: Grey, distance: Grey, texture: Texture, T_camera_target: Transform, lens: CameraIntrinsics) -> None:
    """Draw one sheet into ``canvas`` (H, W, 3), where it is nearer than ``distance`` (H, W) [m]."""
    height, width = distance.shape
    draw_sheet(
        canvas,
        distance,
        texture,
        [T_camera_target],
        1.0,
        lens,
        ray_table(lens).corners,
        solid_colour=np.zeros((height, width, 3), dtype=np.float32),
        solid_alpha=np.zeros((height, width), dtype=np.float32),
        solid_distance=np.full((height, width), np.inf, dtype=np.float32),
    )


def clutter(width: int, height: int, rng: np.random.Generator) -> Grey:
    """Return a background (H, W) of soft gradients with dark and bright polygons on it, as rooms have them."""
    small = rng.uniform(60.0, 200.0, (4, 5)).astype(np.float32)
    grey = np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.float32)
    for _ in range(24):
        centre = rng.uniform(0.0, 1.0, 2) * (width, height)
        angles = np.sort(rng.uniform(0.0, 2.0 * np.pi, int(rng.integers(3, 7))))
        outline = centre + rng.uniform(8.0, 90.0) * np.column_stack([np.cos(angles), np.sin(angles)])
        cv2.fillPoly(grey, [np.rint(16.0 * outline).astype(np.int32)], rng.uniform(15.0, 240.0), cv2.LINE_AA, 4)
    return np.clip(grey, 5.0, 250.0)


def covered_share(cover: Ellipse, rim: Floats) -> float:
    """Return the share of the convex outline ``rim`` (N, 2) [px] that lies under an ellipse."""
    low = np.floor(rim.min(axis=0))
    side = 200
    scale = side / float((rim.max(axis=0) - low).max())
    mask, over = np.zeros((side + 1, side + 1), np.uint8), np.zeros((side + 1, side + 1), np.uint8)
    cv2.fillConvexPoly(mask, np.rint((rim - low) * scale).astype(np.int32), 1)
    cv2.fillConvexPoly(over, np.rint((cover.outline() - low) * scale).astype(np.int32), 1)
    return float((mask & over).sum() / max(int(mask.sum()), 1))


def _ellipse(share: float, rim: Floats, rng: np.random.Generator) -> Ellipse:
    """Return an ellipse around a point of the rim that covers ``share`` of what is inside the rim."""
    k, f = int(rng.integers(len(rim))), rng.uniform()
    centre = (1.0 - f) * rim[k] + f * rim[(k + 1) % len(rim)]
    angle, ratio = rng.uniform(0.0, np.pi), rng.uniform(0.4, 1.0)
    low, high = 0.0, 2.0 * float(np.ptp(rim, axis=0).max())
    for _ in range(20):
        radius = 0.5 * (low + high)
        found = Ellipse(centre=centre, radii=(radius, ratio * radius), angle=angle)
        low, high = (radius, high) if covered_share(found, rim) < share else (low, radius)
    return Ellipse(centre=centre, radii=(high, ratio * high), angle=angle)


def _lay_over(canvas: Grey, cover: Ellipse, seed: int) -> None:
    """Paint an ellipse of the brightness and texture of a hand over ``canvas`` (H, W, 3)."""
    height, width = canvas.shape[:2]
    mask = np.zeros((height, width), dtype=np.uint8)
    cv2.fillConvexPoly(mask, np.rint(16.0 * cover.outline()).astype(np.int32), 255, cv2.LINE_AA, 4)
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return
    # The texture is fixed to the ellipse, so that it moves with it from frame to frame.
    wave = np.sin(0.35 * (columns - cover.centre[0]) + seed % 7) * np.cos(0.27 * (rows - cover.centre[1]))
    alpha = mask[rows, columns].astype(np.float32)[:, None] / np.float32(255.0)
    value = (_SKIN + 12.0 * wave).astype(np.float32)[:, None]
    canvas[rows, columns] += alpha * (value - canvas[rows, columns])


def _smeared(canvas: Grey, length: float, rng: np.random.Generator) -> Grey:
    """Return ``canvas`` averaged over a straight path of ``length`` [px] around where it is."""
    angle = rng.uniform(0.0, 2.0 * np.pi)
    if length <= 0.0:
        return canvas
    along = np.linspace(-0.5, 0.5, int(np.ceil(length / _PATH_STEP_PX)) + 1) * length
    reach = int(np.ceil(0.5 * length)) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), dtype=np.float32)
    x, y = reach + along * np.cos(angle), reach + along * np.sin(angle)
    i, j = np.floor(x).astype(int), np.floor(y).astype(int)
    fx, fy = x - i, y - j
    for dx, dy, weight in ((0, 0, (1 - fx) * (1 - fy)), (1, 0, fx * (1 - fy)), (0, 1, (1 - fx) * fy), (1, 1, fx * fy)):
        np.add.at(kernel, (j + dy, i + dx), weight)
    return np.asarray(cv2.filter2D(canvas, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE), np.float32)


def _shade(factor: float, rim: Floats, lens: CameraIntrinsics, rng: np.random.Generator) -> Grey:
    """Return the light (H, W) on the scene with the edge of a shadow through the middle part of the target."""
    angle = rng.uniform(0.0, 2.0 * np.pi)
    through = rim.mean(axis=0) + rng.uniform(-0.25, 0.25, 2) * np.ptp(rim, axis=0)
    if factor == 1.0:
        return np.ones((lens.height, lens.width), dtype=np.float32)
    rows, columns = np.mgrid[: lens.height, : lens.width]
    across = (columns - through[0]) * np.cos(angle) + (rows - through[1]) * np.sin(angle)
    lit = 0.5 * (1.0 + np.tanh(1.2 * across / (_SHADOW_SOFT_PX * np.sqrt(2.0))))  # nearly a Gaussian's integral
    return (factor + (1.0 - factor) * lit).astype(np.float32)


def _faded(texture: Texture, contrast: float) -> Texture:
    middle = 0.5 * (float(texture.grey.max()) + float(texture.grey.min()))
    grey = (middle + contrast * (texture.grey - middle)).astype(np.float32)
    return Texture(x_edges=texture.x_edges, y_edges=texture.y_edges, grey=grey)


def _hull(points: Floats) -> Floats:
    return np.asarray(cv2.convexHull(points.astype(np.float32)), dtype=np.float64).reshape(-1, 2)
