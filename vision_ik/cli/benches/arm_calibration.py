"""An arm that is not as drawn: what calibrating it with the camera is worth, and that its seeds still serve.

Fresh views judge: the board's centre as it is seen there (which holds the noise of that picture and of
the arm's repeatability, as held-out errors of real views do), and where it really is. Methods that know
only the flange's poses are given the best board holder that their camera leaves.

Where the environment names a folder of real data (``VISION_IK_DATA``: the folder with ``ic_kinematic``,
or the one beside it called ``handeye``), a two-axis positioner whose target was measured 205 times is
calibrated, too; other runs say that it was left out.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from calibration import ArmCalibration, ArmPrior, batch, calibrate_arm, calibrate_arm_poses
from calibration.hand_eye.board_pose import all_board_poses
from calibration.hand_eye.chain import ChainState, arm_poses, camera_board
from calibration.hand_eye.held_out import nearest
from vision_ik.cli.benches import Figure, Level, Table, tell
from vision_ik.cli.benches._arm_cells import REPEATABILITY, VIEWS, ArmTrial, Errors, draw
from vision_ik.cli.benches._hand_eye_cells import LENS, MOUNTS, opencv_methods
from vision_ik.cli.benches._ik_targets import Targets
from vision_ik.ik import HybridSolver, load_solver
from vision_ik.rig import Mount
from vision_ik.robots import RobotModel, load_robot
from vision_ik.transforms import Transform
from vision_ik.types import Floats

TITLE = "Arm calibration: an arm that is not as drawn, its held-out error, and inverse kinematics on it"

_DEGREE = float(np.deg2rad(1.0))
_ZEROS = Errors(length=0.5e-3, zero=0.1 * _DEGREE, twist=0.03 * _DEGREE)
_TWISTS = Errors(length=0.5e-3, zero=0.03 * _DEGREE, twist=0.1 * _DEGREE)
_NONE = Errors(length=0.0, zero=0.0, twist=0.0)
_WANTED_MM = 0.75
_FIRST_SHOT = 0.99
_HONEST = (0.7, 1.3)
_OURS, _CAMERA_ONLY = "arm and camera", "camera alone, ours"
_SETS = {
    "zeros": (_ZEROS, "0.5 mm, zeros 0.1 deg, twists 0.03 deg"),
    "twists": (_TWISTS, "0.5 mm, zeros 0.03 deg, twists 0.1 deg"),
}


@dataclass(slots=True)
class _Tally:
    """What the trials of one cell gave."""

    seen: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    """By method: RMS over fresh views, as seen [mm]."""
    true: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    """The same against truth [mm]."""
    normalised: list[float] = field(default_factory=list[float])
    """Mean over fresh views of the error squared by its covariance, over 3."""
    robots: list[RobotModel] = field(default_factory=list[RobotModel])
    adopted: int = 0
    cpu_s: list[float] = field(default_factory=list[float])

    def add(self, method: str, seen: float, true: float) -> None:
        """Note one trial of a method."""
        self.seen.setdefault(method, []).append(seen)
        self.true.setdefault(method, []).append(true)


def run(*, level: Level = Level.NORMAL) -> list[Figure | Table]:
    """Calibrate drawn arms of both mounts, with OpenCV's methods beside; then solve on the calibrated arms."""
    nominal = load_robot("ur5e")
    solver = load_solver(nominal)
    answers: list[Figure | Table] = []
    robots: list[RobotModel] = []
    seconds: list[float] = []
    for mount in MOUNTS:
        for name, (errors, words) in _SETS.items():
            main = mount == "eye_in_hand" and name == "zeros"
            trials = level.pick(quick=1, normal=200 if main else 30, full=200)
            tell(f"{mount.replace('_', ' ')}, {words}")
            tally = _cell(nominal, solver, mount, errors, trials, peers=True)
            answers += _rows(mount, words, tally, trials)
            robots += tally.robots
            seconds += tally.cpu_s
    answers += _honesty(nominal, solver, level)
    answers += _seeds(nominal, solver, robots, level)
    note = f"CPU time, {VIEWS} views of 24 corners, four priors compared; median of {len(seconds)}"
    answers.append(Figure(name="calibration of the arm", value=float(np.median(seconds)), unit="s", note=note))
    return answers + _positioner()


