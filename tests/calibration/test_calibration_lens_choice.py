"""Which lens model is chosen, which views and corners are used, and what is advised."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from calibration_stage import BOARD, FISHEYE, LENS, detection

from calibration import IntrinsicsResult, calibrate_intrinsics
from calibration.lens import choice as lens_choice
from calibration.lens.choice import Trial
from calibration.lens.fit import fit_lens
from calibration.lens.projection import project
from calibration.lens.terms import View, lens_of, prepare, settle, start_pose, terms
from calibration.views.sights import visible_poses
from vision_ik.errors import CalibrationError
from vision_ik.types import BoardDetection, CameraIntrinsics, Floats
from vision_ik.view.lens_plots import label_places

SIZE = (640, 480)


def views(
    rng: np.random.Generator, n: int, lens: CameraIntrinsics = LENS, *, pixel: float = 0.1, bend: float = 0.0
) -> list[BoardDetection]:
    """Return views of a board that is bent by so much along its width [m]."""
    points = BOARD.chess_corners
    across = (points[:, 0] - 0.5 * BOARD.size_m[0]) / 0.075
    shaped = points + np.outer(bend * across**2, [0.0, 0.0, 1.0])
    seen: list[BoardDetection] = []
    for T in visible_poses(BOARD, lens, 40 * n, rng)[:n]:
        uv, _ = project(shaped @ T[:3, :3].T + T[:3, 3], lens)
        seen.append(detection(uv + pixel * rng.normal(size=uv.shape)))
    return seen


def chosen(result: IntrinsicsResult) -> list[str]:
    return [candidate.name for candidate in result.candidates if candidate.chosen]


@pytest.mark.parametrize("lens", [replace(LENS, distortion=LENS.distortion[:4]), FISHEYE], ids=["pinhole", "fisheye"])
def test_the_simplest_model_that_predicts_unseen_views_is_chosen(
    lens: CameraIntrinsics, rng: np.random.Generator
) -> None:
    result = calibrate_intrinsics(views(rng, 14, lens), image_size=SIZE, model="auto")
    assert chosen(result) == [f"{lens.model}, 4 coefficients"]
    assert len(result.candidates) == 4
    held_out = {c.name: c.held_out_rms for c in result.candidates}
    assert held_out[chosen(result)[0]] <= 1.05 * np.nanmin(list(held_out.values()))
    assert all(bool(c.reason) != c.chosen for c in result.candidates)
    covariance = result.intrinsics.covariance
    assert covariance is not None
    assert abs(result.intrinsics.K[0, 0] - lens.K[0, 0]) < 4.0 * np.sqrt(covariance[0, 0])


@pytest.mark.parametrize("model", ["pinhole", "fisheye"])
@pytest.mark.parametrize("depth", [0.6, 0.05])
def test_derivatives_agree_with_differences(model: str, depth: float, rng: np.random.Generator) -> None:
    """For the fisheye also where some corners lie more than 90 degrees off the axis."""
    lens = FISHEYE if model == "fisheye" else LENS
    view = prepare([detection(rng.uniform(0.0, 400.0, (24, 2)))])[0]
    pose = np.array([0.2, -0.9, 0.3, 0.15, 0.1, depth if model == "fisheye" else 0.6])
    shared = np.concatenate(
        [[lens.K[0, 0], lens.K[1, 1], lens.K[0, 2], lens.K[1, 2]], lens.distortion, [1e-3, 0, 2e-3]]
    )
    k = len(lens.distortion)

    def residuals(values: Floats, at: Floats) -> Floats:
        return terms(view, at, lens_of(values[:-3], SIZE, lens.model, k), values[-3:]).residuals

    found = terms(view, pose, lens, shared[-3:])
    for i in range(len(shared)):
        step = np.zeros(len(shared))
        step[i] = 1e-6 * max(1.0, abs(shared[i]))
        numeric = (residuals(shared - step, pose) - residuals(shared + step, pose)) / (2.0 * step[i])
        np.testing.assert_allclose(found.by_shared[:, i], numeric, atol=1e-4 * max(1.0, np.abs(numeric).max()))
    for i in range(6):
        step = np.zeros(6)
        step[i] = 1e-7
        numeric = (residuals(shared, pose - step) - residuals(shared, pose + step)) / 2e-7
        np.testing.assert_allclose(found.by_pose[:, i], numeric, atol=1e-4 * max(1.0, np.abs(numeric).max()))


def test_the_fit_is_opencvs_optimum(rng: np.random.Generator) -> None:
    seen = views(rng, 10)
    fit = fit_lens(prepare(seen), SIZE, "pinhole", 5)
    _, K, distortion, _, _ = cv2.calibrateCamera(
        [d.points_board.astype(np.float32) for d in seen],
        [d.points_image.astype(np.float32) for d in seen],
        SIZE,
        np.eye(3),
        np.zeros(5),
    )
    np.testing.assert_allclose(fit.intrinsics.K, K, atol=0.02)
    np.testing.assert_allclose(fit.intrinsics.distortion, distortion.ravel(), atol=2e-3)
    np.testing.assert_allclose(fit.scores.sum(axis=0) / np.abs(fit.scores).sum(axis=0), 0.0, atol=1e-3)


def test_a_bent_board_is_found_out_and_no_longer_spoils_the_lens(rng: np.random.Generator) -> None:
    seen = views(rng, 16, bend=6e-4)
    result = calibrate_intrinsics(seen, image_size=SIZE)
    flat = calibrate_intrinsics(seen, image_size=SIZE, bend=False)
    assert result.held_out_rms < 0.8 * flat.held_out_rms
    assert any("bent by" in warning for warning in result.warnings)
    # The extent of the points is 0.15 m: their rim is 0.075 m from the middle.
    assert result.board_bend[0] == pytest.approx(6e-4, rel=0.2)
    assert not calibrate_intrinsics(views(rng, 16), image_size=SIZE, bend=False).board_bend.any()
    taken = next(candidate for candidate in result.candidates if candidate.chosen)
    assert taken.focal == result.intrinsics.K[0, 0]  # the table of models says the same as the lens


def test_a_bend_that_may_only_seem_so_widens_the_uncertainty_and_does_not_move_the_lens() -> None:
    doubtful = 0
    errors: list[float] = []
    for seed in range(6):
        seen = views(np.random.default_rng(seed), 14, bend=8e-5)
        flat = calibrate_intrinsics(seen, image_size=SIZE, coefficients=4, bend=False)
        bent = calibrate_intrinsics(seen, image_size=SIZE, coefficients=4, bend=True)
        result = calibrate_intrinsics(seen, image_size=SIZE, coefficients=4)
        assert not result.board_bend.any()
        assert result.intrinsics.K[0, 0] == flat.intrinsics.K[0, 0]
        shift = abs(bent.intrinsics.K[0, 0] - flat.intrinsics.K[0, 0])
        if result.focal_sigma > flat.focal_sigma:
            doubtful += 1
            assert result.focal_sigma > shift - 0.01  # the other fit was started elsewhere
        if shift > 1.2 * flat.focal_sigma and result.focal_sigma > flat.focal_sigma:
            assert any("may be bent" in warning for warning in result.warnings)
        errors.append(abs(result.intrinsics.K[0, 0] - LENS.K[0, 0]) / result.focal_sigma)
    assert doubtful
    assert max(errors) < 3.0


def test_a_model_that_predicts_worse_is_not_said_to_predict_as_well(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a model before the chosen one nor one after it."""
    seen = prepare(views(rng, 8))
    fit = fit_lens(seen, SIZE, "pinhole", 4)
    squares = {("pinhole", 4): 0.04, ("pinhole", 5): 0.01, ("fisheye", 4): 0.0102, ("pinhole", 8): 3.0}

    def pretended(*args: Any, **_options: Any) -> Trial:
        return Trial(fit, squares[args[2], args[3]] * np.linspace(0.9, 1.1, len(seen)) ** args[3])

    monkeypatch.setattr(lens_choice, "try_model", pretended)
    _, candidates = lens_choice.choose(seen, SIZE, lens_choice.MODELS, seed=0)
    worse, taken, alike, worst = (candidate.reason for candidate in candidates)
    assert taken == ""
    assert "worse" in worse
    assert "worse" in worst
    assert "as well" in alike


