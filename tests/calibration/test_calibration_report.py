"""The page about a calibration: what is on it, and that its numbers mean what it says."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from calibration_stage import LENS, MOUNTS, make_stage

from calibration import calibrate_hand_eye, write_calibration_report
from calibration.files.samples import moveit_samples
from calibration.report.geometry import place_views
from calibration.report.page import write_facts_report
from calibration.report.scene import calibration_scene
from calibration.report.tables import in_human_units
from calibration.report.workplace import point_covariances, rms
from calibration.wizard.results import hand_eye_facts
from vision_ik.cli.main import EXIT_OK, main
from vision_ik.rig import Mount, Rig, load_rig, save_rig
from vision_ik.transforms import Transform
from vision_ik.view.scene_drawing import Scene, Stroke, drawn_scene


class Page(HTMLParser):
    """Collects what a page would fetch, its ids, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for key, value in attrs:
            if key in ("src", "href", "xlink:href") and value and not value.startswith(("data:", "#")):
                self.fetched.append(value)
            if key == "id" and value:
                self.ids.append(value)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


@pytest.mark.parametrize("mount", MOUNTS)
def test_the_page_holds_all_there_is_to_say_and_fetches_nothing(
    mount: Mount, tmp_path: Path, rng: np.random.Generator
) -> None:
    stage = make_stage(rng, mount, 12, pixel=0.3, translation=3e-4, rotation=1e-3)
    views = list(stage.views)
    wrong = views[4].flange @ Transform.exp([0.05, 0.0, 0.04, 0.2, 0.0, 0.1])
    views[4] = replace(views[4], T_base_flange=wrong, name="<b>4</b>")
    result = calibrate_hand_eye(views, intrinsics=LENS, mount=mount)
    path = write_calibration_report(
        tmp_path / "report.html",
        result,
        views,
        intrinsics=LENS,
        check={
            "views": 4,
            "source": "views of its own",
            "error_mm": 0.71,
            "error_deg": 0.05,
            "passed": False,
            "further": {
                "touch_test": {"name": "touch test", "error_mm": 1.38, "sigma_mm": 1.8, "sentence": "It misses."},
                "depth": {"name": "depth", "skipped": "No depth here."},
            },
        },
        provenance={"when": "yesterday", "options": {"seed": 7}},
        command="vision-ik calibrate hand-eye --from x",
    )
    page = read(path)
    text = " ".join(" ".join(page.words).split())
    assert page.fetched == []
    assert len(page.ids) == len(set(page.ids))
    for words in (
        "Cameras, boards and the path of the flange",
        "Views that were not right",
        "left out",
        "Systematic errors that were looked for",
        "touch test 1.38 1.80 – It misses.",
        "Not checked. No depth here.",
        "board scale",
        "How sure points at the work place are",
        "Where corners were seen",
        "options.seed",
        "missed",
        "vision-ik calibrate hand-eye --from x",
        f"± {result.sigma_translation * 1e3:.2f}",
        f"{result.held_out_translation * 1e3:.2f}",
        "<b>4</b>",  # as text
    ):
        assert words in text, words
    assert "<b>4</b>" not in path.read_text(encoding="utf-8")
    assert "nan" not in text.split()


def test_warnings_of_the_lens_and_the_picture_of_the_check_are_on_the_page(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    stage = make_stage(rng, "eye_to_hand", 9, pixel=0.3, translation=3e-4, rotation=1e-3)
    facts = hand_eye_facts(calibrate_hand_eye(stage.views, intrinsics=LENS, mount="eye_to_hand"), LENS)
    bent = "The board may be bent by 2.1 mm."
    overlay = np.full((48, 64, 3), 90, np.uint8)
    file = write_facts_report(tmp_path / "a.html", facts, stage.views, warnings=[bent, bent], overlay=overlay)
    text = file.read_text(encoding="utf-8")
    assert text.count(bent) == 1
    assert "data:image/jpeg;base64," in text


@pytest.mark.parametrize(
    ("estimate", "sigma", "unit", "shown"),
    [
        (0.00984, 0.000564, "s", ("9.84", "0.56", "ms")),
        (0.0203, 0.0283, "%", ("0.020", "0.028", "%")),
        (12.34, 31.4, "%", ("12", "31", "%")),
        (0.0356, float("nan"), "px", ("0.036", "–", "px")),
    ],
)
def test_systematic_errors_are_rounded_to_their_sigma_in_units_of_people(
    estimate: float, sigma: float, unit: str, shown: tuple[str, str, str]
) -> None:
    assert in_human_units({"estimate": estimate, "sigma": sigma, "unit": unit}) == shown


@pytest.mark.parametrize("mount", MOUNTS)
def test_the_covariance_at_the_work_place_is_that_of_disturbed_cameras(mount: Mount, rng: np.random.Generator) -> None:
    T = make_stage(rng, mount, 3).T_mount_camera
    root = rng.normal(size=(6, 6)) * np.repeat([3e-4, 1e-3], 3)[:, None]
    sigma = root @ root.T
    p_camera = np.array([[0.05, -0.1, 0.6], [0.0, 0.0, 1.2]])
    drawn = rng.multivariate_normal(np.zeros(6), sigma, size=4000)
    points = np.array([(T @ Transform.exp(xi)).apply(p_camera) for xi in drawn])
    stated = point_covariances(T, sigma, p_camera)
    for i in range(2):
        sampled = np.cov(points[:, i].T)
        np.testing.assert_allclose(stated[i], sampled, atol=0.08 * np.trace(sampled))
    np.testing.assert_allclose(rms(stated), np.sqrt(np.trace(stated, axis1=1, axis2=2)))


@pytest.mark.parametrize("mount", MOUNTS)
def test_cameras_and_boards_are_drawn_where_they_were(mount: Mount, rng: np.random.Generator) -> None:
    stage = make_stage(rng, mount, 8, pixel=0.05)
    result = calibrate_hand_eye(stage.views, intrinsics=LENS, mount=mount)
    geometry = place_views(hand_eye_facts(result, LENS), stage.views)
    for placed, view in zip(geometry.views, stage.views, strict=True):
        to_hand = mount == "eye_to_hand"
        T_base_camera = stage.T_mount_camera if to_hand else view.flange @ stage.T_mount_camera
        T_base_board = view.flange @ stage.T_holder_board if to_hand else stage.T_holder_board
        assert placed.T_base_camera.distance_to(T_base_camera)[0] < 2e-3
        assert placed.T_base_board.distance_to(T_base_board)[0] < 2e-3
        assert placed.residuals is not None
        assert np.abs(placed.residuals[:, 2:]).max() < 1.0  # corners lie where the chain puts them
    scene = calibration_scene(geometry)
    path = next(stroke for stroke in scene.strokes if stroke.look == "path")
    np.testing.assert_allclose(path.points, [view.flange.translation for view in stage.views])


def test_a_scene_is_drawn_right_side_up_and_turns_with_the_same_points() -> None:
    strokes = [
        Stroke(points=np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]), look="z", label="up & away"),
        Stroke(points=np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), look="path"),
    ]
    text = str(drawn_scene(Scene(title="t", strokes=strokes), 3))
    foot, head = (
        [float(x) for x in point.split(",")]
        for point in re.findall(r'class="z"[^>]*><polyline points="([^"]*)"', text)[0].split()
    )
    assert foot[0] == pytest.approx(head[0])
    assert foot[1] > head[1]  # pixels go down
    data = json.loads(re.findall(r'id="scene3-data">(.*?)</script>', text)[0])
    assert data["points"] == [stroke.points.tolist() for stroke in strokes]
    assert "up &amp; away" in text


