"""Views from files: both formats, and what is wrong with a file."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from calibration_stage import BOARD, LENS, make_stage

from calibration import calibrate_hand_eye, read_observations
from vision_ik.errors import ConfigError, InvalidPoseError, TagError
from vision_ik.tags import render_board
from vision_ik.types import Board


def document(rng: np.random.Generator) -> dict[str, Any]:
    stage = make_stage(rng, "eye_in_hand", 6)
    return {
        "config": "eye_in_hand",
        "image_size": [640, 480],
        "board": BOARD.chess_corners.tolist(),
        "views": [
            {
                "id": i,
                # Files keep few digits.
                "T_base_gripper": np.round(view.flange.matrix, 6).tolist(),
                "corners": view.detection.points_image.tolist(),
                "ids": list(range(24)) if i % 2 else None,
            }
            for i, view in enumerate(stage.views)
        ],
    }


def test_corners_and_poses_are_read_and_calibrate(tmp_path: Path, rng: np.random.Generator) -> None:
    (tmp_path / "views.json").write_text(json.dumps(document(rng)))
    read = read_observations(tmp_path)
    assert (read.mount, read.image_size, len(read.views)) == ("eye_in_hand", (640, 480), 6)
    truth = make_stage(np.random.default_rng(20260711), "eye_in_hand", 6).T_mount_camera
    result = calibrate_hand_eye(read.views, intrinsics=LENS, mount="eye_in_hand")
    assert result.T_mount_camera.distance_to(truth)[0] < 1e-4


@pytest.mark.parametrize(
    ("view", "key", "value", "words"),
    [
        (None, "board", None, "lacks the key 'board'"),
        (2, "corners", None, "lacks the key 'corners'"),
        (2, "corners", [[1.0, 2.0]] * 23, "view 2: points_image"),
        (1, "ids", [99] * 24, "view 1: it has the id 99"),
        (None, "config", "eye_on_foot", "eye_on_foot"),
        (None, "views", 3, "no valid list of views"),
    ],
)
def test_a_malformed_file_is_named_with_its_fault(
    view: int | None, key: str, value: object, words: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    data = document(rng)
    place = data if view is None else data["views"][view]
    place[key] = value
    if value is None:
        del place[key]
    file = tmp_path / "views.json"
    file.write_text(json.dumps(data))
    with pytest.raises(ConfigError, match=words) as caught:
        read_observations(file)
    assert "views.json" in str(caught.value)


def test_a_pose_that_is_no_rotation_is_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    data = document(rng)
    data["views"][3]["T_base_gripper"][0][0] += 0.05
    (tmp_path / "views.json").write_text(json.dumps(data))
    with pytest.raises(InvalidPoseError):
        read_observations(tmp_path)


def test_no_json_at_all_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no JSON"):
        read_observations(tmp_path)
    (tmp_path / "poses.json").write_text("{not json")
    with pytest.raises(ConfigError, match="is not JSON"):
        read_observations(tmp_path)


def write_pictures(folder: Path, board: Board, names: tuple[str, ...] = ("a.png", "b.png")) -> None:
    """Write pictures of a board and a list of them; the last one is blank."""
    picture = np.pad(render_board(board, px_per_m=2000.0), 60, constant_values=255)
    for name in names:
        cv2.imwrite(str(folder / name), picture if name != names[-1] else np.full_like(picture, 128))
    views = [{"image": name, "T_base_flange": np.eye(4).tolist()} for name in names]
    (folder / "poses.json").write_text(json.dumps({"views": views}))


def test_pictures_of_another_board_are_named(tmp_path: Path) -> None:
    write_pictures(tmp_path, replace(BOARD, family="5x5_100"))
    with pytest.raises(TagError, match="markers 0-16 of 5x5_50 or a larger 5x5 dictionary in 7 columns"):
        read_observations(tmp_path, board=BOARD)


def test_the_layout_that_the_print_turns_out_to_have_is_told_once(tmp_path: Path) -> None:
    write_pictures(tmp_path, BOARD, ("a.png", "b.png", "c.png"))
    read = read_observations(tmp_path, board=replace(BOARD, columns=BOARD.rows, rows=BOARD.columns))
    assert read.board == BOARD
    assert len(read.views) == 2
    assert ["swapped" in remark for remark in read.remarks] == [True]


def test_pictures_are_searched_for_the_board(tmp_path: Path) -> None:
    write_pictures(tmp_path, BOARD)
    read = read_observations(tmp_path, board=BOARD)
    assert [view.name for view in read.views] == ["a.png"]
    assert read.unseen == ("b.png",)
    assert read.mount is None
    with pytest.raises(ConfigError, match="which board"):
        read_observations(tmp_path)


def test_the_files_of_the_conventions_are_read(tmp_path: Path) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "conventions.md"
    shown = re.findall(r"```json\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    pictures, corners = (text for text in shown if '"views"' in text)
    (tmp_path / "views.json").write_text(corners)
    read = read_observations(tmp_path / "views.json")
    assert (read.mount, read.image_size, read.views[0].name) == ("eye_in_hand", (640, 480), "0")
    (tmp_path / "poses.json").write_text(pictures)
    cv2.imwrite(str(tmp_path / "00.png"), np.full((480, 640, 3), 128, dtype=np.uint8))
    read = read_observations(tmp_path, board=BOARD)
    assert (read.mount, read.unseen) == ("eye_to_hand", ("00.png",))


def test_a_malformed_file_leads_to_the_page_that_shows_the_formats(tmp_path: Path) -> None:
    (tmp_path / "poses.json").write_text("{}")
    with pytest.raises(ConfigError) as caught:
        read_observations(tmp_path)
    assert "docs/conventions.md" in caught.value.remedy
