"""Pictures of boards and bundles with known truth, and OpenCV's own way from picture to board pose."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np

from sim.sensor import Sensor, expose
from sim.stress import Conditions, Grey, Shot, clutter, draw, lens_for, random_pose, shoot
from sim.targets import Texture, board_texture, tag_texture
from vision_ik.transforms import Transform
from vision_ik.types import CameraIntrinsics, CharucoBoard, Frame, Image, TagBundle

LENS = lens_for()
CONDITIONS = Conditions(noise=2.0, blur_px=0.5)
HAND = Conditions(noise=2.0, blur_px=0.5, cover=(0.25, 0.25))
_EDGE_PX = (220.0, 420.0)
"""[px] Of the board's longer side."""
_NOTE_GREY = 140.0
_NOTE_SHARE = (0.02, 0.06)
"""Share of the board that one note covers."""

PoseOf = Callable[[Image], Transform | None]


def board_shot(board: CharucoBoard, conditions: Conditions, seed: int, *, covered: float = 0.0) -> Shot:
    """Return a picture of a board before clutter, in a random pose; same seed, same picture.

    Args:
        board: What is printed.
        conditions: What spoils the picture.
        seed: Of everything.
        covered: Share of the board that is covered by notes stuck onto it here and there.
    """
    rng = np.random.default_rng((seed, 7))
    width, height = board.size_m
    T_camera_middle = random_pose(rng, LENS, max(width, height), edge_px=_EDGE_PX, tilt_deg=(0.0, 55.0))
    T_camera_board = T_camera_middle @ Transform.from_translation((-0.5 * width, -0.5 * height, 0.0))
    texture = board_texture(board, 0.3 * board.square_m)
    if covered:
        texture = _with_notes(texture, board.size_m, covered, rng)
    return shoot(texture, board.markers, T_camera_board, LENS, conditions, seed=seed)


def mirrored(frame: Frame) -> Frame:
    """Return the frame as a camera in selfie mode gives it."""
    image = np.ascontiguousarray(frame.image[:, ::-1])
    return Frame(image=image, timestamp=frame.timestamp, index=frame.index, intrinsics=frame.intrinsics)


def opencv_pose(board: CharucoBoard, lens: CameraIntrinsics = LENS) -> PoseOf:
    """Return OpenCV's route: CharucoDetector with default settings, then solvePnP on the chess corners it gives."""
    name = f"DICT_{board.family.upper()}"
    dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, name))
    theirs = cv2.aruco.CharucoBoard((board.columns, board.rows), board.square_m, board.marker_m, dictionary)
    theirs.setLegacyPattern(board.legacy)
    detector = cv2.aruco.CharucoDetector(theirs)
    # Theirs starts at the top left with y down and z into the paper.
    T_theirs_ours = Transform.from_parts(np.diag([1.0, -1.0, -1.0]), (0.0, board.size_m[1], 0.0))

    def pose(gray: Image) -> Transform | None:
        corners, ids, _, _ = detector.detectBoard(gray)
        if np.size(ids) < 4:  # ids are None where there are none
            return None
        points, pixels = theirs.matchImagePoints(corners, ids)  # pyright: ignore[reportArgumentType, reportCallIssue]
        try:
            good, rvec, tvec = cv2.solvePnP(points, pixels, lens.K, lens.distortion)
        except cv2.error:
            return None
        if not good:
            return None
        return Transform.from_parts(cv2.Rodrigues(rvec)[0], np.ravel(tvec)) @ T_theirs_ours

    return pose


def cube(size_m: float = 0.04, edge_m: float = 0.05) -> TagBundle:
    """Return five faces of a cube, each tag turned in its face by another angle."""
    h, right = 0.5 * edge_m, 0.5 * np.pi
    faces = [
        ((0, 0, h), (0, 0, 0)),
        ((h, 0, 0), (0, right, 0)),
        ((-h, 0, 0), (0, -right, 0)),
        ((0, h, 0), (-right, 0, 0)),
        ((0, -h, 0), (right, 0, 0)),
    ]
    return TagBundle.of(
        (i, Transform.from_xyz_rpy(xyz, rpy) @ Transform.exp([0, 0, 0, 0, 0, 0.3 * i]), size_m)
        for i, (xyz, rpy) in enumerate(faces)
    )