def test_pairs_of_poses_make_a_rig_and_a_page_from_the_command_line(
    tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = make_stage(rng, "eye_to_hand", 9, translation=2e-4, rotation=5e-4)
    seen = [stage.T_mount_camera.inv() @ view.flange @ stage.T_holder_board for view in stage.views]
    from calibration import PosePairs

    pairs = PosePairs(
        names=tuple(map(str, range(9))),
        Ts_base_flange=np.array([view.flange.matrix for view in stage.views]),
        Ts_camera_board=np.array([T.matrix for T in seen]),
    )
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "samples.json").write_text(json.dumps(moveit_samples(pairs)))
    page = tmp_path / "page.html"
    words = ["calibrate", "hand-eye", "--from", str(tmp_path / "samples"), "--rig", str(tmp_path / "rig")]
    assert main([*words, "--robot", "panda", "--mount", "eye_to_hand", "--report", str(page), "--json"]) == EXIT_OK
    printed = json.loads(capsys.readouterr().out)
    rig = load_rig(tmp_path / "rig")
    assert rig.T_mount_camera is not None
    assert rig.camera_covariance is not None
    assert rig.T_mount_camera.distance_to(stage.T_mount_camera)[0] < 1e-3
    assert (rig.provenance["calibrated_from"], rig.provenance["hand_eye"]["views_used"]) == ("samples", 9)
    assert printed["views_used"] == 9
    said = " ".join(read(page).words)
    assert "Views one by one" in said
    assert "Where corners were seen" not in said


def test_a_folder_of_another_format_calibrates_and_all_writes_its_page(
    tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    from calibration_photos import LENS as PHOTO_LENS
    from calibration_photos import make_photographs
    from test_calibration_files import write_industrial

    stage, frames = make_photographs(rng, 8)
    (tmp_path / "set").mkdir()
    write_industrial(tmp_path / "set", [v.flange for v in stage.views], [f.image for f in frames])
    save_rig(Rig(robot="panda", intrinsics=PHOTO_LENS), tmp_path / "rig")
    lens = ["--intrinsics", str(tmp_path / "rig" / "camera.yaml")]
    words = ["--from", str(tmp_path / "set"), "--rig", str(tmp_path / "rig"), *lens]
    assert main(["calibrate", "all", *words]) == EXIT_OK
    rig = load_rig(tmp_path / "rig")
    assert rig.T_mount_camera is not None
    assert rig.T_mount_camera.distance_to(stage.T_mount_camera)[0] < 2e-3
    said = " ".join(read(tmp_path / "rig" / "calibration" / "report.html").words)
    assert "Eye to hand" in said
    assert "pictures_sha256" in said
    assert "report.html" in capsys.readouterr().err


def test_residuals_are_those_of_the_board_that_the_calibration_found() -> None:
    stage = make_stage(np.random.default_rng(5), "eye_to_hand", 20, pixel=0.3, translation=2e-4, rotation=5e-4)
    views = [
        replace(v, detection=replace(v.detection, points_board=v.detection.points_board / 1.024)) for v in stage.views
    ]
    result = calibrate_hand_eye(views, intrinsics=LENS)
    assert result.terms
    geometry = place_views(hand_eye_facts(result, LENS), views)
    seen = [view.residuals[:, 2:] for view in geometry.views if view.residuals is not None]
    per_axis = np.sqrt(np.mean(np.square(np.concatenate(seen))))
    assert per_axis == pytest.approx(result.chain_rms / np.sqrt(2.0), rel=0.05)
