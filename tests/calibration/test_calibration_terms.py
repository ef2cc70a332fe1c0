"""Further unknowns of a hand-eye calibration: found where they are there, harmless where they are not."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from calibration_stage import LENS, MOUNTS, Stage, make_stage
from numpy.typing import NDArray

from calibration import ArmNoise, HandEyeView, batch, calibrate_hand_eye
from calibration.hand_eye.evidence import Corners
from calibration.hand_eye.terms import ArmTerm, SightTerm, TermStack
from calibration.lens.projection import project
from vision_ik.rig import Mount
from vision_ik.transforms import Transform
from vision_ik.types import Floats

ARM = ArmNoise(translation=0.3e-3, rotation=float(np.deg2rad(0.05)))
DELAY = 0.04
SCALE = 0.015


@dataclass(frozen=True)
class Delay:
    """The picture is taken later than the pose."""

    reported: Floats
    twists: Floats
    sigma: Floats
    name: str = "delay"
    parameters: tuple[str, ...] = ("dt s",)

    def flanges(self, theta: Floats) -> Floats:
        return self.reported @ batch.exp(theta[0] * self.twists)

    def derivatives(self, theta: Floats) -> Floats:
        return self.twists[:, :, None]  # a twist commutes with its own motion

    def select(self, keep: NDArray[np.bool_]) -> Delay:
        return replace(self, reported=self.reported[keep], twists=self.twists[keep])


@dataclass(frozen=True)
class Stretch:
    """The board is larger along some axes than it was said to be."""

    sigma: Floats
    axes: Floats
    name: str = "stretch"
    parameters: tuple[str, ...] = ("scale",)

    def evidence(self, corners: Corners, theta: Floats) -> Corners:
        return corners.changed(points_board=corners.points_board * (1.0 + theta[0] * self.axes))

    def derivatives(self, corners: Corners, theta: Floats, Ts_camera_board: Floats) -> Floats:
        _, by_point = project(corners.points_camera(Ts_camera_board), corners.intrinsics)
        given = corners.points_board / (1.0 + theta[0] * self.axes)
        moved = Ts_camera_board[corners.view][:, :3, :3] @ (given * self.axes)[:, :, None]
        return by_point @ moved

    def select(self, keep: NDArray[np.bool_]) -> Stretch:
        return self


UNKNOWN = np.array([np.inf])
EVENLY = np.ones(3)


def moving_stage(mount: Mount, n: int, *, seed: int = 0, delay: float = DELAY, scale: float = SCALE) -> Stage:
    """Views of a moving arm whose poses are late, of a board that is larger than it is said to be."""
    rng = np.random.default_rng(seed)
    stage = make_stage(rng, mount, n, pixel=0.3, translation=ARM.translation, rotation=ARM.rotation)
    views: list[HandEyeView] = []
    for view in stage.views:
        twist = rng.normal(size=6) * np.repeat([0.15, 0.3], 3)
        detection = replace(view.detection, points_board=view.detection.points_board / (1.0 + scale))
        before = view.flange @ Transform.exp(-delay * twist)
        views.append(HandEyeView(T_base_flange=before, detection=detection, twist=twist))
    return replace(stage, views=views)


def delay_of(views: list[HandEyeView], sigma: Floats = UNKNOWN) -> Delay:
    twists = [view.twist for view in views if view.twist is not None]
    return Delay(np.stack([view.flange.matrix for view in views]), np.stack(twists), sigma)


@pytest.mark.parametrize("mount", MOUNTS)
def test_a_delay_and_a_wrong_scale_are_found_together_with_the_camera(mount: Mount) -> None:
    errors, normalised = [], []
    for seed in range(10):
        stage = moving_stage(mount, 15, seed=seed)
        terms = (delay_of(stage.views), Stretch(UNKNOWN, EVENLY))
        result = calibrate_hand_eye(stage.views, intrinsics=LENS, mount=mount, terms=terms)
        delay, stretch = result.terms
        errors.append([(delay.theta[0] - DELAY) / delay.sigma[0], (stretch.theta[0] - SCALE) / stretch.sigma[0]])
        twist = (result.T_mount_camera.inv() @ stage.T_mount_camera).log()
        normalised.append(twist @ np.linalg.solve(result.covariance, twist) / 6.0)
        assert delay.sigma[0] < 2e-3
        assert stretch.sigma[0] < 2e-3
        assert result.used_views == 15
    assert 0.5 < np.sqrt(np.mean(np.square(errors))) < 1.5
    assert 0.5 < np.mean(normalised) < 1.6


def test_without_its_term_a_delay_spoils_the_camera_and_the_likelihood_says_so() -> None:
    stage = moving_stage("eye_to_hand", 15, scale=0.0)
    plain = calibrate_hand_eye(stage.views, intrinsics=LENS, systematics=())
    told = calibrate_hand_eye(stage.views, intrinsics=LENS, terms=[delay_of(stage.views)], systematics=())
    plain_error, told_error = (r.T_mount_camera.distance_to(stage.T_mount_camera)[0] for r in (plain, told))
    assert told_error < 0.5 * plain_error
    assert told.log_likelihood > plain.log_likelihood + 20.0


def test_a_term_that_is_not_needed_gains_what_chance_gives() -> None:
    gains = []
    for seed in range(20):
        stage = moving_stage("eye_to_hand", 10, seed=seed, delay=0.0, scale=0.0)
        fits = [
            calibrate_hand_eye(stage.views, intrinsics=LENS, terms=terms)
            for terms in ((), (delay_of(stage.views),), (Stretch(UNKNOWN, EVENLY),))
        ]
        gains.append([2.0 * (fit.log_likelihood - fits[0].log_likelihood) for fit in fits[1:]])
    # Chi-square with one degree of freedom: mean 1, standard deviation of this mean 0.22.
    assert 0.4 < np.mean(gains) < 1.7


def test_a_prior_holds_a_term_where_the_views_say_less() -> None:
    stage = moving_stage("eye_in_hand", 12, scale=0.0)
    tight = calibrate_hand_eye(
        stage.views, intrinsics=LENS, mount="eye_in_hand", terms=[delay_of(stage.views, np.array([1e-6]))]
    )
    plain = calibrate_hand_eye(stage.views, intrinsics=LENS, mount="eye_in_hand")
    assert abs(tight.terms[0].theta[0]) < 1e-6
    assert tight.T_mount_camera.distance_to(plain.T_mount_camera)[0] < 1e-4
    assert tight.terms[0].sigma[0] == pytest.approx(1e-6, rel=0.2)


def test_a_view_that_is_left_out_leaves_its_part_of_a_term() -> None:
    stage = moving_stage("eye_to_hand", 15)
    off = Transform.exp([0.04, 0.0, 0.02, 0.0, 0.1, 0.0])
    views = list(stage.views)
    views[4] = replace(views[4], T_base_flange=views[4].flange @ off, name="bumped")
    terms = (delay_of(views), Stretch(UNKNOWN, EVENLY))
    result = calibrate_hand_eye(views, intrinsics=LENS, terms=terms)
    assert [view.name for view in result.views if not view.used] == ["bumped"]
    assert result.terms[0].theta[0] == pytest.approx(DELAY, abs=4 * result.terms[0].sigma[0])


@pytest.mark.parametrize("mount", MOUNTS)
def test_held_out_errors_count_the_terms_in(mount: Mount) -> None:
    stage = moving_stage(mount, 12)
    told = {"intrinsics": LENS, "mount": mount, "pixel_sigma": 0.3, "arm_sigma": ARM}
    terms = [delay_of(stage.views), Stretch(UNKNOWN, EVENLY)]
    full = calibrate_hand_eye(stage.views, terms=terms, **told)  # pyright: ignore[reportArgumentType]
    keep = np.arange(12) != 5
    rest = calibrate_hand_eye(
        [view for view, k in zip(stage.views, keep, strict=True) if k],
        terms=[term.select(keep) for term in terms],
        **told,  # pyright: ignore[reportArgumentType]
    )
    assert full.views[5].position_error < 4e-3
    # The view is predicted by the rest with the rest's own delay and scale.
    theta = np.concatenate([estimate.theta for estimate in rest.terms])
    stack = TermStack(terms)
    flange = Transform(stack.flanges(np.stack([v.flange.matrix for v in stage.views]), theta)[5])
    arm = flange if mount == "eye_to_hand" else flange.inv()
    expected = rest.T_mount_camera.inv() @ arm @ rest.T_holder_board
    points = stage.views[5].detection.points_board * (1.0 + theta[1])
    uv = stage.views[5].detection.points_image
    seen = Corners([replace(stage.views[5].detection, points_board=points)], LENS)
    assert uv.shape == (len(points), 2)
    step = seen.linearise(expected.matrix[None]).twist[0]
    centre = points.mean(axis=0)
    apart = (Transform.exp(step) @ expected).apply(centre) - expected.apply(centre)
    assert full.views[5].position_error == pytest.approx(float(np.linalg.norm(apart)), rel=0.03)


def test_corrections_of_several_arm_terms_follow_each_other_with_the_derivatives_stated(
    rng: np.random.Generator,
) -> None:
    reported = batch.exp(rng.normal(size=(4, 6)))
    stack = TermStack([Delay(reported, rng.normal(size=(4, 6)), UNKNOWN) for _ in range(3)])
    theta = np.array([0.1, -0.2, 0.3])
    at, h = stack.flanges(reported, theta), 1e-6
    for k, step in enumerate(h * np.eye(3)):
        numeric = batch.log(batch.inverses(at) @ stack.flanges(reported, theta + step)) / h
        np.testing.assert_allclose(stack.flange_derivatives(reported, theta)[:, :, k], numeric, atol=1e-5)


def test_corrections_of_several_sight_terms_follow_each_other_with_the_derivatives_stated(
    rng: np.random.Generator,
) -> None:
    stage = make_stage(rng, "eye_to_hand", 3)
    given = Corners([view.detection for view in stage.views], LENS)
    poses = batch.exp(np.tile([-0.1, -0.05, 0.5, 0.1, 0.2, 0.3], (3, 1)))
    stack = TermStack([Stretch(UNKNOWN, axes) for axes in (EVENLY, np.array([1.0, 0.0, 0.0]))])
    theta, h = np.array([0.02, -0.03]), 1e-6

    def pixels(at: Floats) -> Floats:
        seen = stack.evidence(given, at)
        assert isinstance(seen, Corners)
        return project(seen.points_camera(poses), seen.intrinsics)[0]

    stated = stack.corner_derivatives(stack.evidence(given, theta), theta, poses)
    assert stated is not None
    for k, step in enumerate(h * np.eye(2)):
        numeric = (pixels(theta + step) - pixels(theta - step)) / (2 * h)
        np.testing.assert_allclose(stated[:, :, k], numeric, atol=1e-4)


def test_the_two_kinds_of_terms_are_told_apart() -> None:
    assert isinstance(Delay(np.empty((0, 4, 4)), np.empty((0, 6)), UNKNOWN), ArmTerm)
    assert isinstance(Stretch(UNKNOWN, EVENLY), SightTerm)
    assert not isinstance(Stretch(UNKNOWN, EVENLY), ArmTerm)


def test_a_prior_without_width_is_refused() -> None:
    with pytest.raises(ValueError, match="positive standard deviation"):
        TermStack([Stretch(np.array([0.0]), EVENLY)])


def test_a_lens_that_is_not_sure_makes_the_camera_as_unsure_as_it_is() -> None:
    deviation = np.array([8.0, 8.0, 6.0, 6.0])
    covariance = np.zeros((9, 9))
    covariance[:4, :4] = np.diag(np.square(deviation))
    covariance[0, 1] = covariance[1, 0] = 0.9 * deviation[0] * deviation[1]
    normalised, exact = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        stage = make_stage(rng, "eye_to_hand", 12, pixel=0.3, translation=ARM.translation, rotation=ARM.rotation)
        K = LENS.K.copy()
        K[[0, 1, 0, 1], [0, 1, 2, 2]] += np.linalg.cholesky(covariance[:4, :4]) @ rng.normal(size=4)
        told = replace(LENS, K=K, covariance=covariance)
        result = calibrate_hand_eye(stage.views, intrinsics=told, systematics=())
        twist = (result.T_mount_camera.inv() @ stage.T_mount_camera).log()
        normalised.append(twist @ np.linalg.solve(result.covariance, twist) / 6.0)
        ignored = calibrate_hand_eye(stage.views, intrinsics=replace(told, covariance=None), systematics=())
        twist = (ignored.T_mount_camera.inv() @ stage.T_mount_camera).log()
        exact.append(twist @ np.linalg.solve(ignored.covariance, twist) / 6.0)
    assert 0.5 < np.mean(normalised) < 1.6
    assert np.mean(exact) > 1.5 * np.mean(normalised)