def sheet(size_m: float = 0.04) -> TagBundle:
    """Return six tags in one plane, turned in it by any angle."""
    places = [(0.075 * (i % 3), 0.07 * (i // 3), 0.4 * i) for i in range(6)]
    return TagBundle.of(
        (i, Transform.from_xyz_rpy((x, y, 0.0), (0.0, 0.0, turn)), size_m) for i, (x, y, turn) in enumerate(places)
    )


def film(bundle: TagBundle, frames: int, seed: int) -> Iterator[tuple[Frame, Transform]]:
    """Yield frames of a camera that goes around a bundle, higher and lower, and T_camera_bundle of each."""
    rng = np.random.default_rng(seed)
    middle = np.mean([T.translation for T in bundle.Ts_bundle_tag.values()], axis=0)
    sheets = {i: tag_texture(bundle.family, i, size, 0.1 * size) for i, size in bundle.sizes.items()}
    backdrop = clutter(LENS.width, LENS.height, rng)
    for k in range(frames):
        turn = 4.0 * np.pi * k / frames
        rise = np.deg2rad(48.0 + 27.0 * np.sin(2.3 * turn))
        away = np.array([np.cos(turn) * np.cos(rise), np.sin(turn) * np.cos(rise), np.sin(rise)])
        x = np.cross(away, (0.0, 0.0, -1.0))
        x /= np.linalg.norm(x)
        R = np.column_stack([x, np.cross(-away, x), -away])
        T = Transform.from_parts(R, middle + away * (0.36 + 0.08 * np.sin(1.7 * turn))).inv()
        yield _frame(_painted(bundle, sheets, T, backdrop), k, int(rng.integers(2**62))), T


def _painted(bundle: TagBundle, sheets: dict[int, Texture], T_camera_bundle: Transform, backdrop: Grey) -> Grey:
    canvas = np.repeat(backdrop[:, :, None], 3, axis=2)
    distance = np.full(canvas.shape[:2], 50.0, dtype=np.float32)
    for tag_id, T_bundle_tag in bundle.Ts_bundle_tag.items():
        draw(canvas, distance, sheets[tag_id], T_camera_bundle @ T_bundle_tag, LENS)
    return canvas


def _frame(light: Grey, index: int, seed: int) -> Frame:
    image = expose(light, Sensor(noise=CONDITIONS.noise, blur_px=CONDITIONS.blur_px), seed)
    return Frame(image=image, timestamp=index / 30.0, index=index, intrinsics=LENS)


def _with_notes(texture: Texture, size_m: tuple[float, float], share: float, rng: np.random.Generator) -> Texture:
    """Return a board's sheet with grey notes on it that cover ``share`` of the board together."""
    fine = 100
    covered = np.zeros((fine, fine), dtype=np.bool_)
    x, y = np.meshgrid((np.arange(fine) + 0.5) / fine * size_m[0], (np.arange(fine) + 0.5) / fine * size_m[1])
    notes: list[tuple[float, float, float, float]] = []
    while covered.mean() < share:
        area = rng.uniform(*_NOTE_SHARE) * size_m[0] * size_m[1]
        w = float(np.sqrt(area * rng.uniform(0.6, 1.6)))
        h = area / w
        left, low = rng.uniform((0.0, 0.0), (size_m[0] - w, size_m[1] - h)).tolist()
        notes.append((left, left + w, low, low + h))
        covered |= (x > left) & (x < left + w) & (y > low) & (y < low + h)
    x_edges = np.unique(np.concatenate([texture.x_edges, *[note[:2] for note in notes]]))
    y_edges = np.unique(np.concatenate([texture.y_edges, *[note[2:] for note in notes]]))
    x_middles, y_middles = 0.5 * (x_edges[1:] + x_edges[:-1]), 0.5 * (y_edges[1:] + y_edges[:-1])
    grey = texture.grey[
        np.ix_(
            np.searchsorted(texture.y_edges, y_middles) - 1,
            np.searchsorted(texture.x_edges, x_middles) - 1,
        )
    ].copy()
    for left, right, low, high in notes:
        inside = ((y_middles > low) & (y_middles < high), (x_middles > left) & (x_middles < right))
        grey[np.ix_(*inside)] = _NOTE_GREY
    return Texture(x_edges=x_edges, y_edges=y_edges, grey=grey)
