"""Where the camera is, to other software and back: the same pose, under the names of the other's frames."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from calibration_stage import LENS

from calibration.files.exchange import PLACEMENT_FORMATS, PlacementFormat, read_placement, write_placement
from calibration.files.placement import T_BODY_OPTICAL, T_mount_camera_of
from vision_ik.cameras import load_any_intrinsics
from vision_ik.cli.main import EXIT_ERROR, EXIT_OK, main
from vision_ik.errors import ConfigError, InvalidPoseError
from vision_ik.rig import Mount, Rig, load_rig, save_rig
from vision_ik.robots import RobotModel, load_robot
from vision_ik.transforms import Transform

T_MOUNT_CAMERA = Transform.from_xyz_rpy([0.12, -0.05, 0.31], [2.9, -0.3, 1.2])
SUFFIX = {"easy_handeye": ".yaml", "easy_handeye2": ".calib", "urdf": ".urdf", "xacro": ".xacro", "csv": ".csv"}


@pytest.fixture(scope="module")
def panda() -> RobotModel:
    return load_robot("panda")


def rig_of(mount: Mount) -> Rig:
    return Rig(
        robot="panda", mount=mount, T_mount_camera=T_MOUNT_CAMERA, camera_covariance=1e-8 * np.eye(6), intrinsics=LENS
    )


@pytest.mark.parametrize("mount", ["eye_in_hand", "eye_to_hand"])
@pytest.mark.parametrize("to", PLACEMENT_FORMATS)
def test_a_placement_survives_every_format(
    to: PlacementFormat, mount: Mount, tmp_path: Path, panda: RobotModel
) -> None:
    file = tmp_path / f"camera{SUFFIX.get(to, '.txt')}"
    file.write_text(write_placement(rig_of(mount), panda, to))
    read = read_placement(file)
    assert read is not None
    assert (read.parent, read.child) == (
        panda.tip if mount == "eye_in_hand" else panda.base,
        "camera_optical_frame",
    )
    carrier, T, remarks = T_mount_camera_of(read, panda)
    assert (carrier, remarks) == (mount, ())
    assert max(T.distance_to(T_MOUNT_CAMERA)) < 1e-9


@pytest.mark.parametrize("to", PLACEMENT_FORMATS)
def test_the_housing_is_placed_so_that_the_optical_frame_in_it_is_where_it_was(
    to: PlacementFormat, tmp_path: Path, panda: RobotModel
) -> None:
    T_link_optical = Transform.from_translation([0.0, 0.015, 0.002]) @ T_BODY_OPTICAL
    file = tmp_path / f"camera{SUFFIX.get(to, '.txt')}"
    text = write_placement(rig_of("eye_in_hand"), panda, to, link="camera_link", T_link_optical=T_link_optical)
    file.write_text(text)
    if to in ("urdf", "xacro"):
        read = read_placement(file)  # both joints: down to the optical frame
        assert read is not None
        assert max(read.T_parent_child.distance_to(T_MOUNT_CAMERA)) < 1e-9
    read = read_placement(file, child="camera_link" if to not in ("easy_handeye", "easy_handeye2") else "")
    assert read is not None
    assert read.child == "camera_link"
    assert max((read.T_parent_child @ T_link_optical).distance_to(T_MOUNT_CAMERA)) < 1e-9


def test_axes_of_the_body_frame_are_those_of_rep_103() -> None:
    # What is ahead of the camera is along its z and along x of its housing; right is x, and -y.
    np.testing.assert_allclose(T_BODY_OPTICAL.apply([0.0, 0.0, 1.0]), [1.0, 0.0, 0.0], atol=1e-15)
    np.testing.assert_allclose(T_BODY_OPTICAL.apply([1.0, 0.0, 0.0]), [0.0, -1.0, 0.0], atol=1e-15)
    assert T_BODY_OPTICAL.distance_to(Transform.from_xyz_rpy(np.zeros(3), [-np.pi / 2, 0.0, -np.pi / 2]))[1] < 1e-12


EASY_2 = """\
parameters:
  name: demo
  calibration_type: eye_on_base
  robot_base_frame: panda_link0
  robot_effector_frame: panda_link8
  tracking_base_frame: camera_color_optical_frame
  tracking_marker_frame: marker
  freehand_robot_movement: true
  move_group_namespace: /
  move_group: manipulator
transform:
  translation: {x: 0.5, y: 0.1, z: 0.8}
  rotation: {x: 1.0, y: 0.0, z: 0.0, w: 0.0}
