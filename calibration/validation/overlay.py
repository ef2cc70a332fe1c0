"""A picture of how well a calibration predicts what a camera sees."""

from __future__ import annotations

import cv2
import numpy as np

from calibration.lens.projection import project
from vision_ik.transforms import TransformLike, as_transform
from vision_ik.types import BoardDetection, CameraIntrinsics, Floats
from vision_ik.types._arrays import Image
from vision_ik.view import palette

_FRACTION = 4
"""Bits of sub-pixel drawing."""
_MAGNIFIED = 10.0
"""Errors are drawn this many times longer, where they would not be seen otherwise."""
_VISIBLE = 6.0
"""[px] Errors above this are drawn as they are."""


def reprojection_overlay(
    image: Image,
    T_camera_board: TransformLike,
    detection: BoardDetection | None,
    intrinsics: CameraIntrinsics,
    *,
    scale: int = 2,
) -> Image:
    """Return the picture with the corners as seen (rings) and as predicted (crosses), and what is between them.

    Args:
        image: (H, W, 3) uint8 BGR.
        T_camera_board: Predicted through the calibrated chain, not fitted to this picture.
        detection: What was seen; None draws the prediction alone.
        intrinsics: Lens of the picture.
        scale: The result is so many times larger than the picture.
    """
    height, width = image.shape[:2]
    picture: Image = np.asarray(
        cv2.resize(image, (scale * width, scale * height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8
    )
    if detection is None:
        return picture
    points = as_transform(T_camera_board).apply(detection.points_board)
    ahead = points[:, 2] > 0
    predicted, _ = project(points[ahead], intrinsics)
    seen = detection.points_image[ahead]
    errors = predicted - seen
    rms = float(np.sqrt(np.mean(np.sum(errors**2, axis=1)))) if len(errors) else float("nan")
    longer = _MAGNIFIED if rms < _VISIBLE else 1.0
    for at, error in zip(seen, errors, strict=True):
        _line(picture, at, at + longer * error, palette.BAD, scale)
        cv2.circle(
            picture,
            _fixed(at, scale),
            round(4.0 * 2**_FRACTION * scale / 2),
            _bgr(palette.TAG),
            1,
            cv2.LINE_AA,
            _FRACTION,
        )
    for at in predicted:
        _cross(picture, at, scale)
    factor = f", drawn {longer:.0f} times longer" if longer > 1.0 else ""
    cv2.rectangle(picture, (0, 0), (picture.shape[1], 14 + 12 * scale), _bgr(palette.INK), -1)
    cv2.putText(
        picture,
        f"seen (rings) against predicted (crosses): {rms:.2f} px rms{factor}",
        (8, 6 + 10 * scale),
        cv2.FONT_HERSHEY_SIMPLEX,
        0.28 * scale,
        _bgr(palette.PAPER),
        1,
        cv2.LINE_AA,
    )
    return picture


def _cross(picture: Image, at: Floats, scale: int) -> None:
    for way in (np.array([3.0, 0.0]), np.array([0.0, 3.0])):
        _line(picture, at - way, at + way, palette.FIRST_CORNER, scale)


def _line(picture: Image, start: Floats, end: Floats, colour: str, scale: int) -> None:
    cv2.line(picture, _fixed(start, scale), _fixed(end, scale), _bgr(colour), 1, cv2.LINE_AA, _FRACTION)


def _fixed(point: Floats, scale: int) -> tuple[int, int]:
    """Return a pixel of the small picture in the larger one, in fractions; centres of pixels are whole numbers."""
    x, y = np.rint((scale * (np.asarray(point) + 0.5) - 0.5) * 2**_FRACTION).astype(int).tolist()
    return int(np.clip(x, -(2**20), 2**20)), int(np.clip(y, -(2**20), 2**20))


def _bgr(colour: str) -> tuple[int, int, int]:
    return int(colour[5:7], 16), int(colour[3:5], 16), int(colour[1:3], 16)
