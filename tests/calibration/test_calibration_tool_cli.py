"""`vision-ik calibrate tool --behind`, `--tag`, and `calibrate target`: from files into the rig."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from calibration_photos import LENS, photograph
from calibration_touches import touches

from calibration.lens.projection import project
from calibration.views.sights import visible_poses
from vision_ik.cli.main import EXIT_ERROR, EXIT_OK, main
from vision_ik.rig import Rig, load_rig, save_rig
from vision_ik.robots import load_robot, save_urdf
from vision_ik.tags import render_board
from vision_ik.transforms import Transform
from vision_ik.types import TagGridBoard, tag_corners

SIZE = 0.06
GRID = TagGridBoard(columns=1, rows=1, tag_m=SIZE, gap_m=0.0, first_id=7)
T_GRID_TAG = Transform.from_translation([SIZE / 2, SIZE / 2, 0.0])
T_BASE_CAMERA = Transform.from_translation([0.8, 0.1, 0.6]) @ Transform.exp([0, 0, 0, 1.0, -1.2, 0.3])
T_FLANGE_TAG = Transform.from_translation([0.03, -0.02, 0.12]) @ Transform.exp([0, 0, 0, 0.3, -0.2, 0.4])
COVARIANCE = np.diag(np.repeat([1e-4, 1e-4], 3) ** 2)
PANDA = load_robot("panda")


def _rig(folder: Path, **told: object) -> Path:
    save_rig(
        replace(
            Rig(robot="panda", T_mount_camera=T_BASE_CAMERA, camera_covariance=COVARIANCE, intrinsics=LENS), **told
        ),
        folder,
    )
    return folder


def _touches(file: Path, rng: np.random.Generator, tip: list[float]) -> Path:
    poses = touches(rng, 10, (1e-4, 2e-4), tip=np.array(tip))
    file.write_text(json.dumps({"touches": [{"T_base_flange": T.matrix.tolist()} for T in poses]}))
    return file


def _tag_poses(rng: np.random.Generator, n: int) -> list[Transform]:
    """Return T_camera_tag, turned enough that corners tell it from its mirror image."""
    found = [Transform(T) @ T_GRID_TAG for T in visible_poses(GRID, LENS, 60 * n, rng, (0.25, 0.4))]
    return [T for T in found if abs(T.rotation[2, 2]) < 0.9][:n]


def test_a_second_point_tells_which_way_the_tool_points(
    tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    tip, behind = [0.02, -0.01, 0.15], [0.0, -0.01, 0.05]
    words = ["calibrate", "tool", "--rig", str(_rig(tmp_path / "rig")), "--json"]
    words += ["--from", str(_touches(tmp_path / "tip.json", rng, tip))]
    words += ["--behind", str(_touches(tmp_path / "behind.json", rng, behind))]
    assert main(words) == EXIT_OK
    said = json.loads(capsys.readouterr().out)
    axis = np.subtract(tip, behind) / np.linalg.norm(np.subtract(tip, behind))
    tool = load_rig(tmp_path / "rig").T_flange_tool
    np.testing.assert_allclose(tool.rotation[:, 2], axis, atol=5e-3)
    np.testing.assert_allclose(tool.translation, tip, atol=5e-4)
    assert 0.0 < said["sigma_deg"] < 1.0
    # Without it, the next time, the orientation is what the rig says now.
    assert main(["calibrate", "tool", "--rig", str(tmp_path / "rig"), "--from", str(tmp_path / "tip.json")]) == EXIT_OK
    np.testing.assert_allclose(load_rig(tmp_path / "rig").T_flange_tool.rotation, tool.rotation, atol=1e-12)
    assert "z through" not in capsys.readouterr().out


def test_pictures_of_a_tag_on_the_tool_become_the_tool(
    tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    page = render_board(GRID, 3000.0, margin_m=0.02)
    views: list[dict[str, object]] = []
    for i, T_camera_tag in enumerate(_tag_poses(rng, 6)):
        picture = photograph(T_camera_tag @ T_GRID_TAG.inv(), page, height=SIZE)
        cv2.imwrite(str(tmp_path / f"{i}.png"), picture)
        flange = T_BASE_CAMERA @ T_camera_tag @ T_FLANGE_TAG.inv()
        views.append({"image": f"{i}.png", "T_base_flange": flange.matrix.tolist()})
    (tmp_path / "poses.json").write_text(json.dumps({"config": "eye_to_hand", "views": views}))
    folder = _rig(tmp_path / "rig", default_tag_size=0.1)
    words = ["calibrate", "tool", "--rig", str(folder), "--tag", "7", "--size-mm", "60", "--from", str(tmp_path)]
    at = ["0", "0.03", "-0.05", "0", "0.5", "0"]
    assert main([*words, "--tag-at", *at]) == EXIT_OK
    assert "tool in flange, position" in capsys.readouterr().out
    rig = load_rig(folder)
    numbers = [float(word) for word in at]
    expected = T_FLANGE_TAG @ Transform.from_xyz_rpy(numbers[:3], numbers[3:]).inv()
    metres, radians = rig.T_flange_tool.distance_to(expected)
    assert metres < 1.5e-3
    assert radians < 1e-2
    assert (rig.tag_size(7), rig.tag_size(8)) == (0.06, 0.1)
    assert rig.provenance["tool"]["options"]["tag"] == 7
    assert (folder / "calibration" / "history" / "0001" / "rig.toml").exists()


def test_joints_count_where_the_arm_was_calibrated(
    tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    fixed = PANDA.fixed.copy()
    fixed[3] = fixed[3] @ Transform.exp([5e-3, 0, 0, 0, 0, 5e-3]).matrix
    true = replace(PANDA, name="panda_calibrated", fixed=fixed)
    file = save_urdf(true, tmp_path / "panda_calibrated.urdf")
    q, T_camera_tag = PANDA.random(rng), _tag_poses(rng, 1)[0]
    uv, _ = project(T_camera_tag.apply(tag_corners(SIZE)), LENS)
    T_base_camera = Transform(true.forward(q)) @ T_FLANGE_TAG @ T_camera_tag.inv()
    view = {"q": q.tolist(), "T_base_flange": PANDA.forward(q).tolist(), "corners": uv.tolist()}
    told = {"image_size": [640, 480], "board": tag_corners(SIZE).tolist(), "views": [view]}
    (tmp_path / "views.json").write_text(json.dumps(told))
    words = ["calibrate", "tool", "--tag", "7", "--size-mm", "60", "--from", str(tmp_path / "views.json"), "--json"]
    off: list[float] = []
    for name, provenance in (("drawn", {}), ("calibrated", {"arm": {"note": "calibrated"}})):
        folder = tmp_path / name
        told_rig = {"robot": str(file), "T_mount_camera": T_base_camera, "provenance": provenance}
        assert main([*words, "--rig", str(_rig(folder, **told_rig))]) == EXIT_OK
        off.append(load_rig(folder).T_flange_tool.distance_to(T_FLANGE_TAG)[0])
    capsys.readouterr()
    assert off[1] < 1e-5
    assert off[0] > 1e-3


def test_showing_the_tool_where_to_go_writes_the_target(
    tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    T_flange_tool = Transform.from_translation([0.0, 0.01, 0.12])
    T_tag_target = Transform.from_parts(np.diag([1.0, -1.0, -1.0]), [0.01, 0.02, 0.05])
    showings: list[dict[str, object]] = []
    for T_camera_tag in _tag_poses(rng, 3):
        uv, _ = project(T_camera_tag.apply(tag_corners(SIZE)), LENS)
        goal = T_BASE_CAMERA @ T_camera_tag @ T_tag_target @ T_flange_tool.inv()
        showings.append({"corners": uv.tolist(), "T_base_flange": goal.matrix.tolist()})
    file = tmp_path / "showings.json"
    file.write_text(json.dumps({"tag": 7, "showings": showings}))
    folder = _rig(tmp_path / "rig", T_flange_tool=T_flange_tool)
    words = ["calibrate", "target", "--rig", str(folder), "--size-mm", "60"]
    assert main([*words, "--from", str(file), "--standoff-mm", "20", "--json"]) == EXIT_OK
    said = json.loads(capsys.readouterr().out)
    rig = load_rig(folder)
    np.testing.assert_allclose(rig.T_tag_target.translation, [0.01, 0.02, 0.07], atol=1e-5)
    assert said["spread_mm"] < 0.01
    assert rig.provenance["target"]["options"] == {"goal": "target", "tag": 7, "standoff_mm": 20.0}
    assert (folder / "calibration" / "history" / "0001" / "rig.toml").exists()
    # One showing, by joints, for people.
    q = PANDA.random(rng)
    file.write_text(json.dumps({"tag": 7, "showings": [{"corners": showings[0]["corners"], "q": q.tolist()}]}))
    assert main([*words, "--from", str(file)]) == EXIT_OK
    assert "target seen from tag 7" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not JSON"),
        ('{"views": []}', "lacks the key 'showings'"),
        ('{"showings": []}', "holds no showing"),
        ('{"showings": [{"q": [1]}]}', "showing 1 needs either an image of the tag or its corners"),
        ('{"showings": [{"corners": [[1, 2]], "q": [1]}]}', "showing 1 needs 4 corners"),
        ('{"showings": [{"corners": [[1, 1], [9, 1], [9, 9], [1, 9]]}]}', "showing 1 has neither T_base_flange nor q"),
        ('{"showings": [{"corners": [[1, 1], [9, 1], [9, 9], [1, 9]], "q": [1]}]}', "does not say which tag"),
        ('{"tag": 7, "showings": [{"corners": [[1, 1], [9, 1], [9, 9], [1, 9]], "q": [1]}]}', "has 1 joint values"),
    ],
)
def test_showings_that_cannot_be_are_refused(
    content: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "showings.json").write_text(content)
    folder = _rig(tmp_path / "rig", default_tag_size=SIZE)
    before = (folder / "rig.toml").read_bytes()
    assert main(["calibrate", "target", "--rig", str(folder), "--from", str(tmp_path)]) == EXIT_ERROR
    assert said in " ".join(capsys.readouterr().err.split())
    assert (folder / "rig.toml").read_bytes() == before


def test_a_rig_without_a_camera_knows_no_tag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = _rig(tmp_path / "rig", T_mount_camera=None, camera_covariance=None)
    assert main(["calibrate", "tool", "--rig", str(folder), "--tag", "7"]) == EXIT_ERROR
    assert "Give --from a folder of views" in capsys.readouterr().err
    assert main(["calibrate", "tool", "--rig", str(folder), "--tag", "7", "--from", "views"]) == EXIT_ERROR
    assert "does not know where its camera is" in " ".join(capsys.readouterr().err.split())
