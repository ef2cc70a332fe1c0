"""Views in the formats of other software: what they mean, and what is said of files that are not right."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from calibration_photos import make_photographs
from calibration_stage import BOARD, make_stage

from calibration import calibrate_hand_eye_poses, read_observations, read_pose_pairs
from calibration.files.contents import PosePairs
from calibration.files.formats import find_views
from calibration.files.observations import described_board
from calibration.files.samples import moveit_samples
from calibration.files.tabb import write_robot_cali
from vision_ik.errors import ConfigError, InvalidPoseError, VisionIkError
from vision_ik.transforms import Transform
from vision_ik.types import CharucoBoard, Chessboard, Floats

BOARD_YAML = {
    "type": "CharucoGridTargetFinder",
    "cols": 7,
    "rows": 5,
    "chessboard_dim": 0.03,
    "aruco_marker_dim": 0.022,
    "dictionary": 0,
}


def pose_table(T: Transform) -> dict[str, float]:
    return dict(zip(("x", "y", "z", "qx", "qy", "qz", "qw"), [*T.translation, *T.rotation_xyzw], strict=True))


def plain(table: dict[str, float]) -> dict[str, float]:
    return {key: float(value) for key, value in table.items()}


def write_industrial(folder: Path, poses: Sequence[Transform], pictures: Sequence[np.ndarray], **facts: Any) -> Path:
    (folder / "images").mkdir()
    (folder / "poses").mkdir()
    for i, (pose, picture) in enumerate(zip(poses, pictures, strict=True)):
        cv2.imwrite(str(folder / f"images/{i}.png"), picture)
        (folder / f"poses/{i}.yaml").write_text(yaml.safe_dump(plain(pose_table(pose))))
    data = [{"image": f"images/{i}.png", "pose": f"poses/{i}.yaml"} for i in range(len(poses))]
    document = {"data": data, "target_finder": BOARD_YAML, "static_camera": True, **facts}
    file = folder / "cal_data.yaml"
    file.write_text(yaml.safe_dump(document))
    return file


def pairs_of(mount: str, rng: np.random.Generator, n: int = 8) -> tuple[PosePairs, Transform]:
    """Return pairs without noise and T_mount_camera."""
    stage = make_stage(rng, "eye_in_hand" if mount == "eye_in_hand" else "eye_to_hand", n)
    flanges = [view.flange for view in stage.views]
    arms = [T if mount == "eye_to_hand" else T.inv() for T in flanges]
    boards = [stage.T_mount_camera.inv() @ arm @ stage.T_holder_board for arm in arms]
    return (
        PosePairs(
            names=tuple(str(i) for i in range(n)),
            Ts_base_flange=np.array([T.matrix for T in flanges]),
            Ts_camera_board=np.array([T.matrix for T in boards]),
        ),
        stage.T_mount_camera,
    )


def blank(count: int) -> list[np.ndarray]:
    return [np.full((48, 64, 3), 128, dtype=np.uint8)] * count


def test_an_industrial_data_set_tells_board_mount_lens_and_flange_poses(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    stage, frames = make_photographs(rng, 3)
    lens = {"fx": 600.0, "fy": 601.0, "cx": 322.0, "cy": 237.0}
    write_industrial(tmp_path, [v.flange for v in stage.views], [f.image for f in frames], intrinsics=lens)
    read = read_observations(tmp_path)
    assert (read.mount, read.board, len(read.views)) == ("eye_to_hand", BOARD, 3)
    assert read.lens is not None
    assert (read.lens.K[1, 1], read.lens.width) == (601.0, 640)
    for view, true in zip(read.views, stage.views, strict=True):
        assert view.flange.distance_to(true.flange)[0] < 1e-12
        assert len(view.detection.points_image) >= 20


@pytest.mark.parametrize(("static", "mount"), [(False, "eye_in_hand"), (True, "eye_to_hand")])
def test_a_static_camera_is_eye_to_hand(static: bool, mount: str, tmp_path: Path) -> None:
    write_industrial(tmp_path, [Transform.identity()], blank(1), static_camera=static)
    read = read_observations(tmp_path)
    assert (read.mount, read.unseen) == (mount, ("images/0.png",))


def test_a_missing_pose_or_an_unknown_target_of_an_industrial_data_set_is_named(tmp_path: Path) -> None:
    file = write_industrial(tmp_path, [Transform.identity()] * 2, blank(2))
    document = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump(document | {"target_finder": {"type": "ModifiedCircleGridTargetFinder"}}))
    with pytest.raises(ConfigError, match="ModifiedCircleGridTargetFinder"):
        read_observations(tmp_path)
    (tmp_path / "poses/1.yaml").write_text("x: 1.0\n")
    with pytest.raises(ConfigError, match=r"1\.yaml lacks the key 'y'"):
        read_observations(tmp_path)
    (tmp_path / "poses/1.yaml").unlink()
    with pytest.raises(ConfigError, match=r"poses/1\.yaml, which is not there, for the picture images/1\.png"):
        read_observations(tmp_path)
    del document["data"][1]["pose"]
    file.write_text(yaml.safe_dump(document))
    with pytest.raises(ConfigError, match="entry 1 of data has no pose"):
        read_observations(tmp_path)


def test_a_quaternion_that_is_not_normalised_is_refused_with_its_view(tmp_path: Path) -> None:
    write_industrial(tmp_path, [Transform.identity()], blank(1))
    (tmp_path / "poses/0.yaml").write_text(
        yaml.safe_dump({"x": 0.1, "y": 0.0, "z": 0.2} | dict.fromkeys(QUATERNION, 0.9))
    )
    with pytest.raises(InvalidPoseError, match=r"images/0\.png.*not a unit quaternion"):
        read_observations(tmp_path)


QUATERNION = ("qx", "qy", "qz", "qw")


def write_tabb(folder: Path, poses: Sequence[Transform], numbers: Sequence[int]) -> None:
    (folder / "images").mkdir()
    for number in numbers:
        cv2.imwrite(str(folder / f"images/image{number}.png"), blank(1)[0])
    (folder / "robot_cali.txt").write_text(write_robot_cali(list(poses)))
    (folder / "calibration_object.txt").write_text(
        "chess_mm_height 28.5\nchess_mm_width 28.5\nchess_height 6\nchess_width 8\n"
    )


def test_a_robot_cali_holds_the_base_seen_from_the_hand_in_millimetres(tmp_path: Path) -> None:
    # As published: B maps base to hand, so a hand 0.5 m above the base sees the base 500 mm away.
    (tmp_path / "robot_cali.txt").write_text("1\n1 0 0 0\n0 -1 0 0\n0 0 -1 500\n0 0 0 1\n")
    cv2.imwrite(str(tmp_path / "image0.png"), blank(1)[0])
    (tmp_path / "calibration_object.txt").write_text(
        "chess_mm_height 28.5 chess_mm_width 28.5 chess_height 6 chess_width 8"
    )
    assert described_board(tmp_path) == Chessboard(columns=9, rows=7, square_m=0.0285)
    found = find_views(tmp_path)
    contents: Any = found.known.read(found.file, found.document, None)
    assert contents.mount == "eye_in_hand"
    np.testing.assert_allclose(contents.pictures[0].T_base_flange.translation, [0.0, 0.0, 0.5], atol=1e-12)


def test_poses_of_a_robot_cali_belong_to_the_pictures_of_their_number(tmp_path: Path, rng: np.random.Generator) -> None:
    poses = [view.flange for view in make_stage(rng, "eye_in_hand", 12).views]
    write_tabb(tmp_path, poses, range(12))
    found = find_views(tmp_path)
    contents: Any = found.known.read(found.file, found.document, None)
    assert [picture.name for picture in contents.pictures][9:] == [f"images/image{i}.png" for i in (9, 10, 11)]
    assert contents.pictures[10].T_base_flange.distance_to(poses[10])[0] < 1e-12
    (tmp_path / "images/image3.png").unlink()
    with pytest.raises(ConfigError, match=r"12 poses, and .* 11 pictures"):
        found.known.read(found.file, found.document, None)
    numbered = {str(i): json.loads(json.dumps(np.eye(4).tolist())) for i in range(12)}
    (tmp_path / "robot_cali.txt").unlink()
    (tmp_path / "robot_cali.json").write_text(json.dumps(numbered))
    with pytest.raises(ConfigError, match="no picture with the number 3"):
        read_observations(tmp_path)


def test_a_robot_cali_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    write_tabb(tmp_path, [Transform.identity()] * 3, range(3))
    file = tmp_path / "robot_cali.txt"
    file.write_text(file.read_text().rsplit("\n", 3)[0])
    with pytest.raises(ConfigError, match="announces 3 poses of 16 numbers, and 40 numbers follow"):
        read_observations(tmp_path)


@pytest.mark.parametrize("style", ["json matrices", "json numbers", "yaml"])
def test_samples_of_moveit_calibrate(style: str, tmp_path: Path, rng: np.random.Generator) -> None:
    pairs, truth = pairs_of("eye_to_hand", rng)
    both = list(zip(pairs.Ts_base_flange, pairs.Ts_camera_board, strict=True))
    if style == "yaml":
        (tmp_path / "samples.yaml").write_text(yaml.safe_dump(moveit_samples(pairs)))
    else:
        samples = [[T.tolist() if style == "json matrices" else T.ravel().tolist() for T in pair] for pair in both]
        (tmp_path / "samples.json").write_text(json.dumps(samples))
    read = read_pose_pairs(tmp_path)
    assert read is not None
    result = calibrate_hand_eye_poses(read.Ts_base_flange, read.Ts_camera_board)
    assert result.T_mount_camera.distance_to(truth)[0] < 1e-6
    with pytest.raises(ConfigError, match="pairs of poses"):
        read_observations(tmp_path)


@pytest.mark.parametrize("mount", ["eye_in_hand", "eye_to_hand"])
@pytest.mark.parametrize("told", [True, False])
def test_samples_of_easy_handeye_mean_the_inverse_for_eye_on_base(
    mount: Any, told: bool, tmp_path: Path, rng: np.random.Generator
) -> None:
    pairs, truth = pairs_of(mount, rng)

    def message(T: Floats) -> dict[str, Any]:
        table = plain(pose_table(Transform(T)))
        return {
            "translation": {name: table[name] for name in "xyz"},
            "rotation": {name: table[f"q{name}"] for name in "xyzw"},
        }

    kind = {"eye_in_hand": "eye_in_hand", "eye_to_hand": "eye_on_base"}[mount]
    robots = [T if mount == "eye_in_hand" else Transform(T).inv().matrix for T in pairs.Ts_base_flange]
    samples = [
        {"robot": message(arm), "tracking": message(seen)}
        for arm, seen in zip(robots, pairs.Ts_camera_board, strict=True)
    ]
    document = {"parameters": {"calibration_type": kind if told else ""}, "samples": samples}
    file = tmp_path / "demo.samples"
    file.write_text(yaml.safe_dump(document))
    if not told:
        with pytest.raises(ConfigError, match="--mount eye_in_hand or --mount eye_to_hand"):
            read_pose_pairs(file)
    read = read_pose_pairs(file, mount=None if told else mount)
    assert read is not None
    assert read.mount == mount
    result = calibrate_hand_eye_poses(read.Ts_base_flange, read.Ts_camera_board, mount=mount)
    assert result.T_mount_camera.distance_to(truth)[0] < 1e-6


def write_rows(file: Path, rows: Sequence[Sequence[object]]) -> Path:
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return file


def test_a_csv_says_by_its_header_what_is_where(tmp_path: Path) -> None:
    T = Transform.from_xyz_rpy([0.1, -0.2, 0.3], [0.3, -0.4, 0.5])
    x, y, z, w = T.rotation_xyzw
    rpy, turn = np.rad2deg([0.3, -0.4, 0.5]), T.log()[3:]
    headers: dict[str, list[object]] = {
        "qw,qx,qy,qz,x,y,z": [w, x, y, z, 0.1, -0.2, 0.3],
        "X_mm,Y_mm,Z_mm,Qx,Qy,Qz,Qw": [100, -200, 300, x, y, z, w],
        "x,y,z,roll_deg,pitch_deg,yaw_deg": [0.1, -0.2, 0.3, *rpy],
        "x [mm],y [mm],z [mm],rx_rad,ry_rad,rz_rad": [100, -200, 300, *turn],
        "image,x_m,y_m,z_m,rx_deg,ry_deg,rz_deg": ["a.png", 0.1, -0.2, 0.3, *np.rad2deg(turn)],
    }
    cv2.imwrite(str(tmp_path / "a.png"), blank(1)[0])
    for header, row in headers.items():
        found = find_views(write_rows(tmp_path / "poses.csv", [header.split(","), row]))
        contents: Any = found.known.read(found.file, found.document, None)
        assert contents.pictures[0].name == "a.png"
        metres, angle = contents.pictures[0].T_base_flange.distance_to(T)
        assert (metres < 1e-9, angle < 1e-9) == (True, True), header


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([[0.1, 0.2, 0.3, 0, 0, 0, 1]], "qx qy qz qw or as qw qx qy qz"),
        ([["x", "y", "z", "q0", "q1", "q2", "q3"], [0.1, 0.2, 0.3, 0, 0, 0, 1]], "where the scalar stands"),
        ([["x", "y", "z", "rx", "ry", "rz"], [0.1, 0.2, 0.3, 0, 0, 0]], "which unit"),
        ([["x", "y", "z", "qx", "qy", "qz"], [0.1, 0.2, 0.3, 0, 0, 0]], "lacks the key 'qw'"),
        ([["x", "y", "z", *QUATERNION], [0.1, 0.2, "?", 0, 0, 0, 1]], "z in row 2 is '.', no number"),
        ([["x", "y", "z", *QUATERNION], [0.1, 0.2, 0.3, 0, 0, 0]], "row 2 has 6 cells"),
        ([["x", "y", "z", *QUATERNION], *[[0.1, 0.2, 0.3, 0, 0, 0, 1]] * 3], "3 poses, and .* 1 pictures"),
    ],
)
def test_a_csv_that_leaves_something_open_is_refused(rows: list[list[object]], words: str, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), blank(1)[0])
    write_rows(tmp_path / "poses.csv", rows)
    with pytest.raises(ConfigError, match=words):
        read_observations(tmp_path, board=BOARD)


def test_a_csv_of_both_poses_calibrates(tmp_path: Path, rng: np.random.Generator) -> None:
    pairs, truth = pairs_of("eye_in_hand", rng)
    names = ["x", "y", "z", *QUATERNION]
    rows = [
        [*pose_table(Transform(arm)).values(), *pose_table(Transform(seen)).values()]
        for arm, seen in zip(pairs.Ts_base_flange, pairs.Ts_camera_board, strict=True)
    ]
    write_rows(tmp_path / "pairs.csv", [[*names, *(f"board_{name}" for name in names)], *rows])
    read = read_pose_pairs(tmp_path)
    assert read is not None
    result = calibrate_hand_eye_poses(read.Ts_base_flange, read.Ts_camera_board, mount="eye_in_hand")
    assert result.T_mount_camera.distance_to(truth)[0] < 1e-6


def test_a_folder_that_can_be_read_in_two_ways_or_in_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not there"):
        read_observations(tmp_path / "gone")
    (tmp_path / "measurements.yaml").write_text("a: 1\n")
    with pytest.raises(ConfigError, match=r"measurements\.yaml") as caught:
        read_observations(tmp_path)
    assert "cal_data.yaml" in caught.value.remedy
    with pytest.raises(ConfigError, match="a table of a"):
        read_observations(tmp_path / "measurements.yaml")
    write_industrial(tmp_path, [Transform.identity()], blank(1))
    (tmp_path / "samples.json").write_text(json.dumps([[np.eye(4).tolist()] * 2]))
    with pytest.raises(ConfigError, match=r"industrial_calibration \(cal_data.yaml\) and samples of MoveIt"):
        read_observations(tmp_path)
    (tmp_path / "poses.json").write_text('{"views": []}')
    with pytest.raises(VisionIkError, match="lacks the key 'image_size'"):
        read_observations(tmp_path)


def test_corners_beside_the_pictures_they_were_found_in_are_passed_over_with_a_word(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    stage = make_stage(rng, "eye_in_hand", 3)
    write_tabb(tmp_path, [view.flange for view in stage.views], range(3))
    views = [
        {"T_base_flange": view.flange.matrix.tolist(), "corners": view.detection.points_image.tolist()}
        for view in stage.views
    ]
    corners = tmp_path / "corners.json"
    corners.write_text(json.dumps({"image_size": [640, 480], "board": BOARD.chess_corners.tolist(), "views": views}))
    found = find_views(tmp_path)
    assert found.file.name == "robot_cali.txt"
    assert f"--from {corners}" in found.remark
    assert not find_views(corners).remark
    # Pictures of a board that nobody can look for: what was found in them is all there is.
    (tmp_path / "calibration_object.txt").write_text(
        "chess_mm_height 28.5 chess_mm_width 30 chess_height 6 chess_width 8"
    )
    read = read_observations(tmp_path)
    assert len(read.views) == 3
    assert "only squares are looked for" in read.remarks[0]
    # Nobody says which board the pictures show: either may be meant.
    (tmp_path / "calibration_object.txt").unlink()
    with pytest.raises(ConfigError, match="can be read as") as caught:
        read_observations(tmp_path)
    assert f"--from {corners} or --from {tmp_path / 'robot_cali.txt'}" in caught.value.remedy


def test_a_sample_without_its_partner_is_named(tmp_path: Path) -> None:
    (tmp_path / "samples.json").write_text(json.dumps([[np.eye(4).tolist()] * 2, [np.eye(4).tolist()]]))
    with pytest.raises(ConfigError, match="sample 1 holds 1 poses"):
        read_pose_pairs(tmp_path)
    (tmp_path / "samples.json").write_text(json.dumps([{"effector_wrt_world": list(range(16))}]))
    with pytest.raises(ConfigError, match="lacks the key 'object_wrt_sensor'"):
        read_pose_pairs(tmp_path)


def test_families_of_markers_go_by_number_and_by_name(tmp_path: Path) -> None:
    for dictionary, family in ((10, "6x6_250"), ("DICT_5X5_100", "5x5_100"), (20, "36h11")):
        folder = tmp_path / family
        folder.mkdir()
        write_industrial(
            folder, [Transform.identity()], blank(1), target_finder=BOARD_YAML | {"dictionary": dictionary}
        )
        board = described_board(folder)
        assert isinstance(board, CharucoBoard)
        assert board.family == family
