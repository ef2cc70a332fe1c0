"""Where the tip of the tool is, from touches of one point in several orientations (pivot calibration)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import f as f_distribution

from calibration import batch
from calibration.hand_eye.checks import check_units
from calibration.hand_eye.values import ArmNoise
from calibration.tool.mixed import LinearFit
from calibration.tool.next_touch import suggest_touch
from calibration.tool.touches import (
    POINT,
    TIP,
    USUAL,
    consensus,
    fit_touches,
    geometry,
    held_out,
    noise_of,
    predicted,
)
from calibration.tool.values import ToolResult, TouchReport
from vision_ik.errors import CalibrationError
from vision_ik.transforms import Transform, TransformLike, as_transform
from vision_ik.types import Floats

_FEWEST = 3
_FEWEST_JUDGED = 4
"""Touches from which one can be told to be bad."""
_FALSE_ALARM = 0.003
"""Chance, by Fisher's F, that a touch of a good set is left out; about 1 % as measured, the noise being estimated."""
_SUSPECT = 5.0
"""Chi-square (3) below which a touch is not looked at any closer."""
_WEAKEST = 1.0 / 30.0
"""How sure, in touches, the worst direction of the tip must at least be."""
_WEAK = 0.75
"""Likewise, below which more tilt is asked for."""
_NO_POINT = 0.03
"""[m] Disagreement at which the touches share no point."""
_LONG = 0.3
"""[m] Most tools are shorter."""
_SURELY = 3.0
"""Standard deviations by which a tool must be longer for its touches to be refused."""


def calibrate_tool_tip(
    Ts_base_flange: Sequence[TransformLike],
    *,
    arm_sigma: ArmNoise | None = None,
    R_flange_tool: Floats | None = None,
    names: Sequence[str] | None = None,
    seed: int = 0,
) -> ToolResult:
    """Find the tip of a tool from poses of the flange in which it touched one fixed point.

    Maximum likelihood with noise of the arm in translation and rotation, whose levels are estimated
    from how the touches disagree; touches that contradict the others are left out and named.

    Args:
        Ts_base_flange: Three or more, as the arm reports them; eight, tilted by 20 to 45 degrees every way, are good.
        arm_sigma: Noise of the arm, a person's aim among it, where it is known.
        R_flange_tool: (3, 3) axes of the tool in the flange frame; by default those of the flange.
            ``orient_tool`` measures them.
        names: What the touches are called in reports; their numbers, from 1, by default.
        seed: Of which triples of very many touches are looked at.

    Raises:
        CalibrationError: The touches are too few, do not turn the tool enough to tell, share no point, or
            are the inverse.
    """
    Ts = np.stack([as_transform(T).matrix for T in Ts_base_flange]) if len(Ts_base_flange) else np.empty((0, 4, 4))
    labels = tuple(str(i + 1) for i in range(len(Ts))) if names is None else tuple(names)
    if len(labels) != len(Ts):
        raise ValueError(f"There are {len(labels)} names for {len(Ts)} touches.")
    repeated = _repeated(Ts)
    _check(Ts[~repeated], arm_sigma)
    keep, fit = _settle(Ts, ~repeated, arm_sigma, seed)
    _check_direction(fit)
    tip, point = fit.theta[TIP], fit.theta[POINT]
    T_flange_tool = Transform.from_parts(np.eye(3) if R_flange_tool is None else R_flange_tool, tip)
    covariance = np.zeros((6, 6))
    covariance[:3, :3] = T_flange_tool.rotation.T @ fit.region(TIP) @ T_flange_tool.rotation
    noise = noise_of(fit)
    reports = _reports(Ts, labels, keep, repeated, fit)
    return ToolResult(
        T_flange_tool=T_flange_tool,
        covariance=covariance,
        orientation="the flange's" if R_flange_tool is None else "as told",
        point=point,
        point_covariance=fit.region(POINT),
        arm_sigma=noise,
        noise_estimated=arm_sigma is None,
        touches=reports,
        warnings=tuple(_warnings(Ts, keep, reports, fit)),
        next_touch=suggest_touch(list(Ts[keep]), tip=tip, point=point, arm_sigma=noise),
    )