def _cell(
    nominal: RobotModel,
    solver: HybridSolver,
    mount: Mount,
    errors: Errors | ArmPrior,
    trials: int,
    *,
    peers: bool = False,
) -> _Tally:
    tally = _Tally()
    for seed in range(trials):
        trial = draw(nominal, solver, mount, errors, seed)
        start = time.process_time()
        found = calibrate_arm(trial.views, robot=nominal, intrinsics=LENS, mount=mount)
        tally.cpu_s.append(time.process_time() - start)
        tally.adopted += found.adopted
        tally.robots.append(found.robot)
        predicted, covariances = found.predict(trial.fresh_q)
        tally.add(_OURS, *_held_out(trial, predicted))
        tally.normalised.append(_normalised(trial, predicted, covariances))
        if peers:
            for method, T_camera_board in _camera_only(nominal, trial, found).items():
                tally.add(method, *_held_out(trial, T_camera_board))
    return tally


def _camera_only(nominal: RobotModel, trial: ArmTrial, found: ArmCalibration) -> dict[str, Floats]:
    """Return where each method that believes the drawing predicts the board in the fresh views (N, 4, 4)."""
    fresh = nominal.forward(trial.fresh_q)
    predicted: dict[str, Floats] = {}
    plain = found.hand_eye_nominal
    if plain is not None:
        state = ChainState(plain.T_mount_camera.matrix, plain.T_holder_board.matrix, np.eye(4)[None])
        predicted[_CAMERA_ONLY] = camera_board(state, fresh, trial.mount)
    arms = arm_poses(np.stack([view.flange.matrix for view in trial.views]), trial.mount)
    boards = all_board_poses([view.detection for view in trial.views], LENS)[:, 0]
    for name, method in opencv_methods().items():
        X = method(arms, boards).matrix
        Y = _mean(batch.inverses(arms) @ X @ boards)
        predicted[f"OpenCV {name}"] = camera_board(ChainState(X, Y, np.eye(4)[None]), fresh, trial.mount)
    return predicted


def _mean(poses: Floats) -> Floats:
    """Return the mean pose (4, 4) of (N, 4, 4)."""
    u, _, vt = np.linalg.svd(poses[:, :3, :3].mean(axis=0))
    u[:, 2] *= np.linalg.det(u @ vt)
    return Transform.from_parts(u @ vt, poses[:, :3, 3].mean(axis=0)).matrix


def _held_out(trial: ArmTrial, predicted: Floats) -> tuple[float, float]:
    """Return the RMS distance of the board's centre [mm] from where it is seen, and from where it is."""
    candidates = all_board_poses([view.detection for view in trial.fresh], LENS)
    seen = nearest(candidates, trial.Ts_camera_board)
    return _rms_mm(seen, predicted), _rms_mm(trial.Ts_camera_board, predicted)


def _rms_mm(a: Floats, b: Floats) -> float:
    return 1e3 * float(np.sqrt(np.mean(np.sum((a[:, :3, 3] - b[:, :3, 3]) ** 2, axis=1))))


def _normalised(trial: ArmTrial, predicted: Floats, covariances: Floats) -> float:
    """Return the mean of the true error of the board's centre, squared in units of its covariance, over 3."""
    error = trial.Ts_camera_board[:, :3, 3] - predicted[:, :3, 3]
    by_twist = np.concatenate([np.tile(np.eye(3), (len(error), 1, 1)), -batch.skews(predicted[:, :3, 3])], axis=2)
    P = by_twist @ covariances @ np.swapaxes(by_twist, 1, 2)
    return float(np.mean(np.sum(error * np.linalg.solve(P, error[:, :, None])[:, :, 0], axis=1))) / 3.0


