"""Rig files: what is saved is loaded, and each malformed one is refused by the name of its key."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomlkit

from vision_ik.errors import ConfigError, TagError
from vision_ik.rig import Mount, Rig, load_rig, save_rig
from vision_ik.transforms import Transform
from vision_ik.types import CameraIntrinsics, CharucoBoard, TagGridBoard

_PYTHON_TALK = re.compile("unhashable|operand|could not convert|invalid literal|instances of|not supported|NoneType")
_T_MOUNT_CAMERA = Transform.exp([0.5, -0.1, 0.8, 2.0, 0.3, -0.2])


def _rig(mount: Mount = "eye_to_hand", **changes: Any) -> Rig:
    spread = np.random.default_rng(1).normal(size=(6, 6)) * 1e-3
    fields: dict[str, Any] = {
        "robot": "panda",
        "robot_hash": "0123456789abcdef",
        "mount": mount,
        "T_mount_camera": _T_MOUNT_CAMERA,
        "camera_covariance": spread @ spread.T,
        "T_flange_tool": Transform.from_translation([0, 0, 0.1]),
        "T_tag_target": Transform.exp([0, 0, 0.05, np.pi, 0, 0]),
        "tag_family": "25h9",
        "tag_sizes": {7: 0.06, 3: 0.0333},
        "default_tag_size": 0.04,
        "workspace": ([0.2, -0.5, 0.0], [0.8, 0.5, 0.9]),
        "boards": {
            "desk": CharucoBoard(columns=7, rows=5, square_m=0.04, marker_m=0.03, legacy=True),
            "wall": TagGridBoard(columns=2, rows=3, tag_m=0.05, gap_m=0.01, first_id=20),
        },
        "intrinsics": CameraIntrinsics.from_field_of_view(640, 480),
        "provenance": {"made_by": "a test", "views": "15"},
    }
    return Rig(**fields | changes)


def _assert_equal(one: Rig, other: Rig) -> None:
    for name in (
        "robot",
        "base",
        "tip",
        "robot_hash",
        "mount",
        "tag_family",
        "default_tag_size",
        "boards",
        "provenance",
    ):
        assert getattr(one, name) == getattr(other, name), name
    assert dict(one.tag_sizes) == pytest.approx(dict(other.tag_sizes), rel=1e-12)
    for name in ("T_mount_camera", "T_flange_tool", "T_tag_target"):
        T_one, T_other = getattr(one, name), getattr(other, name)
        assert (T_one is None) == (T_other is None), name
        if T_one is not None:
            np.testing.assert_allclose(T_one.matrix, T_other.matrix, atol=1e-15)
    if one.camera_covariance is None or other.camera_covariance is None:
        assert one.camera_covariance is other.camera_covariance
    else:
        np.testing.assert_array_equal(one.camera_covariance, other.camera_covariance)
    if one.workspace is None or other.workspace is None:
        assert one.workspace is other.workspace
    else:
        np.testing.assert_array_equal(one.workspace, other.workspace)
    if one.intrinsics is None or other.intrinsics is None:
        assert one.intrinsics is other.intrinsics
    else:
        np.testing.assert_array_equal(one.intrinsics.K, other.intrinsics.K)


@pytest.mark.parametrize("mount", ["eye_to_hand", "eye_in_hand"])
def test_a_rig_comes_back_as_it_was_saved(tmp_path: Path, mount: Mount) -> None:
    rig = _rig(mount)
    path = save_rig(rig, tmp_path / "desk")
    assert path == tmp_path / "desk" / "rig.toml"
    _assert_equal(load_rig(tmp_path / "desk"), rig)
    _assert_equal(load_rig(path), rig)
    key = "T_base_camera" if mount == "eye_to_hand" else "T_flange_camera"
    assert key in tomllib.loads(path.read_text())


def test_an_uncalibrated_rig_comes_back_without_a_camera(tmp_path: Path) -> None:
    rig = Rig(robot="so101")
    save_rig(rig, tmp_path)
    back = load_rig(tmp_path)
    _assert_equal(back, rig)
    assert not (tmp_path / "camera.yaml").exists()
    with pytest.raises(ConfigError, match="where its camera is") as caught:
        back.T_base_camera(Transform.identity())
    assert "vision-ik calibrate" in caught.value.remedy


def test_saving_again_is_the_same_file_and_keeps_the_users_comments_and_drops_what_went(tmp_path: Path) -> None:
    path = save_rig(_rig(), tmp_path)
    first = path.read_text()
    save_rig(_rig(), tmp_path)
    assert path.read_text() == first
    path.write_text("# my desk, by the window\n" + first)
    save_rig(_rig("eye_in_hand", robot_hash="", tag_sizes={}), tmp_path)
    second = path.read_text()
    assert second.startswith("# my desk, by the window\n")
    assert "T_base_camera" not in second
    assert "robot_hash" not in second
    assert "sizes_mm" not in second
    _assert_equal(load_rig(path), _rig("eye_in_hand", robot_hash="", tag_sizes={}))


def test_a_calibration_lands_in_a_hand_written_rig(tmp_path: Path) -> None:
    path = tmp_path / "rig.toml"
    path.write_text('# mine\nrobot = "ur5e"\n\n[tags]\nfamily = "36h11" # printed in March\ndefault_size_mm = 50\n')
    rig = load_rig(path)
    calibrated = _rig(robot="ur5e", tag_family=rig.tag_family, default_tag_size=rig.default_tag_size, tag_sizes={})
    save_rig(calibrated, path)
    _assert_equal(load_rig(path), calibrated)


def test_a_rig_file_that_is_not_toml_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "rig.toml"
    path.write_text("robot = panda")
    with pytest.raises(ConfigError, match=r"rig\.toml"):
        save_rig(_rig(), path)
    assert path.read_text() == "robot = panda"


def test_a_fixed_camera_stays_and_one_on_the_arm_moves_with_the_flange() -> None:
    T_base_flange = Transform.exp([0.3, 0.2, 0.5, 0.1, -0.7, 2.0])
    assert _rig("eye_to_hand").T_base_camera(T_base_flange) == _T_MOUNT_CAMERA
    assert _rig("eye_in_hand").T_base_camera(T_base_flange) == T_base_flange @ _T_MOUNT_CAMERA


def test_a_tag_has_its_own_size_or_the_default_or_is_refused_with_the_sizes_known() -> None:
    assert _rig().tag_size(7) == 0.06
    assert _rig().tag_size(8) == 0.04
    with pytest.raises(TagError, match="known for: 3, 7") as caught:
        _rig(default_tag_size=None).tag_size(8)
    assert caught.value.facts["tag_id"] == 8
    assert "default_size_mm" in caught.value.remedy
    with pytest.raises(TagError, match="known for: none"):
        Rig(robot="panda").tag_size(0)


def test_arrays_become_checked_transforms_that_no_one_can_change() -> None:
    array: Any = _T_MOUNT_CAMERA.matrix.copy()
    rig = _rig(T_mount_camera=array, T_flange_tool=array, T_tag_target=array)
    array[0, 3] = 9.0
    assert rig.T_mount_camera == rig.T_flange_tool == rig.T_tag_target == _T_MOUNT_CAMERA
    assert rig.camera_covariance is not None
    assert rig.workspace is not None
    for kept in (rig.camera_covariance, *rig.workspace):
        with pytest.raises(ValueError, match="read-only"):
            kept[0] = 1.0
    sizes = {7: 0.06}
    rig = _rig(tag_sizes=sizes)
    sizes[7] = -1.0
    assert rig.tag_size(7) == 0.06


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mount": "ceiling"}, "eye_to_hand or eye_in_hand"),
        ({"mount": ["eye_to_hand"]}, "eye_to_hand or eye_in_hand"),
        ({"T_mount_camera": 2 * np.eye(4)}, "pose"),
        ({"T_flange_tool": np.eye(3)}, "4"),
        ({"T_tag_target": np.full((4, 4), np.nan)}, "NaN"),
        ({"camera_covariance": np.eye(3)}, r"\(6, 6\)"),
        ({"camera_covariance": -np.eye(6)}, "semi-definite"),
        ({"camera_covariance": np.triu(np.ones((6, 6)))}, "symmetric"),
        ({"default_tag_size": 0.0}, "default tag size"),
        ({"default_tag_size": float("nan")}, "default tag size"),
        ({"tag_sizes": {7: -0.06}}, "tag 7"),
        ({"tag_sizes": {-7: 0.06}}, "-7"),
        ({"workspace": ([0, 0, 0], [1, 1, 0])}, "below the upper"),
        ({"workspace": ([0, 0], [1, 1])}, "lower corner"),
    ],
)
def test_a_rig_that_cannot_be_is_not_made(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        _rig(**changes)


def test_a_covariance_without_rank_is_a_covariance() -> None:
    column = np.array([[1e-3, 2e-4, -3e-4, 1e-5, 0.0, 2e-5]])
    assert _rig(camera_covariance=column.T @ column).camera_covariance is not None
    assert _rig(camera_covariance=np.zeros((6, 6))).camera_covariance is not None


def test_a_urdf_beside_the_rig_is_found_from_anywhere_and_saved_as_it_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = tmp_path / "desk"
    (desk / "meshes").mkdir(parents=True)
    (desk / "meshes" / "arm.urdf").touch()
    (tmp_path / "shared.urdf").touch()
    monkeypatch.chdir(tmp_path)
    path = desk / "rig.toml"
    for written, file in (("meshes/arm.urdf", desk / "meshes" / "arm.urdf"), ("../shared.urdf", "shared.urdf")):
        path.write_text(f'robot = "{written}"\nbase = "pedestal"\ntip = "wrist"\n')
        rig = load_rig("desk")
        assert Path(rig.robot).resolve() == (tmp_path / file)
        assert (rig.base, rig.tip) == ("pedestal", "wrist")
        save_rig(rig, "desk")
        assert tomllib.loads(path.read_text())["robot"] == written
        _assert_equal(load_rig("desk"), rig)


def test_a_new_rig_names_its_urdf_so_that_the_working_directory_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "desk").mkdir()
    (tmp_path / "desk" / "arm.urdf").touch()
    (tmp_path / "other.urdf").touch()
    monkeypatch.chdir(tmp_path)
    for robot, written in (
        ("desk/arm.urdf", "arm.urdf"),
        ("other.urdf", str(tmp_path / "other.urdf")),
        ("panda", "panda"),
        ("gone.urdf", "gone.urdf"),
    ):
        save_rig(Rig(robot=robot), "desk")
        assert tomllib.loads((tmp_path / "desk" / "rig.toml").read_text())["robot"] == written


@pytest.mark.parametrize(
    ("where", "value", "key"),
    [
        ("robot", None, "robot"),
        ("robot", 7, "robot"),
        ("mount", "ceiling", "mount"),
        ("mount", ["eye_to_hand"], "mount"),
        ("mount", "eye_in_hand", "T_base_camera"),
        ("T_base_camera", [1, 2, 3], "T_base_camera"),
        ("T_base_camera.translation", [1, 2], "T_base_camera.translation"),
        ("T_base_camera.translation", "here", "T_base_camera.translation"),
        ("T_base_camera.translation", [float("nan"), 0, 0], "T_base_camera.translation"),
        ("T_base_camera.rotation_xyzw", [0, 0, 0, 2], "T_base_camera.rotation_xyzw"),
        ("T_base_camera.rotation_xyzw", [0, 0, 1], "T_base_camera.rotation_xyzw"),
        ("T_base_camera.covariance", [[1, 0], [0, 1]], "T_base_camera.covariance"),
        ("T_base_camera.rotation_wxyz", [1, 0, 0, 0], "T_base_camera.rotation_xyzw"),
        ("T_flange_tool.translation", [0, 0, float("inf")], "T_flange_tool.translation"),
        ("T_tag_target.rotation_xyzw", "up", "T_tag_target.rotation_xyzw"),
        ("T_flange_tol", {}, "T_flange_tool"),
        ("tags", "36h11", "tags"),
        ("tags.default_size_mm", 0, "tags.default_size_mm"),
        ("tags.default_size_mm", float("nan"), "tags.default_size_mm"),
        ("tags.default_size_mm", "40", "tags.default_size_mm"),
        ("tags.size_mm", 40, "tags.size_mm"),
        ("tags.sizes_mm", 40, "tags.sizes_mm"),
        ("tags.sizes_mm.7", -60, "tags.sizes_mm.7"),
        ("tags.sizes_mm.seven", 60, "tags.sizes_mm.seven"),
        ("boards", [1], "boards"),
        ("boards.desk", "charuco", "boards.desk"),
        ("boards.desk.kind", "checkerboard", "boards.desk"),
        ("boards.desk.rows", None, "boards.desk.*rows"),
        ("boards.desk.rows", "5", "boards.desk"),
        ("boards.desk.square_mm", 40, "boards.desk.square_m"),
        ("boards.desk.marker_m", 0.05, "boards.desk"),
        ("intrinsics", 5, "intrinsics"),
        ("intrinsics", "nowhere.yaml", "intrinsics.*nowhere.yaml"),
        ("provenance", "yesterday", "provenance"),
        ("robot", "", "robot: it must be the name of a robot, or the path of a URDF, in quotes"),
        ("base", 5, "base: it must be text in quotes, not 5"),
        ("tip", True, "tip: it must be text in quotes"),
        ("robot_hash", 5, "robot_hash: it must be text"),
        ("mount", ["eye_to_hand"], "mount: it must be eye_to_hand or eye_in_hand"),
        ("intrinsics", 3, "intrinsics: it must be text in quotes, not 3"),
        ("T_base_camera.translation", "here", "it must be a list of 3 numbers, not 'here'"),
        ("T_base_camera.translation", [1, 2, "3"], "it must be a finite number, not '3'"),
        ("T_base_camera.rotation_xyzw", "up", "it must be a list of 4 numbers"),
        ("T_base_camera.covariance", "large", "it must be a list of 6 rows"),
        ("T_base_camera.covariance", [[1.0, 2.0]] * 6, "covariance: it must be a list of 6 numbers"),
        ("T_base_camera.covariance", (-np.eye(6)).tolist(), "covariance.*positive semi-definite"),
        ("T_base_camera.covariance", np.triu(np.ones((6, 6))).tolist(), "covariance.*symmetric"),
        ("tags.family", 36, "tags.family: it must be the name of a family in quotes, not 36"),
        ("tags.sizes_mm.-7", 60, "tags.sizes_mm.-7: the id of a tag is a whole number from 0 up, not '-7'"),
        ("tags.sizes_mm.seven", 60, "whole number from 0 up, not 'seven'"),
        ("boards.desk.columns", "7", "boards.desk.columns: it must be a whole number, not '7'"),
        ("boards.desk.columns", True, "boards.desk.columns: it must be a whole number"),
        ("boards.desk.legacy", 1, "boards.desk.legacy: it must be true or false"),
        ("boards.desk.kind", ["charuco"], "kind must be one of charuco, tag_grid"),
        ("workspace", 3, "workspace: it must be a table"),
        ("workspace.lower", [0, 0], "workspace.lower: it must be a list of 3 numbers"),
        ("workspace.upper", None, "workspace.upper: it must be a list of 3 numbers, not None"),
        ("workspace.upper", [1, 1, -9], "workspace: The lower corner"),
        ("workspace.middle", [0, 0, 0], "workspace.middle is not a known key"),
    ],
)
def test_a_malformed_rig_is_refused_by_the_name_of_the_key(tmp_path: Path, where: str, value: Any, key: str) -> None:
    path = save_rig(_rig(), tmp_path)
    document: Any = tomllib.loads(path.read_text())
    *tables, last = where.split(".")
    table = document
    for name in tables:
        table = table[name]
    if value is None:
        del table[last]
    else:
        table[last] = value
    path.write_text(tomlkit.dumps(document))
    with pytest.raises(ConfigError, match=key) as caught:
        load_rig(tmp_path)
    assert str(path) in caught.value.cause
    assert caught.value.cause.endswith((".", "?"))
    assert not _PYTHON_TALK.search(caught.value.cause)
    assert caught.value.remedy.endswith(".")


@pytest.mark.parametrize("content", [b"robot = panda", b"\xff\xfe", b"[[["])
def test_what_is_not_toml_is_refused_by_its_path(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rig.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="not TOML") as caught:
        load_rig(tmp_path)
    assert str(path) in caught.value.cause


def test_a_rig_that_is_not_there_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file") as caught:
        load_rig(tmp_path / "nowhere")
    assert "rig.toml" in caught.value.remedy