def _check(Ts: Floats, arm_sigma: ArmNoise | None) -> None:
    """Refuse touches that cannot tell where the tip is."""
    n = len(Ts)
    remedy = "Touch the same point with the tool tilted by 20 to 45 degrees in three or more directions, and turned."
    if n < _FEWEST:
        raise CalibrationError(f"Only {n} different touches; {_FEWEST} are the least, 8 are good.", remedy, touches=n)
    check_units(Ts)
    surer, axes = geometry(Ts)
    if surer[0] < _WEAKEST:
        turns = batch.rotation_vectors(Ts[0, :3, :3].T @ Ts[:, :3, :3])
        largest = float(np.rad2deg(np.linalg.norm(turns, axis=1).max()))
        aim = arm_sigma or USUAL
        sigma = float(np.sqrt(aim.translation**2 + (0.1 * aim.rotation) ** 2) / max(surer[0], 1e-6))
        told = f"to {1e3 * sigma:.0f} mm" if sigma < 1.0 else "not at all"
        how = (
            f"turn the tool by {largest:.1f} degrees at most"
            if surer[1] < _WEAKEST
            else "turn the tool about one axis only"
        )
        raise CalibrationError(
            f"All {n} touches {how}: along {_words(axes[:, 0])} the tip would be known {told}.",
            remedy,
            predicted_sigma=sigma,
            largest_turn_deg=largest,
        )