def _rows(mount: Mount, words: str, tally: _Tally, trials: int) -> list[Figure | Table]:
    name = f"{mount.replace('_', ' ')}, {words}"
    repeats = f"{1e3 * REPEATABILITY.translation:g} mm and {np.rad2deg(REPEATABILITY.rotation):g} deg"
    how = f"{trials} arms, {VIEWS} views each, {VIEWS} fresh ones; 0.3 px, the arm repeats to {repeats}"
    rows = tuple(
        (
            method,
            float(np.mean(seen)),
            float(np.median(seen)),
            float(np.mean(tally.true[method])),
            float(np.median(tally.true[method])),
        )
        for method, seen in tally.seen.items()
    )
    ours = float(np.mean(tally.seen[_OURS]))
    least = min(float(np.mean(seen)) for method, seen in tally.seen.items() if method != _OURS)
    return [
        Table(
            name=f"{name}: RMS held-out error",
            columns=("calibrated", "as seen, mean [mm]", "median [mm]", "against truth, mean [mm]", "median [mm]"),
            rows=rows,
            note=how,
        ),
        Figure(
            name=f"{name}: held-out error of {_OURS}",
            value=ours,
            unit="mm",
            target=f"at most {_WANTED_MM}",
            met=ours <= _WANTED_MM,
            note=f"best without the arm {least:.2f} mm; adopted in {tally.adopted} of {trials}; normalised error "
            f"squared / 3: {np.mean(tally.normalised):.2f}",
        ),
    ]


def _honesty(nominal: RobotModel, solver: HybridSolver, level: Level) -> list[Figure]:
    """Return whether stated covariances hold for arms built as the prior says, and how arms as drawn are treated."""
    trials = level.pick(quick=1, normal=50, full=200)
    tell("arms as the prior says, and as drawn")
    figures: list[Figure] = []
    for mount in MOUNTS:
        words = mount.replace("_", " ")
        drawn = _cell(nominal, solver, mount, ArmPrior(), trials)
        value = float(np.mean(drawn.normalised))
        figures.append(
            Figure(
                name=f"{words}, errors drawn from the prior: normalised error squared / 3",
                value=value,
                target=f"{_HONEST[0]} to {_HONEST[1]}",
                met=_HONEST[0] <= value <= _HONEST[1],
                note=f"board's centre in fresh views, against truth; {trials} arms, noise levels estimated",
            )
        )
        exact = _cell(nominal, solver, mount, _NONE, trials)
        figures.append(
            Figure(
                name=f"{words}, arms exactly as drawn: another one adopted",
                value=100.0 * exact.adopted / trials,
                unit="%",
                target="0",
                met=exact.adopted == 0,
                note=f"{trials} arms; against truth {np.mean(exact.true[_OURS]):.2f} mm",
            )
        )
    return figures


