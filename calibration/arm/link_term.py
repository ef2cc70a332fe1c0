"""Joint zeros and link geometry as further unknowns of a hand-eye calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibration.arm.link_errors import ArmPrior, LinkErrors
from calibration.hand_eye.values import HandEyeView
from vision_ik.types import Floats

LINK_TERM = "geometry of the arm"
"""Name of the term, by which its estimate is found in a result."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LinkTerm:
    """An `ArmTerm`: the flange is where an arm with small errors has it.

    The poses that go with it are those of the nominal arm, ``robot.forward(q)``; a controller's own may rest on
    another chain.
    """

    errors: LinkErrors
    q: Floats
    """(N, n) joints of each view [rad], [m]."""
    prior: ArmPrior
    name: str = LINK_TERM

    @property
    def parameters(self) -> tuple[str, ...]:
        """(k,) what each error is, with its unit."""
        return self.errors.names

    @property
    def sigma(self) -> Floats:
        """(k,) of the prior [m, rad]."""
        return self.errors.sigma(self.prior)

    def flanges(self, theta: Floats) -> Floats:
        """Return the corrected Ts_base_flange (N, 4, 4)."""
        return replace(self.errors.robot, fixed=self.errors.fixed(theta)).forward(self.q)

    def derivatives(self, theta: Floats) -> Floats:
        """Return the right twists (N, 6, k) of the corrected poses."""
        return self.errors.derivatives(theta, self.q)[1]

    def select(self, keep: NDArray[np.bool_]) -> LinkTerm:
        """Return the term for the views where ``keep`` (N,) is true."""
        return replace(self, q=self.q[keep])

    def further(self, views: Sequence[HandEyeView]) -> LinkTerm | None:
        """Return the term for other views; None without joints: their poses are taken to be the calibrated arm's."""
        joints = [view.q for view in views if view.q is not None]
        return replace(self, q=np.stack(joints)) if len(joints) == len(views) else None
