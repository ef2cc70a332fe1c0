"""How far a real flange is off its encoders: a smooth, repeatable error over the joint space."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from vision_ik.types import Floats

_WAVES = 64
_LENGTH_SCALE = 0.3
"""[rad] Postures that differ by more than about twice this have independent errors."""


class FlangeNoise:
    """A random field xi(q) with ``T_base_flange_true = forward(q) @ exp(xi(q))``.

    Each of the six components is a Gaussian field over joint space of zero mean and the given
    standard deviation (random Fourier features: Rahimi, Recht, 2007, algorithm 1). The same
    posture always has the same error, as backlash-free gears and DH errors would give, and
    postures far apart have independent ones.

    Args:
        joints: Number of joints.
        translation_m: Standard deviation per axis [m].
        rotation_rad: Standard deviation per axis [rad].
        seed: Of the field.
    """

    def __init__(
        self, joints: int, *, translation_m: float = 3e-4, rotation_rad: float = 8.7e-4, seed: int = 0
    ) -> None:
        if translation_m < 0 or rotation_rad < 0:
            raise ValueError("Standard deviations must not be negative.")
        rng = np.random.default_rng((seed, 0xF1A6))
        self._sigma = np.repeat([translation_m, rotation_rad], 3)
        self._waves = rng.normal(0.0, 1.0 / _LENGTH_SCALE, (6, _WAVES, joints))
        self._phases = rng.uniform(0.0, 2.0 * np.pi, (6, _WAVES))

    def twist(self, q: ArrayLike) -> Floats:
        """Return xi(q) (6,), (v, w) [m, rad], in the flange frame."""
        features = np.cos(self._waves @ np.asarray(q, dtype=np.float64) + self._phases)
        return self._sigma * features.sum(axis=1) * np.sqrt(2.0 / _WAVES)