def test_a_few_misread_corners_cost_corners_and_many_cost_the_view(rng: np.random.Generator) -> None:
    seen = views(rng, 12)
    for view, corners in ((3, [5, 17]), (8, list(range(12)))):
        pixels = np.array(seen[view].points_image)
        pixels[corners] += rng.uniform(6.0, 15.0, (len(corners), 2))
        seen[view] = detection(pixels)
    result = calibrate_intrinsics(seen, image_size=SIZE, names=[f"p{i}" for i in range(12)])
    assert [view.name for view in result.views if not view.used] == ["p8"]
    assert [view.dropped for view in result.views if view.dropped] == [2]
    assert result.views[3].dropped == 2
    assert any("2 misread corners of view p3" in warning for warning in result.warnings)
    assert result.rms < 0.2


def test_one_misread_corner_was_left_out_and_its_marker_is_listed_no_longer(rng: np.random.Generator) -> None:
    seen = views(rng, 12)
    pixels = np.array(seen[3].points_image)
    pixels[5] += (9.0, -7.0)
    count = len(pixels) // 4
    seen[3] = replace(seen[3], points_image=pixels, tag_ids=tuple(range(count)))
    result = calibrate_intrinsics(seen, image_size=SIZE)
    assert "1 misread corner of view 3 was left out." in result.warnings
    mended = result.detections[3]
    assert len(mended.points_board) == len(pixels) - 1
    assert mended.tag_ids == (0, *range(2, count))
    # Marker 2 follows marker 0; what is left of marker 1 stands behind them all.
    np.testing.assert_array_equal(mended.points_image[4:8], pixels[8:12])
    np.testing.assert_array_equal(mended.points_image[4 * count - 4 :][:3], pixels[[4, 6, 7]])


