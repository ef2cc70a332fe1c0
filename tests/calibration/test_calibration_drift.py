"""The drift monitor: silent while nothing moves, quick and right about what moved."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from calibration import DriftMonitor, DriftState, DriftStatus, KnownMarker
from calibration.drift.cusum import ShiftSums
from calibration.drift.explaining import Moved
from calibration.hand_eye.values import ArmNoise
from vision_ik.rig import Mount, Rig
from vision_ik.transforms import Transform
from vision_ik.types import Floats, PoseEstimate

RIG = Rig(
    robot="panda",
    mount="eye_to_hand",
    T_mount_camera=Transform.from_xyz_rpy([1.0, 0.1, 0.8], [-2.2, 0.1, 1.4]),
)
SIGMA = np.array([0.2e-3, 0.2e-3, 0.8e-3, 4e-3, 4e-3, 1e-3])
"""[m, rad] Of one sighting, in the tag's frame."""
PLACES = [
    Transform.from_xyz_rpy([-0.2, 0.1, 0.7], [2.8, 0.4, 0.3]),
    Transform.from_xyz_rpy([0.2, 0.1, 0.8], [3.4, -0.4, 0.9]),
    Transform.from_xyz_rpy([0.0, -0.2, 0.9], [2.9, 0.3, -1.9]),
]
"""T_camera_tag of each marker."""
NOWHERE = np.zeros(6)

Look = Callable[[float], Sequence[Transform]]


def sighting(tag_id: int, time: float, T_camera_tag: Transform, noise: Floats) -> PoseEstimate:
    """Return a tag seen with an error; the covariance says 1 sigma of white noise."""
    return PoseEstimate(
        tag_id=tag_id,
        timestamp=time,
        T_camera_tag=T_camera_tag @ Transform.exp(noise),
        covariance=np.diag(SIGMA**2),
        reprojection_error=0.2,
    )


def watch(
    monitor: DriftMonitor, seconds: float, look: Look, rng: np.random.Generator, *, lasting: float = 0.0
) -> DriftStatus:
    """Feed what is seen at 10 Hz, with noise of which the share ``lasting`` stays for some twenty seconds."""
    slow = np.zeros((len(PLACES), 6))
    status = monitor.status
    for step in range(round(seconds * 10)):
        time = step / 10
        slow = 0.995 * slow + np.sqrt(1 - 0.995**2) * rng.normal(size=slow.shape)
        status = monitor.update(
            time,
            [sighting(i, time, T, SIGMA * (rng.normal(size=6) + lasting * slow[i])) for i, T in enumerate(look(time))],
        )
    return status


def moved_camera(shift: Floats, at: float, count: int = 3) -> Look:
    """Return what is seen when the camera moves by a twist in its own frame."""
    return lambda time: [Transform.exp(-shift) @ T if time >= at else T for T in PLACES[:count]]


def make(count: int = 3) -> DriftMonitor:
    return DriftMonitor(RIG, [KnownMarker(tag_id=i) for i in range(count)])


def test_noise_that_lasts_for_seconds_raises_no_alarm(rng: np.random.Generator) -> None:
    for _ in range(4):
        status = watch(make(), 150.0, moved_camera(NOWHERE, np.inf), rng, lasting=0.5)
        assert status.state is DriftState.OK
        assert "where they were" in status.sentence


@pytest.mark.parametrize("shift", [[2e-3, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, np.deg2rad(0.3)]])
def test_a_camera_that_moved_is_named_within_seconds(shift: list[float], rng: np.random.Generator) -> None:
    status = watch(make(), 60.0, moved_camera(np.array(shift), 40.0), rng)
    assert status.state is DriftState.WARNING
    assert 40.0 < status.time < 44.0
    assert 38.0 < status.since <= 40.5
    assert status.moved is Moved.CAMERA
    assert status.markers == ()
    assert "The camera moved by about" in status.sentence
    assert "three views" in status.remedy
    assert status.shift is not None
    assert status.shift_covariance is not None
    off = status.shift - np.array(shift)
    assert off @ np.linalg.solve(status.shift_covariance, off) < 40.0
    np.testing.assert_allclose(status.shift, shift, atol=1.2e-3)


def test_a_marker_that_moved_is_named_and_the_camera_cleared(rng: np.random.Generator) -> None:
    pushed = Transform.exp([4e-3, 0, 0, 0, 0, 0.02])

    def look(time: float) -> list[Transform]:
        return [PLACES[0], PLACES[1] @ pushed if time >= 40.0 else PLACES[1], PLACES[2]]

    status = watch(make(), 65.0, look, rng)
    assert status.moved is Moved.MARKER
    assert status.markers == (1,)
    assert "the camera did not" in status.sentence
    assert status.translation == pytest.approx(4e-3, abs=1e-3)


def test_one_marker_alone_cannot_tell_what_moved(rng: np.random.Generator) -> None:
    status = watch(make(1), 60.0, moved_camera(np.array([3e-3, 0, 0, 0, 0, 0]), 40.0, 1), rng)
    assert status.moved is Moved.EITHER
    assert "camera or marker 0" in status.sentence


def test_half_of_what_matters_is_passed_over(rng: np.random.Generator) -> None:
    little = np.array([0.3e-3, 0, 0, 0, 0, 0])
    status = watch(make(), 120.0, moved_camera(little, 40.0), rng)
    assert status.state is DriftState.OK


