"""The arm as the camera shows it: what can be known of its errors, and that they are found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from calibration_arms import NOISE, UR5E, off_its_drawing, postures, see, setup
from calibration_stage import LENS, MOUNTS
from numpy.testing import assert_allclose

from calibration import (
    ArmPrior,
    LinkErrors,
    LinkTerm,
    batch,
    calibrate_arm,
    calibrate_arm_poses,
    rig_with_arm,
)
from calibration.hand_eye.chain import ChainState, camera_board
from calibration.hand_eye.terms import ArmTerm
from vision_ik.errors import CalibrationError
from vision_ik.ik import load_solver
from vision_ik.rig import Mount, Rig, load_rig, save_rig
from vision_ik.robots import list_robots, load_robot, save_urdf
from vision_ik.transforms import Transform
from vision_ik.types import Floats


def with_mount_and_holder(derivatives: Floats, flanges: Floats) -> Floats:
    """Return (N * 6, 12 + k) flange twists by base, flange and errors."""
    by_base = batch.adjoints(batch.inverses(flanges))
    by_flange = np.tile(np.eye(6), (len(flanges), 1, 1))
    return np.concatenate([by_base, by_flange, derivatives], axis=2).reshape(-1, 12 + derivatives.shape[2])


@pytest.mark.parametrize("name", list_robots())
def test_errors_are_as_many_as_can_be_told_and_miss_none(name: str, rng: np.random.Generator) -> None:
    robot = load_robot(name)
    errors = LinkErrors.of(robot)
    assert errors.count == 4 * robot.n - 6, "Everett & Hsu: 4 a joint, less what mount and holder have"
    q = robot.random(rng, 40)
    flanges, by_errors = errors.derivatives(np.zeros(errors.count), q)
    known = with_mount_and_holder(by_errors, flanges)
    assert np.linalg.cond(known / np.linalg.norm(known, axis=0)) < 100.0, "an error hides behind the others"
    every = LinkErrors(robot, errors.frames, np.arange(6 * (robot.n - 1)))
    moves = every.derivatives(np.zeros(6 * (robot.n - 1)), q)[1].reshape(len(known), -1)
    left = moves - known @ np.linalg.lstsq(known, moves, rcond=None)[0]
    assert_allclose(left, 0.0, atol=1e-9)


def test_sliding_and_coaxial_joints_have_the_errors_that_show(rng: np.random.Generator) -> None:
    fixed = np.tile(np.eye(4), (6, 1, 1))
    fixed[1] = Transform.exp([0.3, 0.1, 0.0, 1.2, 0.0, 0.0]).matrix  # joint 1 slides
    fixed[2] = Transform.exp([0.1, 0.0, 0.2, 0.0, 1.5, 0.0]).matrix
    fixed[3, 2, 3] = 0.25  # joint 3 turns about the axis of joint 2
    fixed[4] = Transform.exp([0.2, 0.0, 0.0, 0.0, -1.5, 0.3]).matrix
    robot = replace(
        load_robot("so101"),
        fixed=fixed,
        prismatic=np.array([False, True, False, False, False]),
        lower=np.full(5, -1.0),
        upper=np.full(5, 1.0),
        home=np.zeros(5),
    )
    errors = LinkErrors.of(robot)
    q = robot.random(rng, 60)
    flanges, by_errors = errors.derivatives(np.zeros(errors.count), q)
    known = with_mount_and_holder(by_errors, flanges)
    every = LinkErrors(robot, errors.frames, np.arange(24))
    moves = every.derivatives(np.zeros(24), q)[1].reshape(len(known), -1)
    rank = np.linalg.matrix_rank(np.concatenate([known[:, :12], moves], axis=1), tol=1e-8)
    assert known.shape[1] == rank == np.linalg.matrix_rank(known, tol=1e-8)
    assert sum(name.endswith("zero [rad]") for name in errors.names) < 5


def test_derivatives_agree_with_differences_where_errors_are_large(rng: np.random.Generator) -> None:
    term = LinkTerm(errors=LinkErrors.of(UR5E), q=UR5E.random(rng, 5), prior=ArmPrior())
    assert isinstance(term, ArmTerm)
    theta = 0.01 * rng.normal(size=len(term.parameters))
    at, by_theta = term.flanges(theta), term.derivatives(theta)
    assert_allclose(term.flanges(0.0 * theta), UR5E.forward(term.q), atol=1e-12)
    h = 1e-6
    for k, step in enumerate(h * np.eye(len(theta))):
        apart = batch.log(batch.inverses(term.flanges(theta - step)) @ term.flanges(theta + step)) / (2.0 * h)
        assert_allclose(by_theta[:, :, k], apart, atol=1e-7)
    keep = np.array([True, False, True, False, True])
    assert_allclose(term.select(keep).flanges(theta), at[keep], atol=1e-14)


@pytest.mark.parametrize("mount", MOUNTS)
def test_an_arm_that_is_not_as_drawn_is_found_with_a_covariance_that_holds(mount: Mount) -> None:
    rng = np.random.default_rng(5)
    true = off_its_drawing(UR5E, rng)
    q = postures(mount, 60, rng)
    found = calibrate_arm(see(true, mount, q[:40], rng), robot=UR5E, intrinsics=LENS, mount=mount)
    assert found.adopted
    assert found.gain > 20.0
    assert found.held_out_after < 0.6 * found.held_out_before
    X, Y = setup(mount)
    truth = camera_board(ChainState(X, Y, np.eye(4)[None]), true.forward(q[40:]), mount)
    predicted, covariances = found.predict(q[40:])
    error = batch.log(truth @ batch.inverses(predicted))
    assert np.linalg.norm(error[:, :3], axis=1).max() < 1e-3
    normalised = np.einsum("na,nab,nb->n", error, np.linalg.inv(covariances), error).mean() / 6.0
    assert 0.6 < normalised < 1.35
    told = [error for error in found.link_errors if error.is_told]
    assert len(told) > 10
    assert max(error.sigmas for error in told) > 5.0
    assert found.note.startswith("Calibrated from 40 views")


def test_an_arm_as_drawn_is_left_so(rng: np.random.Generator) -> None:
    q = postures("eye_to_hand", 30, rng)
    found = calibrate_arm(see(UR5E, "eye_to_hand", q, rng), robot=UR5E, intrinsics=LENS)
    assert not found.adopted
    assert found.robot is UR5E
    assert found.gain < 0.0
    assert found.hand_eye is found.hand_eye_nominal
    assert found.predict(q)[1].shape == (30, 6, 6)


def test_zeros_set_by_hand_are_found_with_bad_views_among_the_good(rng: np.random.Generator) -> None:
    true = off_its_drawing(UR5E, rng, ArmPrior(zero=float(np.deg2rad(3.0))))
    q = postures("eye_in_hand", 40, rng)
    views = see(true, "eye_in_hand", q, rng)
    bad = (3, 17, 28)
    for i in bad:
        views[i] = replace(views[i], q=q[i] + 0.05 * rng.normal(size=6))
    found = calibrate_arm(views, robot=UR5E, intrinsics=LENS, mount="eye_in_hand")
    assert found.adopted
    assert found.prior.zero > np.deg2rad(0.5)
    assert not any(found.hand_eye.views[i].used for i in bad)
    assert found.hand_eye.used_views >= 35
    assert found.held_out_after < 2e-3 < found.held_out_before
    assert any("another chain" in text for text in found.warnings)  # poses of the bad views were not of their joints


def test_the_calibrated_arm_is_written_and_solved_with_the_seeds_of_the_nominal_one(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    true = off_its_drawing(UR5E, rng)
    found = calibrate_arm(see(true, "eye_to_hand", postures("eye_to_hand", 30, rng), rng), robot=UR5E, intrinsics=LENS)
    file = save_urdf(found.robot, tmp_path / "ur5e_calibrated.urdf", note=found.note)
    solver = load_solver(file)
    assert solver.robot.hash == found.robot.hash != UR5E.hash
    assert solver.seeds is not None
    assert solver.seeds.trained_for == "ur5e"
    assert solver.seeds.first_shot_measured > 0.98
    assert_allclose(solver.robot.home, UR5E.home)
    again = calibrate_arm(
        see(true, "eye_to_hand", postures("eye_to_hand", 30, rng), rng), robot=solver.robot, intrinsics=LENS
    )
    assert again.robot.name == "ur5e_calibrated"


def test_poses_of_a_target_calibrate_as_well(rng: np.random.Generator) -> None:
    X, Y = setup("eye_to_hand")
    true = off_its_drawing(UR5E, rng)
    q = UR5E.random(rng, 40)
    shaken = true.forward(q) @ batch.exp(NOISE * rng.normal(size=(40, 6)))
    seen = camera_board(ChainState(X, Y, np.eye(4)[None]), shaken, "eye_to_hand")
    found = calibrate_arm_poses(q, seen, robot=UR5E)
    assert found.adopted
    error = found.hand_eye.arm_sigma.translation / NOISE[0]
    assert 0.8 < error < 1.25
    with pytest.raises(ValueError, match="6 joints"):
        calibrate_arm_poses(q[:, :5], seen, robot=UR5E)


def test_what_few_or_poor_views_cannot_tell_is_said(rng: np.random.Generator) -> None:
    true = off_its_drawing(UR5E, rng, ArmPrior(position=2e-3, angle=0.01, zero=0.01))
    q = postures("eye_to_hand", 12, rng)
    q[:, 0] = q[0, 0] + 0.05 * rng.normal(size=12)
    found = calibrate_arm(see(true, "eye_to_hand", q, rng), robot=UR5E, intrinsics=LENS)
    text = " ".join(found.warnings)
    assert "views for 18 errors of the arm are few" in text
    assert "Joint shoulder_pan_joint used only" in text
    assert "do not show in these views" in text


def test_views_without_the_right_joints_are_refused(rng: np.random.Generator) -> None:
    views = see(UR5E, "eye_to_hand", postures("eye_to_hand", 4, rng), rng)
    blind = [*views[:3], replace(views[3], q=None, name="last")]
    with pytest.raises(CalibrationError, match="1 of 4 views have no joint values: last"):
        calibrate_arm(blind, robot=UR5E, intrinsics=LENS)
    with pytest.raises(CalibrationError, match="7 joints"):
        calibrate_arm(views, robot=load_robot("panda"), intrinsics=LENS)
    degrees = [replace(view, q=np.rad2deg(view.q)) for view in views if view.q is not None]
    with pytest.raises(CalibrationError, match="look like degrees"):
        calibrate_arm(degrees, robot=UR5E, intrinsics=LENS)
    with pytest.raises(ValueError, match="positive"):
        ArmPrior(position=0.0)


def test_a_controller_with_a_tool_or_a_base_of_its_own_is_no_other_chain(rng: np.random.Generator) -> None:
    views = see(UR5E, "eye_to_hand", postures("eye_to_hand", 12, rng), rng)
    tool = Transform.exp([0.0, 0.0, 0.1, 0.0, 0.0, 0.5])
    told = [replace(view, T_base_flange=view.flange @ tool) for view in views]
    assert not any("another chain" in text for text in calibrate_arm(told, robot=UR5E, intrinsics=LENS).warnings)
    off = off_its_drawing(UR5E, rng)
    own = [replace(view, T_base_flange=off.forward(view.q)) for view in views if view.q is not None]
    assert any("another chain" in text for text in calibrate_arm(own, robot=UR5E, intrinsics=LENS).warnings)


def test_a_rig_takes_the_calibrated_arm_and_its_camera(rng: np.random.Generator, tmp_path: Path) -> None:
    true = off_its_drawing(UR5E, rng)
    found = calibrate_arm(see(true, "eye_to_hand", postures("eye_to_hand", 30, rng), rng), robot=UR5E, intrinsics=LENS)
    rig = rig_with_arm(Rig(robot="ur5e", tip="tool0", default_tag_size=0.05), found, tmp_path)
    save_rig(rig, tmp_path)
    assert 'robot = "ur5e_calibrated.urdf"' in (tmp_path / "rig.toml").read_text()
    read = load_rig(tmp_path)
    robot = load_robot(read.robot, read.base, read.tip)
    assert robot.hash == read.robot_hash == found.robot.hash
    assert read.T_mount_camera is not None
    assert max(read.T_mount_camera.distance_to(found.hand_eye.T_mount_camera)) < 1e-12
    assert read.default_tag_size == 0.05
    assert "held-out" in read.provenance["arm"]
    drawn = rig_with_arm(Rig(robot="ur5e"), replace(found, adopted=False, robot=UR5E), tmp_path)
    assert (drawn.robot, drawn.robot_hash) == ("ur5e", UR5E.hash)


def test_a_board_of_another_size_is_noticed_and_not_taken_for_another_arm(rng: np.random.Generator) -> None:
    views = see(UR5E, "eye_to_hand", postures("eye_to_hand", 30, rng), rng)
    small = [
        replace(view, detection=replace(view.detection, points_board=1.024 * view.detection.points_board))
        for view in views
    ]
    found = calibrate_arm(small, robot=UR5E, intrinsics=LENS)
    assert not found.adopted
    assert any("% smaller than told" in text for text in found.warnings)
    assert calibrate_arm(small, robot=UR5E, intrinsics=LENS, board_sigma=0.0).adopted, "its links would fit the board"


def test_the_board_is_believed_as_far_as_its_sigma_says(rng: np.random.Generator) -> None:
    views = see(UR5E, "eye_to_hand", postures("eye_to_hand", 15, rng), rng)
    small = [
        replace(view, detection=replace(view.detection, points_board=1.01 * view.detection.points_board))
        for view in views
    ]
    found = [calibrate_arm(small, robot=UR5E, intrinsics=LENS, board_sigma=sigma) for sigma in (0.003, 0.03)]
    tight, loose = ([term for term in each.hand_eye.terms if term.name == "board scale"] for each in found)
    assert tight[0].sigma[0] < loose[0].sigma[0]
    assert abs(tight[0].theta[0]) < abs(loose[0].theta[0])


def test_a_lens_that_is_not_sure_counts_in_all_that_is_told_of_the_arm(rng: np.random.Generator) -> None:
    true = off_its_drawing(UR5E, rng)
    views = see(true, "eye_to_hand", postures("eye_to_hand", 35, rng), rng)
    sigma = np.array([4.0, 4.0, 3.0, 3.0, 0.01, 0.02, 5e-4, 5e-4, 0.02])
    K = LENS.K + np.array([[5.0, 0.0, 3.0], [0.0, 5.0, -3.0], [0.0, 0.0, 0.0]])
    found = calibrate_arm(views, robot=UR5E, intrinsics=replace(LENS, K=K, covariance=np.diag(sigma**2)))
    assert found.adopted
    assert np.sqrt(np.diag(found.covariance)[:6]) == pytest.approx(
        np.sqrt(np.diag(found.hand_eye.covariance)), rel=0.02
    )
    off = found.hand_eye.T_mount_camera.translation - setup("eye_to_hand")[0][:3, 3]
    assert np.linalg.norm(off) < 3.0 * np.sqrt(np.trace(found.covariance[:3, :3]))
    assert found.hand_eye.intrinsics is not None
    assert found.hand_eye.intrinsics.K[0, 0] == pytest.approx(LENS.K[0, 0], abs=2.5)
