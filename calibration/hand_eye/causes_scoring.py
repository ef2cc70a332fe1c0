"""How likely a view is if something went wrong with it in a certain way, given the calibration of the others.

A guess at what went wrong says which pose of the flange, or of the board, the view really had. What
then remains between seen and predicted pose is judged by the noise that was found in the other
views. Against each guess stands the view that nothing explains: noisier than the others by some factor, or off by
anything up to ``WILD``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibration import batch
from calibration.hand_eye.chain import ChainState, camera_board, derivatives
from calibration.hand_eye.noise_levels import Variances
from vision_ik.rig import Mount
from vision_ik.types import Floats

_NOISIER = (3.0, 6.0, 12.0, 24.0)
"""Factors by which a view may just be worse than the others."""
WILD = (0.2, 0.5)
"""[m], [rad] How far off a view is that nothing explains, per axis, one standard deviation."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Calibrated:
    """What the views that agree say: the measure for those that do not."""

    X: Floats
    """(4, 4) T_mount_camera."""
    Y: Floats
    """(4, 4) T_holder_board."""
    covariance: Floats
    """(12, 12) of both."""
    variances: Variances
    mount: Mount

    def errors(self, seen: Floats, spread: Floats, Ts_base_flange: Floats) -> tuple[Floats, Floats, Floats]:
        """Compare (H, 4, 4) seen poses of the board with those that flange poses predict.

        Args:
            seen: (H, 4, 4) Ts_camera_board.
            spread: (H, 6, 6) their covariance for 1 px (left twist, camera frame).
            Ts_base_flange: (H, 4, 4).

        Returns:
            (H, 4, 4) predicted poses, (H, 6) left twists from them to the seen ones, (H, 6, 6) covariance of those.
        """
        state = ChainState(self.X, self.Y, np.eye(4)[None])
        predicted = camera_board(state, Ts_base_flange, self.mount)
        D, A = derivatives(state, Ts_base_flange, self.mount)
        V = self.variances.sight * spread + A * self._arm @ np.swapaxes(A, 1, 2)
        V = V + D @ self.covariance @ np.swapaxes(D, 1, 2)
        return predicted, batch.log(seen @ batch.inverses(predicted)), V

    def log_density(
        self, seen: Floats, spread: Floats, Ts_base_flange: Floats, *, loose_flange: Floats | None = None
    ) -> Floats:
        """Return (H,) log densities of seen poses, had the flange stood at ``Ts_base_flange``.

        Args:
            seen: (H, 4, 4) Ts_camera_board.
            spread: (H, 6, 6) their covariance for 1 px (left twist).
            Ts_base_flange: (H, 4, 4).
            loose_flange: (H, 6, 6) covariance of the flange (right twist), where the guess is not exact.
        """
        _, error, V = self.errors(seen, spread, Ts_base_flange)
        if loose_flange is not None:
            _, A = derivatives(ChainState(self.X, self.Y, np.eye(4)[None]), Ts_base_flange, self.mount)
            V = V + A @ loose_flange @ np.swapaxes(A, 1, 2)
        return gaussian(error, V)

    def unexplained(self, seen: Floats, spread: Floats, Ts_base_flange: Floats) -> Floats:
        """Return (H,) log densities of seen poses that anything may have gone wrong with."""
        _, error, V = self.errors(seen, spread, Ts_base_flange)
        # Wild at the board, not at the camera: what is only turned stays where it is seen.
        Ad = batch.adjoints(seen)
        wild = gaussian(error, V + Ad * np.repeat(np.square(WILD), 3) @ np.swapaxes(Ad, 1, 2))
        worse = [gaussian(error, factor**2 * V) for factor in _NOISIER]
        return np.logaddexp.reduce([wild, *worse], axis=0) - np.log(1.0 + len(worse))

    @property
    def _arm(self) -> Floats:
        return np.array([self.variances.translation] * 3 + [self.variances.rotation] * 3)


def gaussian(error: Floats, V: Floats) -> Floats:
    """Return (H,) log densities of (H, p) errors with covariances (H, p, p)."""
    _, logdet = np.linalg.slogdet(V)
    squares = np.sum(error * np.linalg.solve(V, error[:, :, None])[:, :, 0], axis=1)
    return -0.5 * (squares + logdet + error.shape[1] * np.log(2.0 * np.pi))


def mixture(log_densities: Floats) -> float:
    """Return the log of the mean of densities: of variants that are equally likely beforehand."""
    top = float(np.max(log_densities))
    return top + float(np.log(np.mean(np.exp(log_densities - top)))) if np.isfinite(top) else -np.inf
