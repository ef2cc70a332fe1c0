"""A small renderer with known truth: rays through the true lens, supersampled, onto a printed plane."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any, cast

import cv2
import numpy as np
import pyapriltags
from numpy.typing import NDArray
from pyapriltags import apriltags
from scipy.interpolate import RectBivariateSpline
from scipy.spatial.transform import Rotation

from vision_ik.tags import render_board, render_marker
from vision_ik.tags.projection import project, undistort
from vision_ik.transforms import Transform
from vision_ik.types import Board, CameraIntrinsics, Floats, Frame, Image

STRAIGHT = CameraIntrinsics(K=np.array([[400.0, 0, 159.3], [0, 402, 121.1], [0, 0, 1]]), width=320, height=240)
BARREL = CameraIntrinsics(
    K=np.array([[210.0, 0, 158.0], [0, 210.5, 121.5], [0, 0, 1]]),
    distortion=np.array([-0.28, 0.09, 0.001, -0.0005, -0.01]),
    width=320,
    height=240,
)
FISHEYE = CameraIntrinsics(
    K=np.array([[150.0, 0, 158.0], [0, 150.5, 121.5], [0, 0, 1]]),
    distortion=np.array([-0.02, 0.01, 0.001, -0.0005]),
    width=320,
    height=240,
    model="fisheye",
)
_SAMPLES = 4
_CELL_PX = 16
_FLIP = np.diag([1.0, -1.0, -1.0])
"""Rotation of a tag that faces the camera upright: its y up, its z toward the camera."""


def facing(
    x: float, y: float, z: float, *, roll_deg: float = 0.0, tilt_deg: float = 0.0, tilt_axis_deg: float = 30.0
) -> Transform:
    """Return T_camera_object of an object at (x, y, z) [m], turned in its plane, then tilted about an axis in it."""
    axis = np.array([np.cos(np.deg2rad(tilt_axis_deg)), np.sin(np.deg2rad(tilt_axis_deg)), 0.0])
    tilt = Rotation.from_rotvec(np.deg2rad(tilt_deg) * axis).as_matrix()
    roll = Rotation.from_rotvec([0, 0, np.deg2rad(roll_deg)]).as_matrix()
    return Transform.from_parts(_FLIP @ tilt @ roll, (x, y, z))


def view(
    texture: Image, outline: Floats, T_camera_object: Transform, lens: CameraIntrinsics, *, wall: float = 150.0
) -> Floats:
    """Return the (H, W) brightness of a picture of a printed rectangle.

    Args:
        texture: (h, w) print.
        outline: (4, 3) [m] outer corners of the print: top-left, top-right, bottom-right, bottom-left.
        T_camera_object: Pose of the frame in which the outline is given.
        lens: Lens.
        wall: Brightness around it.
    """
    rays = _rays(lens)
    R, t = T_camera_object.rotation, T_camera_object.translation
    towards = rays @ R[:, :2], rays @ R[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = (R[:, 2] @ t) / towards[1]
        plane = towards[0] * depth[:, None] - t @ R[:, :2]
    h, w = texture.shape
    (left, top), (right, bottom) = outline[0, :2], outline[2, :2]
    column = (plane[:, 0] - left) / (right - left) * w
    row = (plane[:, 1] - top) / (bottom - top) * h
    on_print = (depth > 0) & (column >= 0) & (column < w) & (row >= 0) & (row < h)
    out = np.full(len(rays), wall)
    out[on_print] = texture[row[on_print].astype(int), column[on_print].astype(int)]
    return out.reshape(lens.height, _SAMPLES, lens.width, _SAMPLES).mean(axis=(1, 3))


def tag_view(
    family: str, tag_id: int, size_m: float, T_camera_tag: Transform, lens: CameraIntrinsics, *, wall: float = 150.0
) -> Floats:
    """Return a picture of one tag with a quiet zone of two cells."""
    marker = np.pad(render_marker(family, tag_id, _CELL_PX), 2 * _CELL_PX, constant_values=255)
    half = 0.5 * size_m * len(marker) / (len(marker) - 4 * _CELL_PX)
    outline = np.array([[-half, half, 0], [half, half, 0], [half, -half, 0], [-half, -half, 0]])
    return view(marker, outline, T_camera_tag, lens, wall=wall)


def board_view(board: Board, T_camera_board: Transform, lens: CameraIntrinsics) -> Floats:
    """Return a picture of a board with a white margin of 10 mm."""
    m, (w, h) = 0.01, board.size_m
    outline = np.array([[-m, h + m, 0], [w + m, h + m, 0], [w + m, -m, 0], [-m, -m, 0]])
    return view(render_board(board, 5000.0, margin_m=m), outline, T_camera_board, lens)


def frame_of(
    brightness: NDArray[np.floating], lens: CameraIntrinsics = STRAIGHT, *, noise: float = 0.0, seed: int = 0
) -> Frame:
    """Return a frame of a grey picture with noise [grey levels]."""
    noisy = brightness + np.random.default_rng(seed).normal(size=brightness.shape) * noise
    image = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    return Frame(
        image=np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), dtype=np.uint8),
        timestamp=4.25,
        index=0,
        intrinsics=lens,
    )


def pixels(points: Floats, T_camera_object: Transform, lens: CameraIntrinsics) -> Floats:
    """Return the true pixels (N, 2) of points (N, 3) [m]."""
    return project(points, T_camera_object, lens)[0]


@lru_cache(maxsize=4)
def _rays(lens: CameraIntrinsics) -> Floats:
    """Return (N, 3) rays of all samples; the inverse lens is exact on a 4 px grid and cubic between."""
    offsets = (np.arange(_SAMPLES) + 0.5) / _SAMPLES - 0.5
    x = (np.arange(lens.width)[:, None] + offsets).ravel()
    y = (np.arange(lens.height)[:, None] + offsets).ravel()
    gx, gy = np.arange(-4.0, lens.width + 5, 4), np.arange(-4.0, lens.height + 5, 4)
    grid = undistort(np.stack(np.meshgrid(gx, gy), axis=-1).reshape(-1, 2), lens).reshape(len(gy), len(gx), 2)
    rays = [RectBivariateSpline(gy, gx, grid[..., i])(y, x).ravel() for i in (0, 1)]
    return np.column_stack([*rays, np.ones(len(rays[0]))])


def library_image(library: str, tag_id: int) -> Image:
    """Return a tag as the AprilTag library itself draws it, one pixel a cell, white rim included."""
    detector = pyapriltags.Detector(families=library)
    try:
        draw = cast("Any", detector.libc).apriltag_to_image
        draw.restype = ctypes.POINTER(apriltags._ImageU8)  # pyright: ignore[reportPrivateUsage]
        drawn = draw(detector.tag_families[library], tag_id).contents
        return np.ctypeslib.as_array(drawn.buf, shape=(drawn.height, drawn.stride))[:, : drawn.width].copy()
    finally:
        detector.tag_detector_ptr = None  # its destructor crashes
