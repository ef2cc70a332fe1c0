"""Which view to take next, what it promises, and when to stop.

After every real view the uncertainty is that of the fit so far. The views that are still needed are
designed together, and the one of them that tells most is taken first; then everything is asked again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from calibration import batch
from calibration.hand_eye.values import ArmNoise, HandEyeResult
from calibration.views.candidates import Candidates, Workcell
from calibration.views.information import (
    Accuracy,
    Criterion,
    Noise,
    choose,
    information,
    knowledge,
    likely_information,
)
from calibration.views.planning import design, way_between
from vision_ik.errors import CalibrationError
from vision_ik.types import Floats

_APART = (0.02, np.deg2rad(4.0))
"""[m], [rad] A flange pose nearer than this to one that was visited shares its error, and tells little new."""
_LONGEST_HORIZON = 12
"""Views designed together, at most; what lies further off hardly changes the next one."""
_LIMITED_BY = 0.8
"""Share of the error that one cause alone must leave to be named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """When a calibration is good enough."""

    accuracy: Accuracy
    """Root mean square error to reach."""
    fewest: int = 6
    """Views taken at least: fewer say little about how noisy the arm is."""
    most: int = 40
    """Views taken at most."""
    criterion: Criterion = "A"
    """What the next view makes least."""

    def __post_init__(self) -> None:
        if not (self.accuracy.translation > 0.0 and self.accuracy.rotation > 0.0):
            raise ValueError(f"The accuracy asked for must be positive, not {self.accuracy}.")
        if not 0 < self.fewest <= self.most:
            raise ValueError(f"fewest ({self.fewest}) must be positive and at most most ({self.most}).")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class NextView:
    """A view worth taking."""

    number: int
    """How many views there will be with it."""
    q: Floats
    """(n,) posture that shows it [rad], [m]."""
    way: Floats
    """(K, n) corners of the way there, straight in joint space between them; the last one is ``q``."""
    T_base_flange: Floats
    """(4, 4)"""
    T_camera_board: Floats
    """(4, 4) where the board will be seen, if the guess is right."""
    chance: float
    """That the board is in the picture, given how sure the guess is."""
    sigma_before: Accuracy
    """Of the camera's pose, now."""
    sigma_after: Accuracy
    """Predicted with this view."""
    left: int
    """Views still needed with this one, as far as can be told; ``most`` bounds it."""
    forecast: Accuracy
    """Predicted after the views that are left."""
    remark: str
    """Why the goal cannot be reached; empty when it can."""

    @property
    def sentence(self) -> str:
        """What this view promises, in words."""
        promise = f"View {self.number}: now {self.sigma_before}, with it about {self.sigma_after}"
        more = f"; about {self.left - 1} more after it" if self.left > 1 else "; it may be the last"
        return f"{promise}. {self.remark}" if self.remark else f"{promise}{more}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Enough:
    """No further view is worth taking."""

    reached: bool
    """Whether the accuracy asked for is reached."""
    sigma: Accuracy
    sentence: str


Step: TypeAlias = NextView | Enough


def next_view(
    workcell: Workcell,
    result: HandEyeResult,
    goal: Goal,
    *,
    q: Floats,
    home: Floats | None = None,
    taken: int | None = None,
    visited: Floats | None = None,
    samples: int = 3000,
    seed: int = 0,
) -> Step:
    """Return the view to take next, or that it is enough.

    Args:
        workcell: Who can see what from where; the guess in it is replaced by what ``result`` knows.
        result: The fit of the views so far.
        goal: When to stop.
        q: (n,) where the arm stands [rad], [m].
        home: (n,) posture by which ways go that are not free straight; ``q`` by default.
        taken: Views that count for the goal's ``fewest`` and ``most``; those in ``result`` by default.
        visited: (M, 4, 4) Ts_base_flange of the views so far.
        samples: Board poses drawn.
        seed: Of the drawing.

    Raises:
        CalibrationError: No posture shows the board.
    """
    taken = result.used_views if taken is None else taken
    sigma, noise = Accuracy.of(result.joint_covariance), Noise.of(result)
    stop = _enough(taken, sigma, goal, noise)
    if stop is not None:
        return stop
    known_cell = workcell.updated(result)
    start = np.asarray(q if home is None else home, dtype=np.float64)
    rng = np.random.default_rng([seed, taken])
    candidates = known_cell.candidates(start, samples, rng)
    fresh = candidates.select(apart(candidates.Ts_base_flange, visited))
    if len(fresh) == 0:
        raise CalibrationError(
            "No posture was found that shows the board in a new way.",
            "Move the camera or the board so that the arm can show the board in more of the picture.",
        )
    known = knowledge(result.joint_covariance)
    left, forecast = views_needed(known_cell, fresh, known, noise, goal, taken)
    chosen = _first(known_cell, fresh, known, noise, goal, left, start, rng)
    after = known + information(known_cell, chosen.Ts_base_flange, noise)[0]
    remark = "" if forecast.meets(goal.accuracy) else _limit(known_cell, fresh, noise, goal, forecast)
    return NextView(
        number=taken + 1,
        q=chosen.postures[0],
        way=way_between(np.asarray(q, dtype=np.float64), chosen.postures[0], start, known_cell.clearance),
        T_base_flange=chosen.Ts_base_flange[0],
        T_camera_board=chosen.Ts_camera_board[0],
        chance=float(chosen.chance[0]),
        sigma_before=sigma,
        sigma_after=Accuracy.of(batch.inverse(after)),
        left=left,
        forecast=forecast,
        remark=remark,
    )