"""
EASY_1 = """\
parameters:
  eye_on_hand: true
  freehand_robot_movement: false
  move_group: manipulator
  move_group_namespace: /
  namespace: /desk_eye_on_hand/
  robot_base_frame: panda_link0
  robot_effector_frame: panda_hand
  tracking_base_frame: camera_link
  tracking_marker_frame: marker
transformation: {qw: 1.0, qx: 0.0, qy: 0.0, qz: 0.0, x: 0.05, y: 0.0, z: 0.02}
"""
LAUNCH = """\
<launch>
<node pkg="tf2_ros" type="static_transform_publisher" name="camera_link_broadcaster"
      args="0.5 0.1 0.8   1 0 0 0 panda_link0 camera_optical_frame" />
</launch>
"""
PYTHON = """\
Node(package='tf2_ros', executable='static_transform_publisher',
     arguments=['--x', '0.5', '--y', '0.1', '--z', '0.8', '--roll', '3.141592653589793',
                '--frame-id', 'panda_link0', '--child-frame-id', 'camera_optical_frame'])
"""
OLD_LINE = "rosrun tf static_transform_publisher 0.5 0.1 0.8 0 0 3.141592653589793 panda_link0 camera_optical 100\n"
SNIPPET = """\
<link name="camera_link"/>
<joint name="a" type="fixed"><parent link="panda_link0"/><child link="camera_link"/>
  <origin xyz="0.5 0.1 0.8" rpy="0 1.5707963267948966 0"/></joint>
<joint name="b" type="fixed"><parent link="camera_link"/><child link="my_optical_frame"/>
  <origin rpy="-1.5707963267948966 0 -1.5707963267948966"/></joint>