def test_misread_frames_and_mirrored_poses_are_no_shift(rng: np.random.Generator) -> None:
    monitor = make(1)
    flipped = PLACES[0] @ Transform.exp([0, 0, 0, 0.6, 0, 0])
    status = monitor.status
    for step in range(600):
        time = step / 10
        seen = sighting(0, time, PLACES[0], SIGMA * rng.normal(size=6))
        if step > 300 and step % 5 == 0:
            seen = sighting(0, time, PLACES[0], np.array([0.05, 0, 0, 0, 0, 0]))
        elif step > 300 and step % 5 < 4:
            seen = PoseEstimate(
                tag_id=0,
                timestamp=time,
                T_camera_tag=flipped,
                covariance=seen.covariance,
                reprojection_error=0.2,
                alternative=seen.T_camera_tag,
                alternative_covariance=seen.covariance,
            )
        status = monitor.update(time, [seen])
    assert status.state is DriftState.OK


def test_a_marker_that_stands_elsewhere_than_told_is_said_at_the_start(rng: np.random.Generator) -> None:
    X = RIG.T_mount_camera
    assert X is not None
    bumped = np.array([5e-3, 0, 0, 0, 0.01, 0])
    learned = make()
    assert watch(learned, 25.0, moved_camera(NOWHERE, np.inf), rng).state is DriftState.OK
    told = learned.places()
    place = told[0].T_holder_tag
    assert isinstance(place, Transform)
    assert place.distance_to(X @ PLACES[0])[0] < 1e-3
    assert watch(DriftMonitor(RIG, told), 25.0, moved_camera(NOWHERE, np.inf), rng).state is DriftState.OK
    status = watch(DriftMonitor(RIG, told), 25.0, moved_camera(bumped, 0.0), rng)
    assert status.state is DriftState.WARNING
    assert status.moved is Moved.CAMERA
    assert "since the calibration" in status.sentence
    assert status.shift is not None
    np.testing.assert_allclose(status.shift, bumped, atol=1.5e-3)


@pytest.mark.parametrize("mount", ["eye_to_hand", "eye_in_hand"])
def test_an_arm_that_stands_still_counts_once_however_long(mount: Mount, rng: np.random.Generator) -> None:
    X = Transform.from_xyz_rpy([0.05, 0.0, 0.06], [0.1, 0.0, 0.2])
    rig = Rig(robot="panda", mount=mount, T_mount_camera=X)
    arm = ArmNoise(translation=0.5e-3, rotation=float(np.deg2rad(0.1)))
    marker = KnownMarker(tag_id=0, holder="base" if mount == "eye_in_hand" else "flange")
    monitor = DriftMonitor(rig, [marker], arm_sigma=arm)
    Y = Transform.from_xyz_rpy([0.02, 0.03, 0.1], [0.2, 0.1, 0.4])
    states: list[DriftState] = []
    status, time = monitor.status, 0.0
    for posture in range(60):
        T_camera_tag = PLACES[posture % 3] @ Transform.exp(0.1 * rng.normal(size=6))
        true = X @ T_camera_tag @ Y.inv()
        true = true if mount == "eye_to_hand" else true.inv()
        error = np.repeat([arm.translation, arm.rotation], 3) * rng.normal(size=6)
        if posture == 59:
            error[:3] = 8.0 * arm.translation  # one posture in which it is far off, for long
        for _ in range(200 if posture == 59 else 10):
            time += 0.1
            status = monitor.update(
                time, [sighting(0, time, T_camera_tag, SIGMA * rng.normal(size=6))], true @ Transform.exp(error)
            )
            states.append(status.state)
    assert states[0] is DriftState.LEARNING
    assert states[-1] is DriftState.OK
    # Now the camera is pushed by 12 mm: the next postures show it.
    pushed = Transform.exp([12e-3, 0, 0, 0, 0, 0])
    for posture in range(20):
        T_camera_tag = PLACES[posture % 3] @ Transform.exp(0.1 * rng.normal(size=6))
        true = X @ pushed @ T_camera_tag @ Y.inv()
        true = true if mount == "eye_to_hand" else true.inv()
        for _ in range(10):
            time += 0.1
            status = monitor.update(time, [sighting(0, time, T_camera_tag, SIGMA * rng.normal(size=6))], true)
    assert status.state is DriftState.WARNING
    assert "off since" in status.sentence


def test_sums_pass_their_threshold_as_rarely_as_promised(rng: np.random.Generator) -> None:
    """Lorden's bound: exp(threshold) steps between false alarms of one sum, whatever the covariances."""
    alarms, steps, threshold = 0, 20_000, float(np.log(500.0 * ShiftSums.count()))
    sums = ShiftSums(2e-3, np.deg2rad(0.3), threshold)
    tiny = 1e-12 * np.eye(6)
    for step in range(steps):
        covariance = np.diag(SIGMA**2) * (1.0 + step % 4)
        offset = np.sqrt(np.diag(covariance)) * rng.normal(size=6)
        sums.add(sums.ratios([(offset, covariance, tiny, np.eye(6))]), float(step))
        if sums.value >= threshold:
            alarms += 1
            sums = ShiftSums(2e-3, np.deg2rad(0.3), threshold)
    assert alarms <= 1.5 * steps / 500.0


def test_time_that_runs_backward_and_a_missing_arm_are_refused() -> None:
    monitor = make(1)
    monitor.update(1.0, [])
    with pytest.raises(ValueError, match="Time runs backward"):
        monitor.update(0.5, [])
    carried = DriftMonitor(RIG, [KnownMarker(tag_id=0, holder="flange")])
    with pytest.raises(ValueError, match="T_base_flange is needed"):
        carried.update(0.0, [sighting(0, 0.0, PLACES[0], NOWHERE)])
