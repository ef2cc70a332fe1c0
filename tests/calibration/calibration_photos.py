"""Photographs of the board as a camera without distortion takes them, and folders of them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from calibration_stage import BOARD, Stage, make_stage

from vision_ik.rig import Mount
from vision_ik.tags import render_board
from vision_ik.transforms import Transform
from vision_ik.types import CameraIntrinsics, Floats, Frame, Image

LENS = CameraIntrinsics(K=np.array([[600.0, 0, 322.0], [0, 600.0, 237.0], [0, 0, 1]]), width=640, height=480)
BOARD_WORDS = ["--columns", "7", "--rows", "5", "--square-mm", "30", "--marker-mm", "22"]
_PX_PER_M = 3000.0
_MARGIN_M = 0.02


@cache
def _page() -> Image:
    return render_board(BOARD, _PX_PER_M, margin_m=_MARGIN_M)


def photograph(T_camera_board: Transform, page: Image | None = None, height: float = BOARD.size_m[1]) -> Image:
    """Return the board, ``height`` [m] tall, as the camera sees it: a homography of its flat picture."""
    T: Floats = T_camera_board.matrix
    to_camera = LENS.K @ np.column_stack([T[:3, 0], T[:3, 1], T[:3, 3]])
    offset = _MARGIN_M * _PX_PER_M - 0.5
    page_from_board = np.array([[_PX_PER_M, 0, offset], [0, -_PX_PER_M, height * _PX_PER_M + offset], [0, 0, 1]])
    # Twice as fine and then averaged, so that edges are soft as on a sensor.
    finer = np.array([[2.0, 0, 0.5], [0, 2.0, 0.5], [0, 0, 1]])
    H = finer @ to_camera @ np.linalg.inv(page_from_board)
    large = cv2.warpPerspective(
        _page() if page is None else page, H, (1280, 960), flags=cv2.INTER_LINEAR, borderValue=(120,)
    )
    grey = cv2.resize(large, (640, 480), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), dtype=np.uint8)


def frame(image: Image, index: int = 0) -> Frame:
    """Return a picture as a camera would give it that nobody calibrated."""
    lens = CameraIntrinsics.from_field_of_view(image.shape[1], image.shape[0])
    return Frame(image=image, timestamp=0.1 * index, index=index, intrinsics=lens)


def make_photographs(rng: np.random.Generator, n: int, mount: Mount = "eye_to_hand") -> tuple[Stage, list[Frame]]:
    """Return what is true of a set-up, and a photograph of each of its views."""
    stage = make_stage(rng, mount, n)
    frames: list[Frame] = []
    for i, view in enumerate(stage.views):
        T_base_holder = view.flange if mount == "eye_to_hand" else view.flange.inv()
        frames.append(frame(photograph(stage.T_mount_camera.inv() @ T_base_holder @ stage.T_holder_board), i))
    return stage, frames


def write_photographs(folder: Path, rng: np.random.Generator, n: int = 12) -> Stage:
    """Write photographs of the board and the poses of the arm into a folder; return the truth."""
    stage, frames = make_photographs(rng, n)
    folder.mkdir()
    views: list[dict[str, object]] = []
    for i, (view, picture) in enumerate(zip(stage.views, frames, strict=True)):
        name = f"{i:02}.png"
        cv2.imwrite(str(folder / name), picture.image)
        views.append({"image": name, "T_base_flange": view.flange.matrix.tolist()})
    (folder / "poses.json").write_text(json.dumps({"config": "eye_to_hand", "views": views}))
    return stage
