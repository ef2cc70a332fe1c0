"""General libraries that make one attempt from one start: random restarts are added here."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import numpy as np
from scipy.spatial.transform import Rotation

from vision_ik.cli.benches._ik_judge import TOLERANCE_M, TOLERANCE_RAD, pose_distance
from vision_ik.cli.benches._ik_peers.peer import Peer, Solve
from vision_ik.cli.benches._pinocchio import PinocchioArm
from vision_ik.errors import MissingDependencyError
from vision_ik.robots import RobotModel
from vision_ik.types import Floats

_RESTARTS = 20
_LM_STEPS = 20
"""From one start; 20 gives the least time per solved pose, and solves as many as 100."""


def _starts(robot: RobotModel, start: Floats, rng: np.random.Generator) -> Iterator[Floats]:
    yield start
    for _ in range(_RESTARTS):
        yield robot.random(rng)


def _pinocchio(robot: RobotModel) -> Solve:
    """Write damped least squares in Python over pinocchio: damping that follows the error, limits by clamping."""
    arm, rng = PinocchioArm(robot), np.random.default_rng(0)
    pin, model, data, tip, columns = arm.pin, arm.model, arm.data, arm.tip, arm.columns

    def attempt(T_base_target: object, start: Floats) -> Floats | None:
        q = start.copy()
        for _ in range(_LM_STEPS):
            configuration = arm.configuration(q)
            T_tip_target = arm.place(configuration).actInv(T_base_target)
            e = pin.log6(T_tip_target).vector
            if np.linalg.norm(e[:3]) < TOLERANCE_M and np.linalg.norm(e[3:]) < TOLERANCE_RAD:
                return q
            J = pin.computeFrameJacobian(model, data, configuration, tip, pin.LOCAL)[:, columns]
            J = pin.Jlog6(T_tip_target.inverse()) @ J
            H = J.T @ J
            H[np.diag_indices_from(H)] += 1e-2 * (e @ e) + 1e-12
            q = np.clip(q + np.linalg.solve(H, J.T @ e), robot.lower, robot.upper)
        return None

    def call(T_base_tip: Floats, start: Floats) -> Floats | None:
        target = pin.SE3(T_base_tip)
        return next((q for one in _starts(robot, start, rng) if (q := attempt(target, one)) is not None), None)

    return call


def _bullet(robot: RobotModel) -> Solve:
    """Take PyBullet, whose answers are accepted by our FK: a thousandth of the time it takes itself."""
    if importlib.util.find_spec("pybullet") is None:
        raise MissingDependencyError(
            "pybullet is not installed.", "Use Python 3.11, the last it has wheels for.", package="pybullet"
        )
    from sim.ik_peer import BulletIk

    peer, rng = BulletIk(robot), np.random.default_rng(0)

    def call(T_base_tip: Floats, start: Floats) -> Floats | None:
        def accept(q: Floats) -> bool:
            if not ((q >= robot.lower) & (q <= robot.upper)).all():
                return False
            metres, radians = pose_distance(robot.forward(q)[None], T_base_tip[None])
            return bool(metres[0] <= TOLERANCE_M and radians[0] <= TOLERANCE_RAD)

        quaternion = Rotation.from_matrix(T_base_tip[:3, :3]).as_quat()
        starts = np.vstack([start, robot.random(rng, _RESTARTS)])
        return peer.solve(T_base_tip[:3, 3], quaternion, starts, accept)

    return call


PEERS = (
    Peer(
        key="pinocchio",
        name="pinocchio LM with restarts",
        setting=f"damped least squares in Python, {_LM_STEPS} steps, {_RESTARTS} random restarts",
        make=_pinocchio,
    ),
    Peer(
        key="bullet",
        name="PyBullet with restarts",
        setting=f"500 steps, residual 1e-10, {_RESTARTS} random restarts, answers checked by our FK",
        make=_bullet,
    ),
)
