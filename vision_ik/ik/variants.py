"""Seeds on an arm they were not quite trained for: a calibrated one, or one with other limits.

Real arms differ from their drawing by tenths of a millimetre and by milliradians, and users narrow limits.
Refinement works on the true chain, so solutions stay exact; only first shots are lost, and few. So nobody
needs to train anew after a calibration, but everyone should know what it costs: it is measured on loading.

What lies before the first joint and behind the last never mattered: the network sees the pose between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numba import njit

from vision_ik.ik.chain import Chain, make_chain
from vision_ik.ik.kernels import assign, refine
from vision_ik.ik.seeds import FEATURES, Net, complete, evaluate, features
from vision_ik.robots import RobotModel
from vision_ik.robots.kernels import fk
from vision_ik.types import Floats

SAME_POSITION = 0.05
"""[m] Arms whose last joints are at most so far apart, at any posture, are variants of one arm ..."""
SAME_ROTATION = 0.15
"""[rad] ... if those are also turned against each other by at most this."""
EXACT = 1e-8
"""[m], [rad] Below this, two chains are the same."""
WORTH = 0.1
"""Share of first shots a network has to gain over random postures: its evaluation takes a tenth of a random solve."""
_POSTURES = 128
_POSES = 1000
"""Random poses a loss is measured on: half a per cent of them is a standard error of 0.2 %."""
_RANDOM_POSES = 300
_ITERATIONS, _TOLERANCE = 30, 1e-6
"""As on the cards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedSeeds:
    """Which learned seeds a solver was given, and what they are worth on its arm."""

    path: Path
    """The weights."""
    trained_for: str
    """Name of the arm they were trained for."""
    trained_for_hash: str
    """Its `RobotModel.hash`."""
    exact: bool
    """Whether that arm has this very chain between its first and last joint, and these limits."""
    first_shot_nominal: float
    """Share of random poses solved from the first seed on the arm trained for, as on the card; NaN if it has none."""
    first_shot_measured: float
    """The same share on this arm: the card's where it is exact, NaN included, else measured on 1000 poses."""
    used: bool
    """False where random postures do as well, so that the solver goes without the network."""

    def __str__(self) -> str:
        """Return one sentence."""
        name, nominal, measured = self.trained_for, self.first_shot_nominal, self.first_shot_measured
        left_out = "" if self.used else "; left out, since random postures do nearly as well and cost less"
        there = "not measured" if np.isnan(nominal) else f"{nominal:.1%}"
        if self.exact:
            return f"trained for {name}: {there} {'yet' if np.isnan(nominal) else 'solved at the first shot'}{left_out}"
        found = f"trained for {name}, of which this arm is a variant: {measured:.1%} solved at the first shot, "
        return f"{found}{there} there{left_out}"


def difference(nominal: RobotModel, robot: RobotModel) -> str:
    """Return in words what makes ``robot`` another arm than ``nominal``; empty if it is the same or a variant of it.

    Names, limits, and where the base and the tip are do not matter.
    """
    if nominal.n != robot.n:
        return f"it has {nominal.n} joints instead of {robot.n}"
    if not np.array_equal(nominal.prismatic, robot.prismatic):
        i = int(np.argmax(nominal.prismatic != robot.prismatic))
        kinds = ("turns", "slides")
        return f"its joint {i + 1} {kinds[int(nominal.prismatic[i])]}, this one {kinds[int(robot.prismatic[i])]}"
    metres, radians = distance(nominal, robot)
    if metres > SAME_POSITION or radians > SAME_ROTATION:
        return (
            f"its geometry is another: at the same joint angles its last joint is up to {1e3 * metres:.0f} mm and "
            f"{np.degrees(radians):.0f} deg from this one's"
        )
    return ""


def distance(nominal: RobotModel, robot: RobotModel) -> tuple[float, float]:
    """Return how far apart [m], [rad] the last joints of two arms of equal joints are, seen from their first ones.

    It is the largest over random postures of ``robot``, and does not depend on how frames are laid along the axes.
    """
    q = robot.random(np.random.default_rng(0), _POSTURES)
    a, b = (_between_ends(arm, q) for arm in (nominal, robot))
    metres = np.linalg.norm(a[:, :3, 3] - b[:, :3, 3], axis=1).max()
    # The chord is exact for small angles, where the trace has no digits left.
    chord = np.linalg.norm(a[:, :3, :3] - b[:, :3, :3], axis=(1, 2)).max() / np.sqrt(8.0)
    return float(metres), float(2.0 * np.arcsin(min(chord, 1.0)))


