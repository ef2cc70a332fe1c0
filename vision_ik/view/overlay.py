"""What the program sees and does, drawn on the camera's picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from vision_ik.transforms import Transform
from vision_ik.types import CameraIntrinsics, Floats, Image, PoseEstimate, TagDetection
from vision_ik.view import palette
from vision_ik.view.palette import bgr
from vision_ik.view.projection import project
from vision_ik.view.text import fitted, put_label, put_text, text_size

Level = Literal["good", "waiting", "bad"]
_LEVEL_COLOURS: dict[Level, str] = {"good": palette.GOOD, "waiting": palette.WAITING, "bad": palette.BAD}
_FALLBACK_TAG_SIZE = 0.05
"""[m] Length scale of the axes where a tag's size is not known."""
_SHIFT = 4
"""Fractional bits of the pixels given to OpenCV: drawing is exact to 1/16 px."""
_FAR = 1e5
"""[px] Coordinates beyond this would overflow in OpenCV."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlayStatus:
    """The bar along the lower edge."""

    state: str
    """One or two words: "tracking", "waiting", "stopped"."""
    reason: str = ""
    """Why, a few words."""
    level: Level = "good"
    error: float | None = None
    """[m] Distance of the tool from its goal; None when there is none to speak of."""
    timestamp: float | None = None
    """[s]"""


def draw_overlay(
    image: Image,
    *,
    intrinsics: CameraIntrinsics,
    detections: Sequence[TagDetection] = (),
    poses: Sequence[PoseEstimate] = (),
    tag_sizes: float | Mapping[int, float] = _FALLBACK_TAG_SIZE,
    points: Floats | None = None,
    T_camera_target: Transform | None = None,
    T_camera_tool: Transform | None = None,
    status: OverlayStatus | None = None,
    lines: Sequence[str] = (),
    approximate: bool = False,
) -> Image:
    """Return a copy of the picture with what was seen and what is done about it.

    Args:
        image: (H, W, 3) uint8 BGR; left as it is.
        intrinsics: The lens through which poses are drawn; another size than the picture's is scaled.
        detections: Tags: outline, first corner (amber dot), id.
        poses: Tags and boards: axes x red, y green, z blue, half a tag long.
        tag_sizes: Edge of the tags [m], one for all or by id.
        points: (N, 2) [px] corners of a board.
        T_camera_target: Predicted goal of the tool in the camera frame: a ringed cross.
        T_camera_tool: The tool itself: a dot, joined to the goal.
        status: State, reason, error and time along the lower edge.
        lines: More facts, upper left.
        approximate: Whether the lens or a tag size is only assumed; the picture then says so.
    """
    picture = image.copy()
    height, width = picture.shape[:2]
    if (intrinsics.width, intrinsics.height) != (width, height):
        intrinsics = intrinsics.scaled(width, height)
    style = _Style(picture)
    if points is not None:
        _draw_points(picture, points, style)
    for detection in detections:
        _draw_tag(picture, detection, style)
    for pose in poses:
        size = tag_sizes if isinstance(tag_sizes, float | int) else tag_sizes.get(pose.tag_id, _FALLBACK_TAG_SIZE)
        _draw_axes(picture, pose.T_camera_tag, 0.5 * size, intrinsics, style)
    _draw_goal(picture, T_camera_target, T_camera_tool, intrinsics, style)
    for detection in detections:  # labels last: nothing is drawn over them
        _draw_id(picture, detection, style)
    taken = _draw_badge(picture, style) if approximate else 0
    _draw_lines(picture, lines, style, picture.shape[1] - taken)
    if status is not None:
        _draw_status(picture, status, style)
    return picture


class _Style:
    """Sizes [px] that suit the picture."""

    def __init__(self, image: Image) -> None:
        height, width = image.shape[:2]
        scale = min(height / 480.0, width / 640.0)
        self.text = max(9, round(14.0 * scale))
        self.line = max(1, round(1.6 * scale))
        self.dot = max(1.5, 3.0 * scale)
        self.margin = max(3, round(8.0 * scale))


def _draw_points(picture: Image, points: Floats, style: _Style) -> None:
    for point in np.asarray(points, dtype=np.float64).reshape(-1, 2):
        _dot(picture, point, 0.8 * style.dot, palette.TAG)


def _draw_tag(picture: Image, detection: TagDetection, style: _Style) -> None:
    _polyline(picture, detection.corners, style.line + 2, palette.INK, closed=True)
    _polyline(picture, detection.corners, style.line, palette.TAG, closed=True)
    _dot(picture, detection.corners[0], style.dot, palette.FIRST_CORNER)


def _draw_id(picture: Image, detection: TagDetection, style: _Style) -> None:
    """Write the id centred below the tag, where it hides no edge; above it when there is no room."""
    corners = detection.corners
    text = f"id {detection.tag_id}"
    width, height = text_size(text, style.text, "bold")
    x = float(corners[:, 0].mean()) - 0.5 * width - style.text / 3
    y = float(corners[:, 1].max()) + style.dot + style.line + 2
    bar = 2 * style.text + style.margin
    if y + height + style.text / 3 > picture.shape[0] - bar:
        y = float(corners[:, 1].min()) - height - style.text / 3 - style.dot - style.line - 2
    put_label(picture, text, (_whole(x), _whole(y)), style.text, colour=palette.TAG, weight="bold")


def _draw_axes(picture: Image, T_camera_tag: Transform, length: float, lens: CameraIntrinsics, style: _Style) -> None:
    """Draw the axes as curves, since the lens bends them, the farthest first."""
    steps = np.linspace(0.0, length, 9)
    tips = T_camera_tag.apply(length * np.eye(3))
    for axis in np.argsort(-np.linalg.norm(tips, axis=1)):
        along = np.zeros((len(steps), 3))
        along[:, axis] = steps
        curve = project(T_camera_tag.apply(along), lens)
        _polyline(picture, curve, style.line + 3, palette.INK)
        _polyline(picture, curve, style.line + 1, palette.AXES[axis])


def _draw_goal(
    picture: Image,
    T_camera_target: Transform | None,
    T_camera_tool: Transform | None,
    lens: CameraIntrinsics,
    style: _Style,
) -> None:
    goal = None if T_camera_target is None else project(T_camera_target.translation[None], lens)[0]
    tool = None if T_camera_tool is None else project(T_camera_tool.translation[None], lens)[0]
    if goal is not None and tool is not None:
        _polyline(picture, np.stack([tool, goal]), style.line, palette.TARGET)
    if goal is not None:
        _cross(picture, goal, style)
    if tool is not None:
        _dot(picture, tool, style.dot * 1.3, palette.TOOL)


def _cross(picture: Image, centre: Floats, style: _Style) -> None:
    """Draw a ring with four arms that leave the centre itself free."""
    inner, outer = 2.0 * style.dot, 4.5 * style.dot
    arms = [
        np.array([[dx * inner, dy * inner], [dx * outer, dy * outer]]) for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1))
    ]
    for extra, colour in ((2, palette.INK), (0, palette.TARGET)):
        for arm in arms:
            _polyline(picture, centre + arm, style.line + extra, colour)
        _ring(picture, centre, 0.5 * (inner + outer), style.line + extra, colour)


def _draw_lines(picture: Image, lines: Sequence[str], style: _Style, width: int) -> None:
    y = style.margin
    for line in lines:
        text = fitted(line, style.text, width - 3 * style.margin)
        if text:
            _, height = put_label(picture, text, (style.margin, y), style.text)
            y += height + max(1, style.margin // 4)


def _draw_badge(picture: Image, style: _Style) -> int:
    """Draw the badge in the upper right and return how much of the width [px] it takes."""
    text = "APPROXIMATE"
    width = text_size(text, style.text, "bold")[0] + 2 * max(2, style.text // 3)
    corner = (picture.shape[1] - width - style.margin, style.margin)
    colours = {"colour": palette.INK, "background": palette.APPROXIMATE}
    put_label(picture, text, corner, style.text, **colours, opacity=0.95, weight="bold")
    return width + style.margin


def _draw_status(picture: Image, status: OverlayStatus, style: _Style) -> None:
    """Draw the bar: a coloured dot, the state, the reason; flush right the error and the time."""
    height, width = picture.shape[:2]
    line_height = text_size("X", style.text)[1]
    top = max(0, height - line_height - 2 * style.margin)
    bar = picture[top:]
    bar[:] = (0.2 * bar + 0.8 * np.array(bgr(palette.INK), np.float64)).astype(np.uint8)
    y = top + style.margin
    colour = _LEVEL_COLOURS[status.level]
    _dot(picture, np.array([1.5 * style.margin, y + 0.5 * line_height]), 1.6 * style.dot, colour, border=False)
    left, right = 3 * style.margin, width - style.margin
    state = fitted(status.state.upper(), style.text, right - left, "bold")
    put_text(picture, state, (left, y), style.text, colour=colour, weight="bold")
    left += text_size(state, style.text, "bold")[0] + style.margin
    facts = (
        ("" if status.timestamp is None else f"{status.timestamp:.2f} s", palette.MUTED),
        ("" if status.error is None else f"error {1000.0 * status.error:.1f} mm", palette.PAPER),
    )
    for fact, fact_colour in facts:
        fact_width = text_size(fact, style.text)[0]
        if fact and right - fact_width > left:
            put_text(picture, fact, (right - fact_width, y), style.text, colour=fact_colour)
            right -= fact_width + 2 * style.margin
    put_text(picture, fitted(status.reason, style.text, right - left), (left, y), style.text, colour=palette.MUTED)


def _polyline(picture: Image, points: Floats, thickness: int, colour: str, *, closed: bool = False) -> None:
    """Draw through pixels (N, 2), leaving out the pieces that touch a point which is not drawable."""
    ring = np.vstack([points, points[:1]]) if closed else np.asarray(points)
    drawable = [_drawable(point) for point in ring]
    for i in range(len(ring) - 1):
        if drawable[i] and drawable[i + 1]:
            cv2.line(picture, _fixed(ring[i]), _fixed(ring[i + 1]), bgr(colour), thickness, cv2.LINE_AA, _SHIFT)


def _dot(picture: Image, centre: Floats, radius: float, colour: str, *, border: bool = True) -> None:
    if border:
        _disc(picture, centre, radius + 1.0, palette.INK)
    _disc(picture, centre, radius, colour)


def _disc(picture: Image, centre: Floats, radius: float, colour: str) -> None:
    if _drawable(centre):
        cv2.circle(picture, _fixed(centre), round(radius * (1 << _SHIFT)), bgr(colour), -1, cv2.LINE_AA, _SHIFT)


def _ring(picture: Image, centre: Floats, radius: float, thickness: int, colour: str) -> None:
    if _drawable(centre):
        fixed_radius = round(radius * (1 << _SHIFT))
        cv2.circle(picture, _fixed(centre), fixed_radius, bgr(colour), thickness, cv2.LINE_AA, _SHIFT)


def _drawable(point: Floats) -> bool:
    """Return whether both coordinates are numbers that OpenCV can take; NaN compares as false."""
    return abs(float(point[0])) < _FAR and abs(float(point[1])) < _FAR


def _fixed(point: Floats) -> tuple[int, int]:
    """Return a pixel in OpenCV's fixed-point form."""
    return round(float(point[0]) * (1 << _SHIFT)), round(float(point[1]) * (1 << _SHIFT))


def _whole(value: float) -> int:
    return round(max(-_FAR, min(_FAR, value)))