"""


@pytest.mark.parametrize(
    ("name", "text", "z_of_camera"),
    [
        ("a.calib", EASY_2, [0, 0, -1]),
        ("a.launch", LAUNCH, [0, 0, -1]),
        ("a.launch.py", PYTHON, [0, 0, -1]),
        ("a.sh", OLD_LINE, [0, 0, -1]),
        ("a.urdf", SNIPPET, [0, 0, -1]),
    ],
)
def test_files_as_others_write_them_are_read(
    name: str, text: str, z_of_camera: list[float], tmp_path: Path, panda: RobotModel
) -> None:
    (tmp_path / name).write_text(text)
    read = read_placement(tmp_path / name)
    assert read is not None
    mount, T, _ = T_mount_camera_of(read, panda)
    assert mount == "eye_to_hand"
    np.testing.assert_allclose(T.translation, [0.5, 0.1, 0.8], atol=1e-12)
    np.testing.assert_allclose(T.rotation[:, 2], z_of_camera, atol=1e-9)


def test_a_link_that_is_fixed_to_the_flange_is_carried_over_to_it(tmp_path: Path, panda: RobotModel) -> None:
    (tmp_path / "a.yaml").write_text(EASY_1)
    read = read_placement(tmp_path / "a.yaml")
    assert read is not None
    with pytest.raises(ConfigError, match=r"'camera_link'.*may be the optical one"):
        T_mount_camera_of(read, panda)
    mount, T, remarks = T_mount_camera_of(replace(read, child="optical", parent="panda_link7"), panda)
    links = panda.link_transforms(panda.home)
    T_base_parent, T_base_flange = Transform(links["panda_link7"]), Transform(panda.forward(panda.home))
    expected = T_base_flange.inv() @ T_base_parent @ read.T_parent_child
    assert (mount, remarks) == ("eye_in_hand", ())
    assert max(T.distance_to(expected)) < 1e-9
    _, T, remarks = T_mount_camera_of(replace(read, parent="somebodys_flange"), panda, frame="body")
    assert max(T.distance_to(read.T_parent_child @ T_BODY_OPTICAL)) < 1e-12
    assert "somebodys_flange is taken for" in remarks[-1]
    with pytest.raises(ConfigError, match="no link that is fixed"):
        T_mount_camera_of(replace(read, mount=None, parent="panda_link3", child="optical"), panda)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        (EASY_2.replace("w: 0.0", "w: 0.5"), InvalidPoseError, "not a unit quaternion"),
        (EASY_2.replace("w: 0.0", "q: 0.5"), ConfigError, "rotation.q is not a known key"),
        (EASY_2.replace("eye_on_base", "eye_on_foot"), ConfigError, "eye_on_foot"),
        (EASY_2.replace("  tracking_base_frame", "  traking_base_frame"), ConfigError, "did you mean"),
        (EASY_1.replace("qw: 1.0, ", ""), ConfigError, "lacks the key 'qw'"),
        ("static_transform_publisher 0 0 0 0 0 base cam", ConfigError, "5 numbers and 2 words"),
        (LAUNCH + LAUNCH.replace("camera_optical_frame", "other"), ConfigError, "publishes 2 static transforms"),
        (SNIPPET.replace("0.5 0.1 0.8", "${x} 0.1 0.8"), ConfigError, "expressions of xacro"),
        (SNIPPET.replace("</joint>", ""), ConfigError, "no well-formed XML"),
        (SNIPPET.replace("my_optical_frame", "camera"), ConfigError, "2 frames that may be the camera's"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(text: str, error: Any, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(error, match=words):
        read_placement(tmp_path / "a.yaml")


def test_the_command_line_exports_and_imports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_rig(replace(rig_of("eye_in_hand"), provenance={"owner": "x", "calibrated": "2026"}), tmp_path / "a")
    words = ["--rig", str(tmp_path / "a"), "--to"]
    assert main(["calibrate", "export", *words, "easy_handeye2"]) == EXIT_OK
    printed = capsys.readouterr()
    assert yaml.safe_load(printed.out)["parameters"]["robot_effector_frame"] == "panda_link8"
    assert "± 0.17 mm" in printed.err
    file = tmp_path / "out" / "camera.urdf"
    assert main(["calibrate", "export", *words, "urdf", "--link", "camera_link", "--out", str(file)]) == EXIT_OK
    said = "".join(capsys.readouterr().err.split())
    assert f"vision-ikcalibrateimport{file}--childcamera_link--camera-framebody" in said
    housing = ["--rig", str(tmp_path / "c"), "--robot", "panda", "--child", "camera_link", "--camera-frame", "body"]
    assert main(["calibrate", "import", str(file), *housing]) == EXIT_OK
    placed = load_rig(tmp_path / "c").T_mount_camera
    assert placed is not None
    assert max(placed.distance_to(T_MOUNT_CAMERA)) < 1e-9
    capsys.readouterr()
    assert (
        main(["calibrate", "import", str(file), "--rig", str(tmp_path / "b"), "--robot", "panda", "--json"]) == EXIT_OK
    )
    printed = capsys.readouterr()
    assert json.loads(printed.out)["covariance"] is None
    assert "no covariance" in printed.err
    rig = load_rig(tmp_path / "b")
    assert rig.T_mount_camera is not None
    assert (rig.mount, rig.camera_covariance) == ("eye_in_hand", None)
    assert max(rig.T_mount_camera.distance_to(T_MOUNT_CAMERA)) < 1e-9
    assert rig.provenance["hand_eye"]["format"] == "URDF"
    # An old calibration's own facts would be wrong beside an imported place; the rig before is kept.
    assert main(["calibrate", "import", str(file), "--rig", str(tmp_path / "a")]) == EXIT_OK
    rig = load_rig(tmp_path / "a")
    assert ("owner" in rig.provenance, "calibrated" in rig.provenance) == (True, False)
    kept = load_rig(tmp_path / "a" / "calibration" / "history" / "0001")
    assert kept.camera_covariance is not None


@pytest.mark.parametrize(("to", "name"), [("ros", "c.yaml"), ("opencv", "c.yml"), ("kalibr", "camchain.yaml")])
def test_a_lens_survives_every_format(to: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lens = replace(LENS, distortion=LENS.distortion[:4])
    save_rig(replace(rig_of("eye_to_hand"), intrinsics=lens), tmp_path / "a")
    file = tmp_path / name
    assert main(["calibrate", "export", "--rig", str(tmp_path / "a"), "--to", to, "--out", str(file)]) == EXIT_OK
    rig = ["--rig", str(tmp_path / "b"), "--robot", "panda"]
    assert main(["calibrate", "import", str(file), *rig]) == EXIT_OK
    read = load_any_intrinsics(tmp_path / "b" / "camera.yaml", size=(640, 480))
    np.testing.assert_allclose(read.K, lens.K)
    np.testing.assert_allclose(np.resize(read.distortion, 4), lens.distortion, atol=1e-12)
    assert "lens" in capsys.readouterr().err


def test_what_cannot_be_exported_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_rig(Rig(robot="panda"), tmp_path)
    for to, words in (("csv", "does not know where its camera is"), ("ros", "knows no lens")):
        assert main(["calibrate", "export", "--rig", str(tmp_path), "--to", to]) == EXIT_ERROR
        assert words in capsys.readouterr().err
    save_rig(rig_of("eye_in_hand"), tmp_path)
    inside = ["--link-optical", *"000000"]
    assert main(["calibrate", "export", "--rig", str(tmp_path), "--to", "csv", *inside]) == EXIT_ERROR
    assert "--link" in capsys.readouterr().err
