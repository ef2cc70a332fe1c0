"""What comes out of many synthetic hand-eye calibrations of one kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.stats import chi2

from calibration import HandEyeResult
from vision_ik.cli.benches._hand_eye_cells import Cell, Trial
from vision_ik.rig import Mount

FAILED = 5.0
"""A calibration has failed when it is off by more than this many times the bound."""
_INSIDE = float(chi2.ppf(0.95, 6))


@dataclass(slots=True)
class Outcome:
    """What came out of the trials of one cell."""

    cell: Cell
    bound: list[float] = field(default_factory=list[float])
    """[m] of each trial."""
    ours: list[float] = field(default_factory=list[float])
    """[m]; NaN where refused."""
    inside: list[bool] = field(default_factory=list[bool])
    """Whether the truth was within the stated 95 % region of position and orientation."""
    warned: int = 0
    peers: dict[str, list[float]] = field(default_factory=dict[str, list[float]])

    def add(self, trial: Trial, result: HandEyeResult | None, peers: dict[str, float]) -> None:
        """Count a trial."""
        self.bound.append(trial.bound_m)
        for name, error in peers.items():
            self.peers.setdefault(name, []).append(error)
        if result is None:
            self.ours.append(float("nan"))
            self.inside.append(False)
            return
        self.ours.append(trial.error(result.T_mount_camera)[0])
        twist = (result.T_mount_camera.inv() @ trial.T_mount_camera).log()
        self.inside.append(float(twist @ np.linalg.solve(result.covariance, twist)) < _INSIDE)
        self.warned += bool(result.warnings)

    @property
    def bound_mm(self) -> float:
        return 1e3 * _rms(self.bound)

    @property
    def ours_mm(self) -> float:
        """Root mean square; infinite where one was refused."""
        return 1e3 * _rms(self.ours) if np.isfinite(self.ours).all() else float("inf")

    @property
    def ratio(self) -> float:
        return self.ours_mm / self.bound_mm

    @property
    def covered(self) -> float:
        """Share of trials with the truth within the stated region [%]."""
        return 100.0 * float(np.mean(self.inside))

    def beside_mm(self, name: str) -> float:
        """Return the root mean square error on the trials that a peer has seen."""
        return 1e3 * _rms(self.ours[: len(self.peers[name])])

    def failures(self, errors: Sequence[float]) -> float:
        """Return the share that is refused or off by too much [%]."""
        return 100.0 * float(np.mean(~(np.array(errors) <= FAILED * np.array(self.bound[: len(errors)]))))

    def peer_mm(self, name: str) -> float:
        """Return the root mean square error; NaN where this OpenCV has no such method."""
        return 1e3 * _rms(self.peers[name]) if name in self.peers else float("nan")

    def best_peer(self) -> tuple[str, float]:
        """Return the closed form with the least root mean square error [mm]."""
        return min(((name, self.peer_mm(name)) for name in self.peers), key=lambda peer: peer[1], default=("", np.nan))


def words(mount: Mount) -> str:
    """Return a mount as people say it."""
    return mount.replace("_", " ")


def _rms(values: Sequence[float]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
