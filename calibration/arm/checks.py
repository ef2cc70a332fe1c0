"""What views must have for a calibration of the arm, and what is to be doubted of its result."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from calibration import batch
from calibration.arm.values import LinkError
from calibration.hand_eye.values import HandEyeResult, HandEyeView
from calibration.systematics.board_scale import BoardScale
from vision_ik.errors import CalibrationError
from vision_ik.robots import RobotModel
from vision_ik.types import Floats

_MOST_TURNS = 3.0
"""Turns from zero that no joint makes: angles beyond are degrees."""
_SAME_CHAIN = (0.1e-3, float(np.deg2rad(0.02)))
"""[m], [rad] Up to which poses count as computed from the same chain."""
_SMALL_RANGE = float(np.deg2rad(30.0))
"""[rad] A joint that turned less shows hardly what lies before it and what behind."""
_SMALL_STROKE = 0.1
"""[m] The same for a joint that slides."""
_SURE = 3.0
"""Standard deviations from which a board's size is called wrong."""
_VIEWS_PER_ERROR = 1.0
"""Each view tells six numbers, but most of what is seen of an error is seen of others, too."""


def joints_of(views: Sequence[HandEyeView], robot: RobotModel) -> Floats:
    """Return the joints (N, n) of the views.

    Raises:
        CalibrationError: A view has none, those of another arm, or degrees.
    """
    missing = [view.name or str(i) for i, view in enumerate(views) if view.q is None]
    if missing:
        raise CalibrationError(
            f"{len(missing)} of {len(views)} views have no joint values: {', '.join(missing[:5])}"
            f"{', ...' if len(missing) > 5 else ''}.",
            "Record the joints (q) with each view; flange poses alone do not show which joint is off.",
            missing=tuple(missing),
        )
    joints = [np.empty(0) if view.q is None else view.q for view in views]
    for view, q in zip(views, joints, strict=True):
        if q.shape != (robot.n,):
            raise CalibrationError(
                f"View {view.name} has {len(q)} joint values, but {robot.name} has {robot.n} joints.",
                "Give the robot that the views were taken with.",
                view=view.name,
            )
    table = np.stack(joints) if joints else np.empty((0, robot.n))
    turns = np.abs(table[:, ~robot.prismatic]) / (2.0 * np.pi)
    if turns.size and turns.max() > _MOST_TURNS:
        raise CalibrationError(
            f"A joint stands {turns.max():.0f} turns from zero: these look like degrees.",
            "Give joint values in radians (multiply by pi / 180).",
            turns=float(turns.max()),
        )
    return table


def check_reported(views: Sequence[HandEyeView], nominal: Floats) -> list[str]:
    """Return a warning if the reported poses belong to another chain than ``nominal`` (N, 4, 4), which is used.

    A base or a flange of the controller's own is no other chain.
    """
    if len(views) < 2:
        return []
    reported = np.stack([view.flange.matrix for view in views])
    # Constant between both where only the base, or only the flange, is another.
    apart = [reported @ batch.inverses(nominal), batch.inverses(nominal) @ reported]
    spreads = [batch.log(batch.inverses(T[:1]) @ T) for T in apart]
    worst = [(np.linalg.norm(s[:, :3], axis=1).max(), np.linalg.norm(s[:, 3:], axis=1).max()) for s in spreads]
    metres, radians = min(worst)
    if metres <= _SAME_CHAIN[0] and radians <= _SAME_CHAIN[1]:
        return []
    return [
        f"The reported flange poses differ by up to {1e3 * metres:.1f} mm and {np.rad2deg(radians):.2f} deg from what "
        "the nominal arm gives for the joints: the controller computes with another chain, or joints and poses are not "
        "of the same moments. The joints are believed."
    ]


def scale(result: HandEyeResult) -> list[str]:
    """Return a warning if the board is not of the size that was told."""
    for term in result.terms:
        share, sigma = float(term.theta[0]), float(term.sigma[0])
        if term.name == BoardScale().name and abs(share) > _SURE * sigma:
            return [
                f"The board is {100.0 * abs(share):.2f} +- {100.0 * sigma:.2f} % "
                f"{'larger' if share > 0 else 'smaller'} than told; that was taken into account. Measure one edge."
            ]
    return []


def doubts(joints: Floats, robot: RobotModel, link_errors: Sequence[LinkError]) -> list[str]:
    """Return warnings about what the used views, at ``joints`` (N, n), cannot tell."""
    warnings: list[str] = []
    wanted = int(np.ceil(_VIEWS_PER_ERROR * len(link_errors)))
    if len(joints) < wanted:
        warnings.append(
            f"{len(joints)} views for {len(link_errors)} errors of the arm are few: what the arm does between them "
            f"rests on how arms are usually built. Take {wanted} or more."
        )
    least = np.where(robot.prismatic, _SMALL_STROKE, _SMALL_RANGE)
    for i in np.flatnonzero(np.ptp(joints, axis=0) < least):
        stroke = float(np.ptp(joints[:, i]))
        told = f"{1e3 * stroke:.0f} mm" if robot.prismatic[i] else f"{np.rad2deg(stroke):.0f} deg"
        warnings.append(f"Joint {robot.joint_names[i]} used only {told} of its range: errors around it hardly show.")
    untold = [error.name for error in link_errors if not error.is_told]
    if untold:
        warnings.append(
            f"{len(untold)} of {len(link_errors)} errors of the arm do not show in these views and stay near the "
            f"drawing: {'; '.join(untold)}."
        )
    return warnings
