"""Whether the board, or the camera, sat elsewhere in some of the views: views that agree among themselves.

Views that contradict the rest, but share one displacement of the board in its holder, or of the
camera on its mount, say that it moved. The displacement is six more unknowns, which the views pay
for: the likelihood is that of the views with the displacement integrated out (Laplace).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration import batch
from calibration.hand_eye.causes import Case, Cause, Explanation
from calibration.hand_eye.causes_scoring import WILD, gaussian
from vision_ik.rig import Mount
from vision_ik.transforms import Transform
from vision_ik.types import Floats

_FEWEST = 2
"""Views that must share a displacement: any one view could have it."""
_NEAR = 40.0
"""Chi-square (6 degrees of freedom) up to which a view may share a displacement."""
_ROUNDS = 3


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Displacement:
    """Something that sat elsewhere in some views."""

    cause: Cause
    """BOARD_MOVED or CAMERA_MOVED."""
    views: tuple[int, ...]
    change: Floats
    """(4, 4) T_board_displaced of a board, T_displaced_camera of a camera; beside where it sat in the other views."""
    odds: float
    """Logarithm of how much likelier this is than that anything went wrong in each view."""

    def lasts(self, case: Case) -> bool:
        """Return whether it sat there in the last view of which anything is known."""
        agreeing = [i for i in range(case.count) if i not in case.accused]
        return max(self.views) > max(agreeing)

    def sentence(self, case: Case) -> str:
        """Say what moved by how much, and in which views."""
        metres, angle = Transform(self.change).distance_to(Transform.identity())
        by = f"{metres * 1e3:.1f} mm and {np.rad2deg(angle):.2f} deg"
        first = self.views[0]
        if self.views == tuple(range(first, case.count)):
            when = f"from view {case.names[first]} on"
        elif self.views == tuple(range(self.views[-1] + 1)):
            when = f"until view {case.names[self.views[-1]]}"
        else:
            when = "in views " + ", ".join(case.names[i] for i in self.views)
        what = "board" if self.cause is Cause.BOARD_MOVED else "camera"
        return f"the {what} sat elsewhere {when}, by {by}"


def find_displacements(case: Case, explained: dict[int, Explanation]) -> list[Displacement]:
    """Return what moved, the clearest first; each view belongs to one at most.

    Args:
        case: The views.
        explained: What explains accused views by themselves; a displacement must explain them better.
    """
    open_views = _Open.of(case, [i for i in case.accused if len(case.poses(i)[0])])
    found: list[Displacement] = []
    for _ in range(_ROUNDS if len(open_views.views) >= _FEWEST else 0):
        candidates = [
            shared
            for cause in (Cause.BOARD_MOVED, Cause.CAMERA_MOVED)
            for seed in range(len(open_views.views))
            if (shared := _shared(open_views, cause, seed)) is not None
        ]
        # The views it takes from other explanations are a loss.
        gains = [shared.odds - sum(explained[i].odds for i in shared.views if i in explained) for shared in candidates]
        if not gains or max(gains) <= np.log(100.0):
            break
        best = candidates[int(np.argmax(gains))]
        found.append(best)
        open_views = open_views.without(best.views)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Open:
    """Views that nothing that moved explains yet."""

    views: NDArray[np.int_]
    """(n,)"""
    seen: Floats
    """(n, 4, 4) the likelier of their poses T_camera_board."""
    predicted: Floats
    """(n, 4, 4)"""
    V: Floats
    """(n, 6, 6) covariance of the difference."""
    nothing: Floats
    """(n,) log densities, had anything gone wrong."""

    @classmethod
    def of(cls, case: Case, views: Sequence[int]) -> _Open:
        if not views:
            return cls(np.empty(0, dtype=int), *(np.empty((0, *shape)) for shape in ((4, 4), (4, 4), (6, 6), ())))
        seen, spread, nothing = zip(*(case.nearest(i) for i in views), strict=True)
        predicted, _, V = case.measure.errors(np.stack(seen), np.stack(spread), case.flanges[list(views)])
        return cls(np.array(views), np.stack(seen), predicted, V, np.array(nothing))

    def without(self, views: Sequence[int]) -> _Open:
        keep = ~np.isin(self.views, views)
        return _Open(self.views[keep], self.seen[keep], self.predicted[keep], self.V[keep], self.nothing[keep])


def _shared(views: _Open, cause: Cause, seed: int) -> Displacement | None:
    """Return the displacement of one view as refined by those that share it; None where none does."""
    seen, predicted, V = views.seen, views.predicted, views.V
    board = cause is Cause.BOARD_MOVED
    back = batch.inverses(predicted[[seed]])[0]
    change = back @ seen[seed] if board else seen[seed] @ back
    members = np.array([], dtype=int)
    covariance = np.eye(6)
    for _ in range(_ROUNDS):
        expected = predicted @ change if board else change @ predicted
        error = batch.log(seen @ batch.inverses(expected))
        # The displacement itself is uncertain by the view it was first read from.
        by_change = batch.adjoints(expected) if board else np.tile(np.eye(6), (len(seen), 1, 1))
        doubt = V if len(members) else V + _carried(V[seed], by_change, by_change[seed])
        squares = np.sum(error * np.linalg.solve(doubt, error[:, :, None])[:, :, 0], axis=1)
        members = np.flatnonzero(squares < _NEAR)
        if len(members) < _FEWEST:
            return None
        J = by_change[members]
        JtW = np.swapaxes(np.linalg.solve(V[members], J), 1, 2)
        covariance = batch.inverse(np.sum(JtW @ J, axis=0))
        step = batch.exp((covariance @ np.sum(JtW @ error[members, :, None], axis=0)).T)[0]
        # A left twist in the frame the change is written in: board frame on the right, camera frame on the left.
        change = change @ step if board else step @ change
    expected = predicted @ change if board else change @ predicted
    error = batch.log(seen @ batch.inverses(expected))[members]
    size = batch.log(change[None])
    prior = np.diag(np.repeat(np.square(WILD), 3))
    marginal = float(gaussian(size, prior[None])[0]) + 0.5 * float(np.linalg.slogdet(2.0 * np.pi * covariance)[1])
    odds = float(np.sum(gaussian(error, V[members]))) + marginal
    chosen = tuple(int(k) for k in views.views[members])
    return Displacement(cause=cause, views=chosen, change=change, odds=odds - float(views.nothing[members].sum()))


def _carried(V: Floats, by_change: Floats, by_change_seed: Floats) -> Floats:
    """Return (n, 6, 6) what the doubt (6, 6) about one view's pose means for the others'."""
    back = batch.inverse(by_change_seed)
    carry = by_change @ back
    return carry @ V @ np.swapaxes(carry, 1, 2)


class Moved:
    """Six unknowns of a calibration: where the board, or the camera, sat in some of the views.

    An arm with a displaced board is an arm with a displaced flange (`ArmTerm`).

    Args:
        Ts_base_flange: (N, 4, 4) as reported.
        mount: Which chain.
        members: (N,) the views in which it sat elsewhere.
        what: BOARD_MOVED or CAMERA_MOVED.
        start: (4, 4) displacement at zero unknowns, right of the flange pose where what moved sits on the flange,
            else left of it.
    """

    def __init__(
        self, Ts_base_flange: Floats, mount: Mount, members: NDArray[np.bool_], what: Cause, start: Floats
    ) -> None:
        self._flanges = Ts_base_flange
        self._mount: Mount = mount
        self._members = members
        self._what = what
        self._start = start
        self.name = "displaced board" if what is Cause.BOARD_MOVED else "displaced camera"
        self.parameters = ("x [m]", "y [m]", "z [m]", "rx [rad]", "ry [rad]", "rz [rad]")
        self.sigma: Floats = np.full(6, np.inf)

    def flanges(self, theta: Floats) -> Floats:
        """Return the (N, 4, 4) corrected Ts_base_flange."""
        change = self._start @ batch.exp(theta[None])[0]
        moved = self._flanges @ change if self._right else change @ self._flanges
        return np.where(self._members[:, None, None], moved, self._flanges)

    def derivatives(self, theta: Floats) -> Floats:
        """Return the (N, 6, 6) right twists of the corrected flanges by ``theta``."""
        by_theta = _right_jacobian(theta)
        if not self._right:
            by_theta = batch.adjoints(batch.inverses(self._flanges)) @ by_theta
        return np.where(self._members[:, None, None], by_theta, 0.0)

    def select(self, keep: NDArray[np.bool_]) -> Moved:
        """Return the term for the views where ``keep`` (N,) is true."""
        return Moved(self._flanges[keep], self._mount, self._members[keep], self._what, self._start)

    @property
    def _right(self) -> bool:
        """Whether what moved sits on the flange."""
        return (self._what is Cause.BOARD_MOVED) == (self._mount == "eye_to_hand")


def moved_term(case: Case, displacement: Displacement) -> Moved:
    """Return the unknowns of a displacement, starting from the one found.

    Of a camera that moved, the last place is the one that counts: the other views are the displaced ones then.
    """
    measure, change = case.measure, displacement.change
    members = np.isin(np.arange(case.count), displacement.views)
    # X^-1 A Y D = X^-1 (A E) Y and D X^-1 A Y = X^-1 (E A) Y; for eye in hand A is the inverse of the flange.
    through = measure.Y if displacement.cause is Cause.BOARD_MOVED else measure.X
    E = through @ change @ batch.inverse(through)
    if measure.mount == "eye_in_hand":
        E = batch.inverse(E)
    if displacement.cause is Cause.CAMERA_MOVED and displacement.lasts(case):
        members, E = ~members, batch.inverse(E)
    return Moved(case.flanges, measure.mount, members, displacement.cause, E)


def _right_jacobian(theta: Floats) -> Floats:
    """Return the (6, 6) right Jacobian of exp at a twist, by its series."""
    ad = np.zeros((6, 6))
    ad[:3, :3] = ad[3:, 3:] = batch.skews(theta[3:])
    ad[:3, 3:] = batch.skews(theta[:3])
    term, total = np.eye(6), np.eye(6)
    for k in range(1, 12):
        term = term @ -ad / (k + 1)
        total = total + term
    return total