def test_blurred_pictures_are_left_out_before_the_fit(rng: np.random.Generator) -> None:
    widths = [0.8] * 9 + [3.1] + [float("nan")]
    result = calibrate_intrinsics(views(rng, 11), image_size=SIZE, edges_px=widths)
    assert [i for i, view in enumerate(result.views) if not view.used] == [9]
    assert "edges are 3.1 px wide, others 0.8 px" in result.views[9].reason
    assert np.isnan(result.views[9].rms)


def test_a_view_with_one_corner_less_is_still_a_repetition(rng: np.random.Generator) -> None:
    seen = views(rng, 8)
    seen.append(
        BoardDetection(points_board=seen[5].points_board[1:], points_image=seen[5].points_image[1:], timestamp=1)
    )
    result = calibrate_intrinsics(seen, image_size=SIZE)
    assert result.views[8].reason == "it repeats view 5"


def test_why_too_few_views_are_left_is_said(rng: np.random.Generator) -> None:
    seen = views(rng, 3)
    with pytest.raises(CalibrationError, match="it repeats view 2"):
        calibrate_intrinsics([*seen, seen[2]], image_size=SIZE)


def test_the_advised_view_improves_the_lens_as_predicted() -> None:
    ratios: list[float] = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        seen = [view for view in views(rng, 40) if (view.points_image[:, 0] < 420.0).all()][:8]
        first = calibrate_intrinsics(seen, image_size=SIZE, coefficients=4, bend=False)
        advised = first.next_views[0]
        assert (advised.outline > 0.0).all()
        assert (advised.outline < SIZE).all()
        plane = np.array([[x, y, 0.0] for x, y in ((0.03, 0.12), (0.18, 0.12), (0.18, 0.03), (0.03, 0.03))])
        _, r, t = cv2.solvePnP(plane, np.ascontiguousarray(advised.outline[::8]), LENS.K, LENS.distortion)
        uv, _ = project(BOARD.chess_corners @ cv2.Rodrigues(r)[0].T + t.ravel(), LENS)
        seen.append(detection(uv + 0.1 * rng.normal(size=uv.shape)))
        second = calibrate_intrinsics(seen, image_size=SIZE, coefficients=4, bend=False)
        assert advised.picture_sigma < first.picture_sigma
        ratios.append(second.picture_sigma / advised.picture_sigma)
    assert 0.5 < np.exp(np.mean(np.log(ratios))) < 2.0


def test_boards_advised_for_a_wide_lens_are_ones_that_it_can_see() -> None:
    """Whole, from the front, and as large as said; not lines through points behind the camera."""
    wide = replace(FISHEYE, K=np.array([[150.0, 0, 318.0], [0, 150.0, 242.0], [0, 0, 1.0]]))
    points = BOARD.chess_corners
    first = calibrate_intrinsics(views(np.random.default_rng(2), 12, wide), image_size=SIZE, model="fisheye")
    assert len(first.next_views) == 3
    for advised in first.next_views:
        rim = advised.outline
        assert (rim > 0.0).all()
        assert (rim < SIZE).all()
        assert np.ptp(rim, axis=0).max() == pytest.approx(advised.share * 480, rel=0.11)
        x, y = points[:, :2].T
        width, height = np.ptp(x), np.ptp(y)
        plane = np.array([[x.min(), y.max()], [x.max(), y.max()], [x.max(), y.min()], [x.min(), y.min()]])
        along = np.arange(8)[:, None] / 8
        sides = [a + along * (b - a) for a, b in zip(plane, np.roll(plane, -1, axis=0), strict=True)]
        board = np.column_stack([np.concatenate(sides), np.zeros(32)])
        view = View(board, np.zeros((32, 3)), rim, np.ones(32))
        pose = start_pose(view, first.intrinsics)
        assert pose is not None
        assert np.sqrt(settle(view, pose, first.intrinsics, np.empty(0))[1] / 32) < 0.2
        R = cv2.Rodrigues(pose[:3])[0]
        at = board @ R.T + pose[3:]
        assert (at @ R[:, 2] < -0.3 * np.linalg.norm(at, axis=1)).all()
        assert np.linalg.norm(at.mean(axis=0)) > 0.3 * max(width, height)


def test_labels_of_outlines_at_one_place_do_not_cover_each_other() -> None:
    rim = np.array([[200.0, 150.0], [440.0, 150.0], [440.0, 330.0], [200.0, 330.0]])
    places = np.array(label_places([rim, rim + 3.0, rim - 2.0], SIZE))
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert (np.abs(places[i] - places[j]) > (80.0, 22.0)).any()


def test_views_on_one_side_are_told_what_was_not_shown(rng: np.random.Generator) -> None:
    seen = [view for view in views(rng, 60) if (view.points_image[:, 0] < 350.0).all()][:8]
    result = calibrate_intrinsics(seen, image_size=SIZE)
    assert result.coverage_map.shape == (6, 8)
    assert result.coverage_map.sum() == 24 * len(seen)
    assert not result.coverage_map[:, 5:].any()
    assert any("upper right corner" in warning for warning in result.warnings)
    assert "right" in result.next_views[0].region
    assert len(result.tilts_deg) == len(seen)
    assert ((result.tilts_deg >= 0.0) & (result.tilts_deg < 60.0)).all()
