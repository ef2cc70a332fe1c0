"""Systematic errors are found where they are there, and nowhere else; the user is told what they mean."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from calibration_stage import BOARD, LENS, MOUNTS, Stage, make_stage

from calibration import ArmNoise, HandEyeResult, HandEyeView, calibrate_hand_eye, calibrate_intrinsics
from calibration.lens.projection import project
from calibration.systematics.candidates import SystematicName
from calibration.systematics.systematic import Systematic
from vision_ik.rig import Mount
from vision_ik.transforms import Transform
from vision_ik.types import CameraIntrinsics, Floats

ARM = ArmNoise(translation=0.3e-3, rotation=float(np.deg2rad(0.05)))
CALIBRATED = replace(LENS, covariance=np.diag(np.square([4.0, 4.0, 3.0, 3.0, 0.01, 0.02, 5e-4, 5e-4, 0.02])))
ALL: tuple[SystematicName, ...] = ("time offset", "board scale", "board bend", "lens")


def stage_of(mount: Mount, n: int = 15, *, seed: int = 0, lens: CameraIntrinsics = LENS) -> Stage:
    rng = np.random.default_rng(seed)
    return make_stage(rng, mount, n, pixel=0.3, translation=ARM.translation, rotation=ARM.rotation, lens=lens)


def told_scale(stage: Stage, share: float) -> list[HandEyeView]:
    """Return the views with a board that is really larger by ``share`` than it is told to be."""
    return [
        replace(view, detection=replace(view.detection, points_board=view.detection.points_board / (1.0 + share)))
        for view in stage.views
    ]


def late_views(stage: Stage, delay: float, *, seed: int = 0) -> list[HandEyeView]:
    """Return the views of a moving arm, whose pictures are stamped ``delay`` [s] after they were taken."""
    rng = np.random.default_rng(seed)
    views: list[HandEyeView] = []
    for view in stage.views:
        twist = rng.normal(size=6) * np.repeat([0.11, 0.3], 3)
        views.append(replace(view, T_base_flange=view.flange @ Transform.exp(delay * twist), twist=twist))
    return views


def drawn_lens(rng: np.random.Generator) -> CameraIntrinsics:
    """Return what a calibration of the lens may say that is as sure as it says."""
    assert CALIBRATED.covariance is not None
    off = np.sqrt(np.diag(CALIBRATED.covariance)) * rng.normal(size=9)
    K = LENS.K + np.array([[off[0], 0.0, off[2]], [0.0, off[1], off[3]], [0.0, 0.0, 0.0]])
    return replace(CALIBRATED, K=K, distortion=LENS.distortion + off[4:])


def of(result: HandEyeResult, name: str) -> Systematic:
    (found,) = (systematic for systematic in result.systematics if systematic.name == name)
    return found


@pytest.mark.parametrize("mount", MOUNTS)
def test_a_board_smaller_than_told_is_found_and_named(mount: Mount) -> None:
    stage = stage_of(mount)
    views = told_scale(stage, -0.024)
    ignored = calibrate_hand_eye(views, intrinsics=CALIBRATED, mount=mount, systematics=())
    result = calibrate_hand_eye(views, intrinsics=CALIBRATED, mount=mount)
    scale = of(result, "board scale")
    assert scale.adopted
    assert scale.estimate == pytest.approx(-2.4, abs=4.0 * scale.sigma)
    assert "2.4 % smaller than told" in scale.sentence
    assert "measure a square" in scale.sentence
    assert scale.sentence in result.warnings
    errors = [r.T_mount_camera.distance_to(stage.T_mount_camera)[0] for r in (ignored, result)]
    assert errors[1] < 0.3 * errors[0]


def test_a_board_off_by_less_than_a_hundredth_is_taken_into_account_without_a_warning() -> None:
    result = calibrate_hand_eye(told_scale(stage_of("eye_to_hand", 25), 0.006), intrinsics=CALIBRATED)
    scale = of(result, "board scale")
    assert scale.adopted
    assert scale.estimate == pytest.approx(0.6, abs=4.0 * scale.sigma)
    assert not any("square" in warning for warning in result.warnings)


@pytest.mark.parametrize("mount", MOUNTS)
def test_pictures_that_come_late_are_found_and_the_offset_told(mount: Mount) -> None:
    stage = stage_of(mount)
    result = calibrate_hand_eye(late_views(stage, 0.05), intrinsics=CALIBRATED, mount=mount)
    offset = of(result, "time offset")
    assert offset.adopted
    assert result.time_offset == pytest.approx(-0.05, abs=3e-3)
    assert offset.estimate == pytest.approx(result.time_offset, abs=1e-4)
    assert "ms late" in offset.sentence
    assert result.used_views == 15
    assert result.T_mount_camera.distance_to(stage.T_mount_camera)[0] < 1.5e-3


def test_a_moving_arm_on_the_same_clock_has_no_offset() -> None:
    result = calibrate_hand_eye(late_views(stage_of("eye_to_hand"), 0.0), intrinsics=CALIBRATED)
    assert not of(result, "time offset").adopted
    assert result.time_offset == 0.0
    assert "on one clock" in of(result, "time offset").sentence


@pytest.mark.parametrize(("share", "is_news"), [(0.015, False), (0.03, True)])
def test_a_lens_is_refined_and_named_where_it_is_off_by_more_than_its_calibration_allows(
    share: float, is_news: bool
) -> None:
    K = LENS.K.copy()
    K[[0, 1], [0, 1]] *= 1.0 + share
    stage = stage_of("eye_to_hand", 20, lens=replace(LENS, K=K))
    ignored = calibrate_hand_eye(stage.views, intrinsics=replace(CALIBRATED, covariance=None), systematics=())
    result = calibrate_hand_eye(stage.views, intrinsics=CALIBRATED)
    lens = of(result, "lens")
    assert (lens.adopted, lens.striking, lens.sentence in result.warnings) == (is_news,) * 3
    assert lens.estimate == pytest.approx(100.0 * share, abs=4.0 * lens.sigma)
    assert result.intrinsics is not None
    assert result.intrinsics.K[0, 0] == pytest.approx(K[0, 0], rel=3e-3)
    assert result.intrinsics.covariance is not None
    assert result.intrinsics.covariance[0, 0] < 0.5 * 4.0**2
    errors = [r.T_mount_camera.distance_to(stage.T_mount_camera)[0] for r in (ignored, result)]
    assert errors[1] < 0.5 * errors[0]


def test_corners_that_gave_the_lens_do_not_count_for_it_again() -> None:
    views = stage_of("eye_to_hand", 8).views
    lens = calibrate_intrinsics([view.detection for view in views], image_size=(640, 480), coefficients=5).intrinsics
    sigmas: list[float] = []
    for _ in range(3):
        result = calibrate_hand_eye(views, intrinsics=lens, lens_from_views=True)
        assert result.intrinsics is not None
        assert result.intrinsics.covariance is not None
        lens = result.intrinsics
        sigmas.append(float(np.sqrt(result.intrinsics.covariance[0, 0])))
    assert sigmas[2] > 0.95 * sigmas[0], "the same corners taught the lens anew each time"
    once, twice = (
        calibrate_hand_eye(views, intrinsics=lens, systematics=(), lens_from_views=from_views)
        for from_views in (True, False)
    )
    assert twice.sigma_translation < once.sigma_translation


def bent_views(stage: Stage, bend_m: float) -> list[HandEyeView]:
    """Return the views with the board bent across its longer side by ``bend_m`` at the rim."""
    points = BOARD.chess_corners
    x = (points[:, 0] - points[:, 0].mean()) / (0.5 * np.ptp(points[:, 0]))
    lifted = points + np.outer(bend_m * x * x, [0.0, 0.0, 1.0])
    views: list[HandEyeView] = []
    for view in stage.views:
        flat, bent = (pixels_of(stage, view, shape) for shape in (points, lifted))
        seen = replace(view.detection, points_image=view.detection.points_image + bent - flat)
        views.append(replace(view, detection=seen))
    return views


def pixels_of(stage: Stage, view: HandEyeView, points: Floats) -> Floats:
    T_mount_holder = view.flange if stage.mount == "eye_to_hand" else view.flange.inv()
    T_camera_board = stage.T_mount_camera.inv() @ T_mount_holder @ stage.T_holder_board
    return project(T_camera_board.apply(points), LENS)[0]


def test_a_bent_board_is_found_with_its_bend() -> None:
    stage = stage_of("eye_to_hand", 15)
    result = calibrate_hand_eye(bent_views(stage, 1.5e-3), intrinsics=CALIBRATED)
    bend = of(result, "board bend")
    assert bend.adopted
    assert bend.estimate == pytest.approx(1.5, abs=4.0 * bend.sigma)
    assert "glue it to a flat plate" in bend.sentence
    assert not of(calibrate_hand_eye(stage.views, intrinsics=CALIBRATED), "board bend").adopted


@pytest.mark.parametrize("mount", MOUNTS)
def test_clean_views_are_left_alone(mount: Mount) -> None:
    adopted = []
    for seed in range(12):
        stage = stage_of(mount, 8, seed=seed)
        told = drawn_lens(np.random.default_rng((seed, 1)))
        plain = calibrate_hand_eye(stage.views, intrinsics=told, mount=mount, systematics=())
        result = calibrate_hand_eye(stage.views, intrinsics=told, mount=mount)
        found = [systematic.name for systematic in result.systematics if systematic.adopted]
        adopted += found
        if not found:
            assert result.T_mount_camera.distance_to(plain.T_mount_camera)[0] < 1e-3 * plain.sigma_translation
            assert not result.warnings
    assert len(adopted) <= 1


def shared_errors(stage: Stage, size_px: float, *, seed: int = 0) -> list[HandEyeView]:
    """Return the views with corners that err together, smoothly over each picture."""
    rng = np.random.default_rng(seed)
    views: list[HandEyeView] = []
    for view in stage.views:
        x, y = (view.detection.points_image - [320.0, 240.0]).T / 100.0
        shapes = np.stack([x, y, x * x, x * y, y * y], axis=1)
        smear = shapes @ (size_px * rng.normal(size=(5, 2)))
        views.append(replace(view, detection=replace(view.detection, points_image=view.detection.points_image + smear)))
    return views


def test_corners_that_err_together_are_not_blamed_on_the_arm() -> None:
    stage = stage_of("eye_in_hand", 25)
    views = shared_errors(stage, 0.3)
    ignored = calibrate_hand_eye(views, intrinsics=CALIBRATED, mount="eye_in_hand", systematics=())
    result = calibrate_hand_eye(views, intrinsics=CALIBRATED, mount="eye_in_hand")
    assert of(result, "shared corner errors").adopted
    assert "err together" in of(result, "shared corner errors").sentence
    assert result.arm_sigma.translation < 0.5 * ignored.arm_sigma.translation


def test_only_what_is_asked_for_is_looked_for() -> None:
    stage = stage_of("eye_to_hand")
    result = calibrate_hand_eye(told_scale(stage, 0.03), intrinsics=CALIBRATED, systematics=("lens",))
    assert "board scale" not in [systematic.name for systematic in result.systematics]
    assert [s.name for s in calibrate_hand_eye(stage.views, intrinsics=LENS).systematics] == [
        "board scale",
        "board bend",
        "lens",
        "shared corner errors",
    ]
    with pytest.raises(ValueError, match="must be among time offset"):
        calibrate_hand_eye(stage.views, intrinsics=LENS, systematics=("scale",))  # pyright: ignore[reportArgumentType]


def test_a_scale_that_the_focal_length_could_explain_is_said_to_be_doubtful() -> None:
    loose = replace(LENS, covariance=np.diag(np.square([25.0, 25.0, 1.0, 1.0, 1e-3, 1e-3, 1e-4, 1e-4, 1e-3])))
    rng = np.random.default_rng(0)
    stage = make_stage(rng, "eye_to_hand", 8, pixel=0.3, translation=2.5e-3, rotation=float(np.deg2rad(0.3)))
    scale = of(calibrate_hand_eye(told_scale(stage, 0.05), intrinsics=loose), "board scale")
    if scale.adopted:
        assert "measure a square" in scale.sentence.lower()