def _settle(
    Ts: Floats, usable: NDArray[np.bool_], given: ArmNoise | None, seed: int
) -> tuple[NDArray[np.bool_], LinearFit]:
    """Return which touches belong together, and the fit of those."""
    where = np.flatnonzero(usable)
    tip, half, scale = consensus(Ts[where], np.random.default_rng(seed))
    _check_agreement(scale)
    keep = np.zeros(len(Ts), dtype=np.bool_)
    keep[where[half]] = True
    fewest = max(_FEWEST_JUDGED, len(where) // 2 + 1)
    fit, seen = fit_touches(Ts[keep], tip, given), {keep.tobytes()}
    threshold = _FALSE_ALARM / len(where)
    while len(where) > _FEWEST:
        outside = [(_probability(*predicted(fit, Ts[i]), fit), i) for i in where[~keep[where]].tolist()]
        likeliest = max(outside, default=(0.0, -1))
        changed = keep.copy()
        if likeliest[0] > threshold:
            changed[likeliest[1]] = True
        elif keep.sum() > fewest:
            inside = [(_left_out(Ts, keep, i, j, fit, given), i) for j, i in enumerate(np.flatnonzero(keep).tolist())]
            unlikeliest = min(inside)
            if unlikeliest[0] >= threshold:
                break
            changed[unlikeliest[1]] = False
        else:
            break
        if changed.tobytes() in seen:
            break
        seen.add(changed.tobytes())
        keep = changed
        fit = fit_touches(Ts[keep], fit.theta[TIP], given, noise_of(fit))
    return keep, fit


def _left_out(
    Ts: Floats, keep: NDArray[np.bool_], i: int, position: int, fit: LinearFit, given: ArmNoise | None
) -> float:
    """Return how probable touch ``i`` is, judged by a fit of the others; 1 where it is plainly all right."""
    error, covariance = held_out(fit, position)
    if error @ np.linalg.pinv(covariance, hermitian=True) @ error < _SUSPECT:
        return 1.0
    others = keep.copy()
    others[i] = False
    if geometry(Ts[others])[0][0] < _WEAKEST:
        return 1.0  # nothing but this touch tells
    fit = fit_touches(Ts[others], fit.theta[TIP], given, noise_of(fit))
    return _probability(*predicted(fit, Ts[i]), fit)


def _probability(error: Floats, covariance: Floats, fit: LinearFit) -> float:
    """Return the chance that a touch misses by as much as this."""
    square = float(error @ np.linalg.solve(covariance, error))
    dof = fit.dof(TIP)
    return float(f_distribution.sf(square / 3.0, 3, min(dof, 1e6)))


def _check_agreement(scale: float) -> None:
    """Refuse touches that share no point."""
    if scale > _NO_POINT:
        raise CalibrationError(
            f"The touches share no point: even the better half of them disagrees by {1e3 * scale:.0f} mm.",
            "Check that the poses are those of the flange in the base frame, and that neither tool nor point moved.",
            disagreement=scale,
        )


def _repeated(Ts: Floats) -> NDArray[np.bool_]:
    """Return which touches repeat an earlier one exactly."""
    return np.array([any(np.array_equal(Ts[i], Ts[j]) for j in range(i)) for i in range(len(Ts))], dtype=np.bool_)


def _reports(
    Ts: Floats, names: Sequence[str], keep: NDArray[np.bool_], repeated: NDArray[np.bool_], fit: LinearFit
) -> tuple[TouchReport, ...]:
    position = np.cumsum(keep) - 1
    reports: list[TouchReport] = []
    for i, name in enumerate(names):
        judged = not keep[i] or (keep.sum() > _FEWEST)
        error, covariance = held_out(fit, int(position[i])) if keep[i] else predicted(fit, Ts[i])
        off = float(np.linalg.norm(error)) if judged else float("nan")
        chi_square = float(error @ np.linalg.pinv(covariance, hermitian=True) @ error) if judged else float("nan")
        reason = ""
        if repeated[i]:
            reason = "repeats an earlier touch exactly"
        elif not keep[i]:
            sigma = float(np.sqrt(np.trace(covariance)))
            reason = f"misses the point of the others by {1e3 * off:.1f} mm, where {1e3 * sigma:.1f} mm are usual"
        reports.append(TouchReport(name=name, used=bool(keep[i]), reason=reason, error=off, chi_square=chi_square))
    return tuple(reports)


def _warnings(Ts: Floats, keep: NDArray[np.bool_], reports: Sequence[TouchReport], fit: LinearFit) -> list[str]:
    said: list[str] = []
    n = int(keep.sum())
    if n == _FEWEST:
        said.append(f"{n} touches tell where the tip is, but not whether one of them is bad: take 8.")
    surer, axes = geometry(Ts[keep])
    if surer[0] < _WEAK:
        sigma = float(np.sqrt(axes[:, 0] @ fit.region(TIP) @ axes[:, 0]))
        said.append(
            f"The touches turn the tool little, so that along {_words(axes[:, 0])} the tip is known to "
            f"{1e3 * sigma:.1f} mm only: tilts of 20 to 45 degrees every way would make it several times surer."
        )
    bad = [i for i, report in enumerate(reports) if report.reason.startswith("misses")]
    if len(bad) > 1 and bad == list(range(bad[0], bad[-1] + 1)) and (bad[0] == 0 or bad[-1] == len(reports) - 1):
        said.append(
            f"Touches {reports[bad[0]].name} to {reports[bad[-1]].name} all miss: the point, or the tool in its "
            "holder, may have moved between them and the others."
        )
    length, reach = float(np.linalg.norm(fit.theta[TIP])), float(np.linalg.norm(fit.theta[POINT]))
    if length > max(_LONG, reach):
        said.append(f"{_exchanged(length, reach)}: give T_base_flange, if these poses are the inverse.")
    return said


def _check_direction(fit: LinearFit) -> None:
    """Refuse poses that are the inverse: these fit as well, with tip and point exchanged."""
    length, reach = float(np.linalg.norm(fit.theta[TIP])), float(np.linalg.norm(fit.theta[POINT]))
    doubt = _SURELY * float(np.sqrt(np.trace(fit.region(TIP))))
    if reach + doubt < _LONG < length - doubt:
        raise CalibrationError(
            f"{_exchanged(length, reach)}: the poses are the inverse, the base in the frame of the flange.",
            "Give T_base_flange, the flange in the frame of the base: invert each pose. If the tool is that long, "
            "touch a point farther from the base.",
            fault="poses inverse",
        )


def _exchanged(length: float, reach: float) -> str:
    return f"The tip would lie {1e3 * length:.0f} mm from the flange, and the point {1e3 * reach:.0f} mm from the base"


def _words(axis: Floats) -> str:
    """Return a direction of the flange frame in words."""
    strongest = int(np.argmax(np.abs(axis)))
    if abs(axis[strongest]) > np.cos(np.deg2rad(20.0)):
        return f"the flange's {'xyz'[strongest]} axis"
    axis = axis * np.sign(axis[strongest])
    return f"({', '.join(f'{x:.2f}' for x in axis)}) of the flange"
