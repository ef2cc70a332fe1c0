"""Frames come at their time, joint states are known between readings, verdicts name what is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from vision_ik.control import FrameFeed, JointHistory, Mode, ServoSettings, Supervisor, WorkspaceBox
from vision_ik.errors import ArmError
from vision_ik.testing import FakeCamera, VirtualClock, blank_frame
from vision_ik.types import Floats, IkSolution, IkStatus, JointState

NAMES = ("a", "b")


def state(t: float, q: Floats, dq: Floats) -> JointState:
    return JointState(names=NAMES, q=q, dq=dq, timestamp=t)


def solution(status: IkStatus = IkStatus.CONVERGED, metres: float = 0.0, radians: float = 0.0) -> IkSolution:
    return IkSolution(
        q=np.zeros(2),
        status=status,
        position_error=metres,
        rotation_error=radians,
        seed="start",
        iterations=1,
        duration=0.0,
    )


def test_frames_of_a_file_wait_for_the_clock() -> None:
    feed = FrameFeed(FakeCamera([blank_frame(t, k) for k, t in enumerate((0.0, 0.1, 0.2))], clock=VirtualClock()))
    assert [f.index for f in feed.poll(0.05)] == [0]
    assert feed.poll(0.09) == []
    assert not feed.ended
    assert [f.index for f in feed.poll(0.25)] == [1, 2]
    assert feed.ended


def test_a_live_source_gives_at_most_the_newest_frame() -> None:
    clock = VirtualClock()
    feed = FrameFeed(FakeCamera(lambda _t, _k: np.zeros((48, 64, 3), dtype=np.uint8), clock=clock, rate=10.0))
    clock.sleep_until(0.55)
    assert [f.index for f in feed.poll(0.55)] == [5]
    assert feed.poll(0.55) == []
    assert not feed.ended


def test_the_posture_between_two_readings_follows_a_smooth_motion() -> None:
    history = JointHistory()

    def q(t: float) -> Floats:
        return np.array([np.sin(3 * t), np.cos(2 * t)])

    def dq(t: float) -> Floats:
        return np.array([3 * np.cos(3 * t), -2 * np.sin(2 * t)])

    for t in np.arange(0.0, 1.0, 0.02):
        history.add(state(float(t), q(t), dq(t)))
    for t in np.random.default_rng(0).uniform(0.0, 0.97, 50):
        # Linear interpolation would be off by 4.5e-4.
        assert np.allclose(history.at(float(t)), q(t), atol=1e-7)


def test_outside_the_history_the_nearest_state_stands() -> None:
    history = JointHistory(duration=0.5)
    for t in (0.0, 0.2, 0.4, 0.8):
        history.add(state(t, np.array([t, 0.0]), np.zeros(2)))
    assert history.at(9.0)[0] == 0.8
    assert history.at(0.0)[0] == 0.4, "what is older than the duration is forgotten"


def test_a_state_from_the_past_is_ignored() -> None:
    history = JointHistory()
    history.add(state(1.0, np.ones(2), np.zeros(2)))
    history.add(state(0.5, np.zeros(2), np.zeros(2)))
    assert history.at(0.7)[0] == 1.0


def test_an_empty_history_says_so() -> None:
    with pytest.raises(ValueError, match="empty"):
        JointHistory().at(0.0)


def test_a_tracking_error_stops_and_stays_stopped_until_resumed() -> None:
    supervisor = Supervisor(ServoSettings(max_tracking_error=0.1), NAMES)
    fine, bad = state(1.0, np.zeros(2), np.zeros(2)), state(1.0, np.array([0.0, 0.3]), np.zeros(2))
    assert supervisor.judge_state(1.0, fine, np.zeros(2)) is None
    verdict = supervisor.judge_state(1.0, bad, np.zeros(2))
    assert verdict is not None
    assert verdict.mode is Mode.STOPPED
    assert verdict.facts["joint"] == "b"
    assert supervisor.judge_state(1.02, fine, np.zeros(2)) is verdict
    supervisor.resume()
    assert supervisor.judge_state(1.04, fine, np.zeros(2)) is None


def test_an_old_joint_state_holds_until_a_fresh_one_comes() -> None:
    supervisor = Supervisor(ServoSettings(max_state_age=0.1), NAMES)
    verdict = supervisor.judge_state(1.2, state(1.0, np.zeros(2), np.zeros(2)), np.zeros(2))
    assert verdict is not None
    assert verdict.mode is Mode.HOLDING
    assert "200 ms" in verdict.reason
    assert supervisor.judge_state(1.2, state(1.15, np.zeros(2), np.zeros(2)), np.zeros(2)) is None


@pytest.mark.parametrize(
    ("timestamp", "words"), [(1.5, "300 ms in the future"), (np.nan, "no finite time"), (np.inf, "no finite time")]
)
def test_a_joint_state_whose_age_nobody_knows_holds(timestamp: float, words: str) -> None:
    supervisor = Supervisor(ServoSettings(), NAMES)
    verdict = supervisor.judge_state(1.2, state(timestamp, np.zeros(2), np.zeros(2)), np.zeros(2))
    assert verdict is not None
    assert verdict.mode is Mode.HOLDING
    assert words in verdict.reason
    assert verdict.remedy
    assert supervisor.judge_state(1.2, state(1.24, np.zeros(2), np.zeros(2)), np.zeros(2)) is None


def test_the_first_reason_of_a_stop_is_kept() -> None:
    supervisor = Supervisor(ServoSettings(), NAMES)
    first = supervisor.stop_for(ArmError("The arm is hot.", "Let it cool.", joint="a"), "arm")
    second = supervisor.stop("Somebody pressed a key.", "Go on when you like.")
    assert second is first
    assert first.reason == "The arm is hot."
    assert first.remedy == "Let it cool."
    assert first.facts == {"source": "arm", "joint": "a"}


def test_facts_of_an_error_may_have_any_name() -> None:
    supervisor = Supervisor(ServoSettings(), NAMES)
    error = ArmError("It broke.", "Mend it.")
    error.facts.update(source="fan", reason="dust", error=7)
    assert supervisor.stop_for(error, "arm").facts == {"source": "arm", "reason": "dust", "error": 7}


@pytest.mark.parametrize(
    ("found", "mode"),
    [
        (solution(), Mode.TRACKING),
        (solution(IkStatus.LIMITED, 0.01, 0.05), Mode.TRACKING),
        (solution(IkStatus.LIMITED, 0.03, 0.0), Mode.HOLDING),
        (solution(IkStatus.UNREACHABLE, 0.0, 0.2), Mode.HOLDING),
    ],
)
def test_an_unreachable_target_is_approached_only_when_the_closest_posture_is_near(
    found: IkSolution, mode: Mode
) -> None:
    verdict = Supervisor(ServoSettings(), NAMES).judge_goal(1.0, 1.0, np.zeros(3), found)
    assert verdict.mode is mode
    assert ("out of reach" in verdict.reason) is not found.converged


def test_a_tool_outside_the_workspace_may_come_back_but_not_go_further() -> None:
    box = WorkspaceBox(lower=-np.ones(3), upper=np.ones(3))
    supervisor = Supervisor(ServoSettings(workspace=box), NAMES)
    out, further = np.array([1.2, 0.0, 0.0]), np.array([1.3, 0.0, 0.0])
    assert supervisor.judge_tool(further, out) is None
    verdict = supervisor.judge_tool(out, further)
    assert verdict is not None
    assert verdict.mode is Mode.HOLDING
    assert "300.0 mm along x" in verdict.reason


@pytest.mark.parametrize(
    "wrong",
    [{"rate": 0.0}, {"speed_scale": 1.5}, {"soft_start_speed": 0.0}, {"arm_latency": -1.0}, {"max_data_age": np.inf}],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ServoSettings(**wrong)  # pyright: ignore[reportArgumentType]


def test_a_workspace_turned_inside_out_is_refused() -> None:
    with pytest.raises(ValueError, match="below"):
        WorkspaceBox(lower=np.ones(3), upper=-np.ones(3))
