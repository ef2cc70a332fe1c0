"""The closed loop on a virtual clock: it gets there and follows, within the limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from control_stage import FAST, SmallSolver, Stage, fastest, figure_eight, modes

from vision_ik.control import Mode, ServoLoop, ServoSettings
from vision_ik.testing import FakeCamera, blank_frame
from vision_ik.transforms import Transform
from vision_ik.types import IkSolution, JointCommand


def test_a_still_tag_is_reached_exactly_within_the_limits() -> None:
    stage = Stage()
    steps = stage.run(4.0)
    m, rad = stage.tool_error(steps[-1])
    assert m < 1e-5
    assert rad < 1e-5
    assert modes(steps) == [Mode.IDLE, Mode.TRACKING]
    stage.assert_limits_kept(steps)


def test_noise_of_the_corners_ends_up_below_a_millimetre() -> None:
    stage = Stage(sigma_px=0.1)
    errors = [stage.tool_error(step) for step in stage.run(6.0)[400:]]
    m, rad = np.median(errors, axis=0)
    assert m < 1e-3
    assert rad < np.deg2rad(0.3)


def test_a_moving_tag_is_followed_without_the_lag_of_the_camera() -> None:
    stage = Stage(figure_eight)
    steps = stage.run(8.0)
    errors = np.array([stage.tool_error(step)[0] for step in steps[400:]])
    # The camera alone is 50 to 83 ms late, which would cost 3 to 8 mm at up to 0.1 m/s.
    assert np.sqrt(np.mean(errors**2)) < 1.3e-3
    stage.assert_limits_kept(steps)


def test_the_lag_of_the_arm_is_made_up_for_by_predicting_further() -> None:
    rms: list[float] = []
    for latency in (0.0, 0.05):
        stage = Stage(figure_eight, lag=0.05)
        steps = stage.run(8.0, replace(FAST, arm_latency=latency))
        errors = [
            (figure_eight(step.timestamp) @ stage.rig.T_tag_target).distance_to(
                Transform(stage.robot.forward(step.state.q))
            )[0]
            for step in steps[400:]
            if step.state is not None
        ]
        rms.append(float(np.sqrt(np.mean(np.square(errors)))))
    assert rms[1] < 0.5 * rms[0]


def test_an_eye_in_hand_uses_the_posture_at_the_time_of_the_frame() -> None:
    look = np.array([0.0, -0.6, 0.0, -2.1, 0.0, 1.55, 0.8])
    T_base_tag = Transform.from_xyz_rpy((0.45, 0.0, 0.1), (0.35, 0.2, 0.3))
    stage = Stage(lambda _t: T_base_tag, eye_in_hand=True, q=look)
    steps = stage.run(4.0, FAST)
    errors = np.array(
        [
            step.target.T_base_target.distance_to(T_base_tag @ stage.rig.T_tag_target)[0]
            for step in steps
            if step.target is not None
        ]
    )
    assert errors.max() < 2e-3, "the tag stands still, but seemed to move with the arm"
    assert stage.tool_error(steps[-1])[0] < 1e-3


def test_the_first_motion_is_slow() -> None:
    stage = Stage()
    steps = stage.run(0.6, ServoSettings(soft_start_s=1.0, soft_start_speed=0.1, speed_scale=0.5))
    moving = [step for step in steps if step.verdict.moving]
    for step in moving:
        share = 0.5 * (0.1 + 0.9 * (step.timestamp - moving[0].timestamp + 0.01))
        assert step.command is not None
        assert (np.abs(step.command.dq) <= share * stage.robot.velocity + 1e-9).all()


def test_a_target_that_returns_is_followed_again_softly() -> None:
    stage = Stage(figure_eight, hidden=lambda t: 13.0 < t < 15.0)
    steps = stage.run(9.0)
    assert modes(steps) == [Mode.IDLE, Mode.TRACKING, Mode.COASTING, Mode.HOLDING, Mode.TRACKING]
    back = [step for step in steps if step.timestamp > 15.0 and step.verdict.moving][:20]
    assert fastest(stage, back) <= 0.5 * (0.1 + 0.9 * 0.21) + 1e-6
    assert stage.tool_error(steps[-1])[0] < 3e-3
    stage.assert_limits_kept(steps)


def test_single_dropped_frames_are_coasted_over() -> None:
    stage = Stage(figure_eight, drop=lambda k: k % 4 == 1)
    steps = stage.run(8.0)
    errors = np.array([stage.tool_error(step)[0] for step in steps[400:]])
    assert np.sqrt(np.mean(errors**2)) < 2.5e-3
    assert Mode.HOLDING not in modes(steps)
    stage.assert_limits_kept(steps)


def test_a_changed_posture_is_told_and_moved_to_within_the_limits() -> None:
    class Jumpy(SmallSolver):
        jumped = False

        def solve(self, T_base_tool: object, q_start: object = None) -> IkSolution:
            solution = super().solve(T_base_tool, q_start)  # pyright: ignore[reportArgumentType]
            if not self.jumped:
                return solution
            return replace(solution, q=solution.q + np.array([0.9, 0, 0, 0, 0, 0, 0]))

    stage = Stage()
    solver = Jumpy(stage.robot)

    def jump(elapsed: float) -> None:
        solver.jumped = elapsed > 3.0

    steps = stage.run(6.0, solver=solver, before=jump)
    told = [step.verdict.reason for step in steps if "posture" in step.verdict.reason]
    assert told
    assert "panda_joint1" in told[0]
    stage.assert_limits_kept(steps)


def test_duplicated_frames_and_frames_from_the_past_change_nothing() -> None:
    stage = Stage()
    steps = stage.run(2.0, FAST)
    newest = next(step.frame for step in reversed(steps) if step.frame is not None)
    loop = ServoLoop(
        rig=stage.rig,
        solver=SmallSolver(stage.robot),
        robot=stage.robot,
        detector=stage.detector,
    )
    stage.arm.resume()
    now = stage.clock.now()
    state = stage.arm.read()
    first = loop.tick(now, state, newest)
    again = loop.tick(now + 0.01, state, newest)
    past = loop.tick(now + 0.02, state, replace(newest, timestamp=newest.timestamp - 0.5))
    assert len(first.detections) == 1
    assert (again.detections, past.detections) == ([], [])
    assert loop.sight.last_seen == newest.timestamp


def test_a_set_point_clipped_by_the_arm_is_taken_over() -> None:
    stage = Stage()
    loop = ServoLoop(rig=stage.rig, solver=SmallSolver(stage.robot), robot=stage.robot, detector=stage.detector)
    loop.tick(10.0, stage.arm.read())
    q = stage.robot.home + 0.01
    loop.sent(
        JointCommand(names=stage.robot.joint_names, q=q, dq=np.zeros(7), timestamp=10.0, clipped_by=("velocity",))
    )
    assert np.array_equal(loop.trajectory.q, q)


def test_a_file_is_played_in_its_own_time_and_the_loop_ends_when_the_arm_stands() -> None:
    stage = Stage()
    lens = stage.camera.intrinsics
    frames = [blank_frame(10.0 + k / 10.0, k, lens) for k in range(20)]
    stage.camera = FakeCamera(frames, clock=stage.clock)
    steps = stage.run(60.0)
    seen = [(step.timestamp, step.frame.timestamp) for step in steps if step.frame is not None]
    assert len(seen) == 20
    assert all(0.0 <= now - taken + 1e-6 < 0.011 for now, taken in seen)
    # 1.9 s of frames, 0.25 s until they are stale, and the time to brake.
    assert stage.clock.now() < 10.0 + 1.9 + 0.25 + 0.3
    assert not stage.arm.stopped, "the end of a file is no fault"


def test_a_single_picture_is_reached_when_its_age_is_allowed() -> None:
    stage = Stage()
    stage.camera = FakeCamera([blank_frame(10.0, 0, stage.camera.intrinsics)], clock=stage.clock)
    steps = stage.run(60.0, ServoSettings(max_data_age=30.0))
    assert stage.tool_error(steps[-1])[0] < 1e-3
    assert stage.clock.now() < 16.0


def test_a_tag_without_a_size_is_told_while_the_arm_stands() -> None:
    stage = Stage()
    stage.rig = replace(stage.rig, default_tag_size=None, tag_sizes={3: 0.05})
    steps = stage.run(0.5)
    assert modes(steps) == [Mode.IDLE]
    assert "Tag 7 has no size" in steps[-1].verdict.reason
    assert len(steps[-1].poses) == 0


def test_only_the_chosen_tag_is_followed() -> None:
    stage = Stage()
    assert modes(stage.run(0.5, replace(FAST, tag_id=8))) == [Mode.IDLE]


def test_the_same_run_twice_sends_the_same_commands() -> None:
    logs = []
    for _ in range(2):
        stage = Stage(figure_eight, sigma_px=0.3, drop=lambda k: k % 7 == 3)
        stage.run(2.0)
        logs.append(np.array([q for _, q, _ in stage.arm.written]))
    assert np.array_equal(logs[0], logs[1])
