"""The verb run: pictures from outside move a simulated arm, and every step is kept."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from vision_ik.camera_info import save_intrinsics
from vision_ik.cli.main import main
from vision_ik.cli.run import Options
from vision_ik.cli.setting import open_setting, workspace_of
from vision_ik.cli.virtual_rig import approach_from_front, first_tag_pose, place_first_tag, reach_of
from vision_ik.clock import VirtualClock
from vision_ik.files import claimed_folder
from vision_ik.ik import load_solver
from vision_ik.rig import Rig, save_rig
from vision_ik.robots import load_robot
from vision_ik.tags import TagDetector, estimate_pose, render_marker
from vision_ik.testing import FakeCamera, blank_frame
from vision_ik.transforms import Transform
from vision_ik.types import CameraIntrinsics, Frame, Image

pytest.importorskip("pybullet", reason="PyBullet has no wheel for this Python")
pytest.importorskip("open3d")


def _picture(*ids: int) -> Image:
    """Return a 640x480 picture of upright tags in a row, as if straight before the camera."""
    picture = np.full((480, 640, 3), 200, np.uint8)
    for i, tag_id in enumerate(ids):
        tag = cv2.copyMakeBorder(render_marker("36h11", tag_id, cell_px=12), 24, 24, 24, 24, 0, value=(255,))
        x = 40 + i * 200
        picture[160 : 160 + tag.shape[0], x : x + tag.shape[1]] = tag[..., None]
    return picture


def _rows(out: Path) -> list[dict[str, str]]:
    with (out / "commands.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_arm_visits_every_tag_of_a_picture_and_says_what_was_assumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("tags.png", _picture(3, 7))
    assert main(["run", "tags.png", "--size-mm", "60", "--hold-s", "2.5", "--speed", "1", "--out", "out"]) == 0
    metrics = json.loads(Path("out/metrics.json").read_text())
    assert [target["target"] for target in metrics["targets"]] == ["tag 3", "tag 7"]
    assert all(target["closest_mm"] < 1.0 for target in metrics["targets"])
    assert len(metrics["approximate"]) == 2  # the lens and the camera's place; the size was given
    assert "approximate" in capsys.readouterr().err

    rows = _rows(Path("out"))
    assert {row["target"] for row in rows if row["target"]} == {"tag 3", "tag 7"}
    q = np.array([[float(row[f"q_command_panda_joint{i}"]) for i in range(1, 8)] for row in rows])
    robot = load_robot("panda")
    assert ((q >= robot.lower) & (q <= robot.upper)).all()
    # 12 digits in the file and 10 ms ticks: the speed between two rows can be checked against the limit.
    assert (np.abs(np.diff(q, axis=0)) <= robot.velocity * 0.0101).all()

    lines = [json.loads(line) for line in Path("out/detections.jsonl").read_text().splitlines()]
    assert [tag["id"] for tag in lines[0]["tags"]] == [3, 7]
    for tag in lines[0]["tags"]:  # the distance is no better known than the guessed lens
        assert 0.2 < np.linalg.norm(tag["sigma"][:3]) / tag["T_camera_tag"]["translation_m"][2] < 0.4
    with av.open("out/run.mp4") as video:
        assert sum(1 for _ in video.decode(video=0)) == len(lines) == metrics["frames"]
    page = Path("out/report.html").read_text()
    assert "Approximate" in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_a_picture_without_tags_moves_nothing_and_exits_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("empty.png", _picture())
    assert main(["run", "empty.png", "--hold-s", "0.5", "--out", "out"]) == 1
    assert "no tag of family 36h11" in capsys.readouterr().err
    rows = _rows(Path("out"))
    assert {row["state"] for row in rows} == {"idle"}
    assert len({row["q_command_panda_joint1"] for row in rows}) == 1


def test_a_video_is_followed_from_its_first_tag_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with av.open("clip.mp4", "w") as clip:
        stream = clip.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        for k in range(25):
            picture = _picture() if k < 5 else np.roll(_picture(5), 2 * (k - 5), axis=1)
            clip.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        clip.mux(stream.encode(None))
    assert main(["run", "clip.mp4", "--size-mm", "60", "--speed", "1", "--out", "out"]) == 0
    metrics = json.loads(Path("out/metrics.json").read_text())
    assert metrics["frames"] == 25
    assert metrics["frames_with_tags"] == 20
    assert metrics["targets"][0]["closest_mm"] < 5.0


def test_a_simulated_scene_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["run", "sim:tabletop", "--seconds", "2.5", "--out", "out"]) == 0
    metrics = json.loads(Path("out/metrics.json").read_text())
    assert metrics["approximate"] == []
    assert metrics["targets"][0]["closest_mm"] < 5.0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["missing.png"], "There is no file, folder or camera"),
        (["photo.png", "--family", "37h99"], "37h99"),
        (["photo.png", "--robot", "pandaa"], "panda"),
        (["photo.png", "--rig", "nowhere"], "rig.toml"),
        (["photo.png", "--intrinsics", "lens.yaml"], "lens.yaml"),
        (["photo.png", "--size-mm", "-3"], "--size-mm"),
        (["photo.png", "--speed", "2"], "--speed"),
        (["cut.png"], "cut.png"),
        (["sim:moon"], "moon"),
        (["sim:tabletop", "--family", "25h9"], "--family"),
    ],
)
def test_what_cannot_be_run_is_one_sentence_and_a_remedy(
    words: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("photo.png", _picture(1))
    Path("cut.png").write_bytes(Path("photo.png").read_bytes()[:300])
    assert main(["run", *words, "--out", "out"]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert "help:" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("name", ["panda", "fr3", "ur5e", "ur10e", "iiwa14", "xarm6", "xarm7", "gen3"])
def test_the_first_tag_of_a_virtual_rig_can_be_reached_by_every_arm(name: str) -> None:
    robot = load_robot(name)
    T_base_target = first_tag_pose(reach_of(robot)) @ approach_from_front(0.1)
    assert load_solver(robot).solve(T_base_target, q_start=robot.home).converged


def test_a_virtual_rig_sees_the_first_tag_where_it_was_put() -> None:
    lens = CameraIntrinsics.from_field_of_view(640, 480)
    frame = Frame(image=_picture(2), timestamp=0.0, index=0, intrinsics=lens)
    (detection,) = TagDetector().detect(frame)
    pose = estimate_pose(detection, 0.06, lens)
    rig = place_first_tag(Rig(robot="panda"), pose, 0.9)
    assert rig.T_mount_camera is not None
    metres, radians = (rig.T_mount_camera @ pose.T_camera_tag).distance_to(first_tag_pose(0.9))
    assert metres < 1e-12
    assert radians < 1e-12


def test_tags_that_share_an_id_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("tags.png", _picture(3, 7, 7))
    main(["run", "tags.png", "--size-mm", "60", "--hold-s", "0.4", "--out", "out"])
    said = " ".join(capsys.readouterr().err.split())
    assert "Several tags with id 7 were seen at once" in said
    assert "with id 3" not in said
    assert "with id 7" in Path("out/report.html").read_text()
    assert set(json.loads(Path("out/metrics.json").read_text())["tags_sharing_an_id"]) == {"7"}


def test_tags_that_nobody_said_the_size_of_are_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("tags.png", _picture(3, 7))
    lens = CameraIntrinsics.from_field_of_view(640, 480)
    rig = Rig(robot="panda", T_mount_camera=Transform.identity(), intrinsics=lens, tag_sizes={7: 0.06})
    save_rig(rig, tmp_path / "desk")
    main(["run", "tags.png", "--rig", "desk", "--hold-s", "0.2", "--out", "out"])
    said = " ".join(capsys.readouterr().err.split())
    assert "does not know how large tag 3 is, so it cannot be followed: give --size-mm" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", "tags.png"], "tags.png is not a folder: a file has that name. help: Name a folder"),
        (["--out", "taken"], "Another run is writing into taken."),
        (["--out", "new", "--intrinsics", "taken"], "taken is a folder, and a lens is a file"),
    ],
)
def test_what_a_run_cannot_use_is_said_before_it_starts(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("tags.png", _picture(3))
    with claimed_folder("taken") as taken:
        (taken / "run.partial.mp4").touch()
        assert main(["run", "tags.png", "--hold-s", "0.2", *words]) == 2
        assert [path.name for path in taken.iterdir()] == ["run.partial.mp4"]
    assert said in " ".join(capsys.readouterr().err.split())
    assert not Path("new").exists()


class _Talker(FakeCamera):
    """Says one thing when it is opened, and another one later."""

    remarks: tuple[str, ...] = ("it is a fake",)


def test_what_a_camera_says_later_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    camera = _Talker([blank_frame(0.0)], clock=VirtualClock())
    with open_setting(Options(source="0")) as setting:
        setting.tell(camera)
        camera.remarks = (*camera.remarks, "it came back")
        setting.tell(camera)
        setting.tell(camera)
    said = capsys.readouterr().err
    assert said.count("it is a fake") == said.count("it came back") == 1


def test_a_picture_that_cannot_be_read_does_not_cost_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pictures").mkdir()
    for name, tag_id in (("a.png", 1), ("b.png", 2), ("c.png", 3)):
        cv2.imwrite(f"pictures/{name}", _picture(tag_id))
    Path("pictures/b.png").write_bytes(Path("pictures/b.png").read_bytes()[:400])
    assert main(["run", "pictures", "--size-mm", "60", "--hold-s", "0.4", "--out", "out"]) == 2
    said = capsys.readouterr().err
    assert "b.png" in said
    assert "picture 3" in said
    assert set(json.loads(Path("out/metrics.json").read_text())["tags_seen"]) == {"1", "3"}


def test_a_video_that_breaks_off_stops_the_arm_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with av.open("whole.mp4", "w", options={"movflags": "+faststart"}) as clip:
        stream = clip.add_stream("libx264", rate=10, options={"g": "5", "crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        noise = np.random.default_rng(0).integers(0, 12, (480, 640, 3), dtype=np.uint8)
        for k in range(20):
            darker = np.clip(_picture(5).astype(np.int64) - noise, 0, 255).astype(np.uint8)
            picture = np.roll(darker, 4 * k, axis=1)
            clip.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        clip.mux(stream.encode(None))
    whole = Path("whole.mp4").read_bytes()
    Path("cut.mp4").write_bytes(whole[: int(0.7 * len(whole))])
    assert main(["run", "cut.mp4", "--size-mm", "60", "--out", "out"]) == 2
    said = capsys.readouterr().err
    assert "The arm was stopped." in said
    assert "✗" in said
    metrics = json.loads(Path("out/metrics.json").read_text())
    assert metrics["stopped_by"]["reason"]
    rows = _rows(Path("out"))
    assert rows[-1]["state"] == "stopped"
    assert max(abs(float(rows[-1][f"dq_command_panda_joint{i}"])) for i in range(1, 8)) < 1e-6


def test_every_output_says_that_it_is_approximate_when_anything_was_assumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("tag.png", _picture(1))
    lens = CameraIntrinsics.from_field_of_view(640, 480)
    save_intrinsics(CameraIntrinsics(K=lens.K, width=640, height=480), "lens.yaml")
    words = ["run", "tag.png", "--size-mm", "60", "--intrinsics", "lens.yaml", "--hold-s", "0.3", "--out", "out"]
    assert main(words) == 0  # only the camera's place is assumed
    assert {row["approximate"] for row in _rows(Path("out"))} == {"1"}
    assert json.loads(Path("out/detections.jsonl").read_text().splitlines()[0])["approximate"] is True
    assert main(["run", "sim:tabletop", "--seconds", "0.3", "--out", "sim"]) in (0, 1)
    assert {row["approximate"] for row in _rows(Path("sim"))} == {"0"}


def test_the_tool_stays_above_the_plane_of_the_base() -> None:
    robot = load_robot("panda")
    box = workspace_of(Rig(robot="panda"), robot)
    assert (box.excess(np.array([0.4, 0.0, 0.3])) == 0).all()
    assert box.excess(np.array([0.4, 0.0, -0.01]))[2] < 0
    own = workspace_of(Rig(robot="panda", workspace=(np.array([0, 0, 0.1]), np.ones(3))), robot)
    assert own.excess(np.array([0.4, 0.2, 0.05]))[2] < 0
