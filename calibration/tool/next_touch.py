"""From where to touch the point next: the orientation that would tell most about the tip."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from calibration import batch
from calibration.hand_eye.values import ArmNoise
from calibration.tool.touches import TIP, USUAL, design, touch_noise
from calibration.tool.values import NextTouch
from vision_ik.transforms import Transform, TransformLike, as_transform
from vision_ik.types import Floats

_USUAL_TIP = np.array([0.0, 0.0, 0.15])
"""[m] Of a tool nobody knows anything of."""
_KNOWN = 0.5
"""[m] What is known of tip and point before any touch."""
_TILTS = (0.0, 0.4, 0.7, 1.0)
"""Shares of the largest tilt that are looked at ..."""
_AZIMUTHS, _TURNS = 12, 8
"""... in so many directions, with so many turns of the tool about itself."""


def suggest_touch(
    Ts_base_flange: Sequence[TransformLike],
    *,
    tip: Floats | None = None,
    point: Floats | None = None,
    arm_sigma: ArmNoise | None = None,
    largest_tilt_deg: float = 40.0,
    accept: Callable[[Transform], bool] | None = None,
) -> NextTouch | None:
    """Return from where the same point should be touched next; None where nothing is acceptable.

    Args:
        Ts_base_flange: Touches so far, one at least.
        tip: (3,) in the flange frame, as far as it is known [m].
        point: (3,) in the base frame [m]; by default from the first touch.
        arm_sigma: Noise of the arm; that of a usual one by default.
        largest_tilt_deg: Between the tool and its direction in the first touch.
        accept: Says of a T_base_flange whether the arm can go there.
    """
    Ts = np.stack([as_transform(T).matrix for T in Ts_base_flange])
    x = _USUAL_TIP if tip is None else tip
    p = Ts[0, :3, :3] @ x + Ts[0, :3, 3] if point is None else point
    S = batch.inverse(touch_noise(x, arm_sigma or USUAL))
    _, D = design(Ts)
    information = np.einsum("nap,ab,nbq->pq", D, S, D) + np.eye(6) / _KNOWN**2
    before = float(np.sqrt(np.trace(batch.inverse(information)[TIP, TIP])))
    turned = _orientations(Ts[0, :3, :3], x, np.deg2rad(largest_tilt_deg))
    poses = np.tile(np.eye(4), (len(turned), 1, 1))
    poses[:, :3, :3] = turned
    poses[:, :3, 3] = p - turned @ x
    _, D = design(poses)
    after = information + np.swapaxes(D, 1, 2) @ S @ D
    sigmas = np.sqrt(np.trace(batch.inverse(after)[:, TIP, TIP], axis1=1, axis2=2))
    for i in np.argsort(sigmas, kind="stable"):
        pose = Transform(poses[i])
        if accept is None or accept(pose):
            tilt, turn = _lean(Ts[0, :3, :3], turned[i], x)
            return NextTouch(
                T_base_flange=pose,
                tilt_deg=tilt,
                turn_deg=turn,
                sigma_before=before,
                sigma_after=float(sigmas[i]),
                sentence=_sentence(tilt, turn, before, float(sigmas[i])),
            )
    return None


def _orientations(R_first: Floats, tip: Floats, largest: float) -> Floats:
    """Return (N, 3, 3) orientations of the flange: the tool tilted and turned from the first touch."""
    axis, across = _axes(tip)
    azimuths = 2.0 * np.pi * np.arange(_AZIMUTHS) / _AZIMUTHS
    tilt_axes = Rotation.from_rotvec(np.outer(azimuths, axis)).apply(across)
    tilts = np.concatenate([share * largest * tilt_axes for share in _TILTS])
    turns = np.outer(2.0 * np.pi * np.arange(_TURNS) / _TURNS, axis)
    both = Rotation.from_rotvec(np.repeat(tilts, _TURNS, axis=0)) * Rotation.from_rotvec(
        np.tile(turns, (len(tilts), 1))
    )
    return R_first @ both.as_matrix()


def _lean(R_first: Floats, R: Floats, tip: Floats) -> tuple[float, float]:
    """Return by how much [deg] the tool leans from the first touch, and is turned about itself."""
    axis, _ = _axes(tip)
    relative = R_first.T @ R
    tilt = float(np.rad2deg(np.arccos(np.clip(axis @ relative @ axis, -1.0, 1.0))))
    # Twist about the axis: what is left when the shortest tilt is taken out.
    quaternion = Rotation.from_matrix(relative).as_quat()
    turn = 2.0 * np.rad2deg(np.arctan2(quaternion[:3] @ axis, quaternion[3]))
    return tilt, float((turn + 180.0) % 360.0 - 180.0)


def _axes(tip: Floats) -> tuple[Floats, Floats]:
    """Return the direction of the tool in the flange frame, and one across it."""
    length = float(np.linalg.norm(tip))
    axis = tip / length if length > 0.02 else np.array([0.0, 0.0, 1.0])
    across = np.cross(axis, np.eye(3)[int(np.argmin(np.abs(axis)))])
    return axis, np.asarray(across / float(np.linalg.norm(across)), dtype=np.float64)


def _sentence(tilt: float, turn: float, before: float, after: float) -> str:
    how = [f"tilt the tool by {tilt:.0f} degrees from the first touch"] if tilt > 1.0 else []
    if abs(turn) > 1.0:
        how.append(f"turn it by {abs(turn):.0f} degrees {'left' if turn > 0 else 'right'} about itself")
    said = " and ".join(how) or "hold the tool as in the first touch"
    was = f" (now {1e3 * before:.2f} mm)" if before < 0.05 else ""
    return f"{said[0].upper()}{said[1:]}: the tip would be known to {1e3 * after:.2f} mm{was}."