def _seeds(nominal: RobotModel, solver: HybridSolver, robots: list[RobotModel], level: Level) -> list[Figure]:
    """Return what the nominal arm's learned seeds are worth on calibrated arms."""
    arms = robots[:: max(1, len(robots) // level.pick(quick=2, normal=20, full=100))]
    tell(f"learned seeds on {len(arms)} calibrated arms")
    count = level.pick(quick=500, normal=2_000, full=10_000)
    usual = solver.seeds
    first_usual = float("nan") if usual is None else usual.first_shot_nominal
    _, steps_usual = _solve(solver, count)
    first: list[float] = []
    solved: list[float] = []
    steps: list[float] = []
    for robot in arms:
        own = load_solver(robot)
        first.append(own.seeds.first_shot_measured if own.seeds is not None and own.seeds.used else 0.0)
        share, mean = _solve(own, count)
        solved.append(share)
        steps.append(mean)
    how = f"{len(arms)} calibrated UR5e, seeds trained for {'' if usual is None else usual.trained_for}"
    share = float(np.mean(first))
    return [
        Figure(
            name="calibrated arms, nominal seeds: first shots",
            value=100.0 * share,
            unit="%",
            target=f"at least {100.0 * _FIRST_SHOT:g}",
            met=share >= _FIRST_SHOT,
            note=f"{how}; least {100.0 * min(first):.1f} %, nominal arm {100.0 * first_usual:.1f} %; 1000 poses each",
        ),
        Figure(
            name="calibrated arms: solved",
            value=100.0 * float(np.mean(solved)),
            unit="%",
            note=f"to 1e-6 m and rad, {count:,} reachable poses each, in a batch",
        ),
        Figure(
            name="calibrated arms: iterations against nominal",
            value=float(np.mean(steps)) / steps_usual,
            unit="x",
            note=f"mean of a pose {np.mean(steps):.2f}, nominal {steps_usual:.2f}",
        ),
    ]


def _solve(solver: HybridSolver, count: int) -> tuple[float, float]:
    """Return the share of reachable poses solved, and the mean number of iterations."""
    targets = Targets.draw(solver.robot, count)
    answers = solver.solve_batch(targets.Ts)
    return float(answers.converged.mean()), float(answers.iterations.mean())


def _positioner() -> list[Figure]:
    """Return what a real two-axis positioner gains: its axes are drawn to cross at right angles."""
    name = "real two-axis positioner, held-out target"
    file = _data("ic_kinematic/measurements.yaml")
    if file is None:
        note = "not there: VISION_IK_DATA names no folder that holds ic_kinematic"
        return [Figure(name=name, value=float("nan"), unit="mm", note=note)]
    measured: list[dict[str, Any]] = list(yaml.safe_load(file.read_text(encoding="utf-8")).values())
    q = np.array([m["target_joints"] for m in measured])
    order = ("qx", "qy", "qz", "qw")
    poses = [
        Transform.from_quaternion([m["pose"][k] for k in "xyz"], [m["pose"][k] for k in order]).matrix for m in measured
    ]
    found = calibrate_arm_poses(q, np.stack(poses), robot=_two_axes())
    return [
        Figure(
            name=name,
            value=1e3 * found.held_out_after,
            unit="mm",
            note=f"{1e3 * found.held_out_before:.3f} mm as drawn; {len(q)} poses by a tracker, each predicted by the "
            f"others; {'adopted' if found.adopted else 'not adopted'} with evidence {found.gain:.0f}; "
            + ", ".join(str(error) for error in found.link_errors),
        )
    ]


def _two_axes() -> RobotModel:
    fixed = np.tile(np.eye(4), (3, 1, 1))
    fixed[1] = Transform.exp([0.0, 0.0, 0.0, -np.pi / 2.0, 0.0, 0.0]).matrix
    ones = np.ones(2)
    return RobotModel(
        name="positioner",
        joint_names=("tilt", "turn"),
        base="base",
        tip="table",
        fixed=fixed,
        prismatic=np.zeros(2, np.bool_),
        lower=np.full(2, -2.0 * np.pi),
        upper=np.full(2, 2.0 * np.pi),
        velocity=ones,
        acceleration=ones,
        jerk=ones,
        home=np.zeros(2),
        links=("base",),
        link_frames=np.zeros(1, np.int64),
        Ts_frame_link=np.eye(4)[None],
        capsules=(),
        urdf_path=Path("positioner.urdf"),
    )


def _data(name: str) -> Path | None:
    """Return a file of the real data; None where it is not there."""
    told = os.environ.get("VISION_IK_DATA")
    if told is None:
        return None
    places = (Path(told) / name, Path(told).parent / "handeye" / name)
    return next((place for place in places if place.is_file()), None)