def views_needed(
    workcell: Workcell, candidates: Candidates, known: Floats, noise: Noise, goal: Goal, taken: int
) -> tuple[int, Accuracy]:
    """Return how many more views reach the goal, at most the ones it allows, and the accuracy predicted after them.

    Args:
        workcell: Who can see what from where.
        candidates: What can be seen next.
        known: (12, 12) information there is already, not singular.
        noise: Of corners and arm.
        goal: When to stop.
        taken: Views there are already.
    """
    views = likely_information(workcell, candidates, noise)
    allowed = min(max(1, goal.most - taken), len(views))
    total, left = known, 0
    for index in choose(views, known, allowed, wanted=goal.accuracy, criterion=goal.criterion, exchanges=0):
        total, left = total + views[index], left + 1
        predicted = Accuracy.of(batch.inverse(total))
        if predicted.meets(goal.accuracy) and taken + left >= goal.fewest:
            return left, predicted
    return left, Accuracy.of(batch.inverse(total))


def _first(
    workcell: Workcell,
    candidates: Candidates,
    known: Floats,
    noise: Noise,
    goal: Goal,
    left: int,
    start: Floats,
    rng: np.random.Generator,
) -> Candidates:
    """Return the one view that tells most, of those still needed designed together."""
    n = min(left, _LONGEST_HORIZON, len(candidates))
    together = design(
        workcell,
        candidates,
        known,
        n,
        start=start,
        noise=noise,
        wanted=goal.accuracy,
        criterion=goal.criterion,
        rng=rng,
    )
    views = likely_information(workcell, together, noise)
    return together.select(np.array(choose(views, known, 1, wanted=goal.accuracy, criterion=goal.criterion)))


def _enough(taken: int, sigma: Accuracy, goal: Goal, noise: Noise) -> Enough | None:
    """Return that it is enough, and why; None while views are missing."""
    if taken >= goal.fewest and sigma.meets(goal.accuracy):
        return Enough(reached=True, sigma=sigma, sentence=f"Reached: {sigma} after {taken} views.")
    if taken < goal.most:
        return None
    noisy = f"the corners' noise is {noise.pixel:.2f} px, the arm's {_words(noise.arm)}"
    sentence = f"After {taken} views {sigma} is left, {goal.accuracy} was asked for: {noisy}."
    return Enough(reached=False, sigma=sigma, sentence=sentence)


def _limit(workcell: Workcell, candidates: Candidates, noise: Noise, goal: Goal, forecast: Accuracy) -> str:
    """Return why the goal stays out of reach: what the arm alone, or the corners alone, would leave."""
    left = f"leaves {forecast} after {goal.most} views; {goal.accuracy} was asked for."
    nothing = ArmNoise(translation=1e-9, rotation=1e-9)
    alone: dict[str, Noise] = {
        f"The arm's own noise of {_words(noise.arm)}": replace(noise, pixel=1e-6),
        f"The corners' noise of {noise.pixel:.2f} px": replace(noise, arm=nothing),
    }
    for cause, kept in alone.items():
        _, reached = views_needed(workcell, candidates, knowledge(None), kept, replace(goal, fewest=goal.most), 0)
        if reached.translation > _LIMITED_BY * forecast.translation:
            return f"{cause} {left}"
    return f"The noise of arm ({_words(noise.arm)}) and corners ({noise.pixel:.2f} px) {left}"


def _words(arm: ArmNoise) -> str:
    return f"{arm.translation * 1e3:.2g} mm and {np.rad2deg(arm.rotation):.2g} deg"


def apart(Ts_base_flange: Floats, visited: Floats | None) -> NDArray[np.bool_]:
    """Return which flange poses (N, 4, 4) differ from all that were ``visited`` (M, 4, 4)."""
    differs = np.ones(len(Ts_base_flange), dtype=bool)
    for T in [] if visited is None else visited:
        metres = np.linalg.norm(Ts_base_flange[:, :3, 3] - T[:3, 3], axis=1)
        turned = np.linalg.norm(batch.rotation_vectors(T[:3, :3].T @ Ts_base_flange[:, :3, :3]), axis=1)
        differs &= (metres > _APART[0]) | (turned > _APART[1])
    return differs