def dissimilarity(nominal: RobotModel, robot: RobotModel) -> float:
    """Return a number that ranks variants of ``robot``: geometry counts ten times as much as limits."""
    turn = 2.0 * np.pi
    nominals, limits = (np.clip([arm.lower, arm.upper], -turn, turn) for arm in (nominal, robot))
    return sum(distance(nominal, robot)) + 0.1 * float(np.abs(nominals - limits).mean())


def is_exact(nominal: RobotModel, robot: RobotModel) -> bool:
    """Return whether seeds of ``nominal`` are as good on ``robot``: same limits, same chain but for base and tip."""
    if nominal.hash == robot.hash:
        return True
    limits = ((nominal.lower, robot.lower), (nominal.upper, robot.upper))
    return all(np.allclose(a, b, rtol=0.0, atol=EXACT) for a, b in limits) and max(distance(nominal, robot)) < EXACT


def fit(net: Net, nominal: RobotModel, robot: RobotModel) -> Net:
    """Return ``net`` in the units of ``robot``: outputs count from its ranges' middle, inputs by its reach."""
    old, new = make_chain(nominal), make_chain(robot)
    inner = slice(1, -1) if net.symmetric else slice(None)
    scale = (old.half / new.half)[inner]
    shift = ((old.centre - new.centre) / new.half)[inner]
    repeats = net.rank.shape[1]
    heads = np.tile(scale, repeats) * net.heads
    heads[-1] += np.tile(shift, repeats)
    first, judge = (np.array(part, dtype=np.float64) for part in (net.first, net.judge))
    for part in (first, judge):
        part[:3] *= new.reach / old.reach  # the position
    fitted = {
        name: np.ascontiguousarray(part, dtype=np.float32)
        for name, part in (("first", first), ("judge", judge), ("heads", heads))
    }
    for part in fitted.values():
        part.setflags(write=False)
    return net._replace(**fitted)


def first_shot(robot: RobotModel, net: Net, *, poses: int = _POSES) -> float:
    """Return the share of random reachable poses solved from the best-ranked head alone."""
    return _share_solved(make_chain(robot), net, True, poses)


def random_shot(robot: RobotModel, net: Net, *, poses: int = _RANDOM_POSES) -> float:
    """Return the share of random reachable poses solved from one random posture; ``net`` plays no part."""
    return _share_solved(make_chain(robot), net, False, poses)


def _share_solved(chain: Chain, net: Net, from_network: bool, poses: int) -> float:
    units = np.random.default_rng(1).uniform(-1.0, 1.0, (2, poses, len(chain.lower)))
    q, starts = np.clip(chain.centre + chain.half * units, chain.lower, chain.upper)
    return _count_solved(chain, net, from_network, q, starts) / poses


def _between_ends(robot: RobotModel, q: Floats) -> Floats:
    """Return the poses (N, 4, 4) of the last joint's frame in the first one's, both turned by ``q`` (N, n)."""
    first, last = np.linalg.inv(robot.fixed[0]), np.linalg.inv(robot.fixed[-1])
    return first @ robot.forward(q) @ last


_compiled = njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def _count_solved(chain: Chain, net: Net, from_network: bool, q: Floats, starts: Floats) -> int:
    """Return how many poses of the postures ``q`` (N, n) are solved from the best head, or from ``starts`` (N, n)."""
    T, M, x, trial = np.empty((4, 4)), np.empty((3, 4)), np.empty(FEATURES, np.float32), np.empty(q.shape[1])
    heads, count = net.rank.shape[1], 0
    outputs, logits = np.empty((heads, net.heads.shape[1] // heads), np.float32), np.empty(heads, np.float32)
    for k in range(q.shape[0]):
        fk(chain.fixed, chain.prismatic, q[k], T)
        if from_network:
            features(chain, net.symmetric, T, M, x)
            evaluate(net, x, outputs, logits)
            complete(chain, net.symmetric, M, outputs[np.argmax(logits)], trial)
        else:
            assign(trial, starts[k])
        count += refine(
            chain.fixed, chain.prismatic, chain.lower, chain.upper, T, trial, _ITERATIONS, _TOLERANCE, _TOLERANCE
        )[0]
    return count
