"""Seeds looked up in a stored table: the plain rival of a network.

Random postures are stored in a k-d tree by the poses they reach. The table is given every advantage the network
has: where the arm allows it, poses are turned to zero azimuth and freed of the last joint's roll, so that they fill
five numbers instead of nine, and the outer joints follow in closed form (`vision_ik.ik.seeds`). Of the ``neighbours``
nearest postures the one is taken that, its outer joints completed and moved inside the limits, comes closest to the
target: the very nearest often needs an outer joint beyond its limit.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from vision_ik.ik.chain import Chain, make_chain
from vision_ik.ik.kernels import LENGTH, pose_error
from vision_ik.ik.seeds import FEATURES, Floats32, complete, features
from vision_ik.learning import sampling
from vision_ik.robots import RobotModel
from vision_ik.robots.kernels import fk
from vision_ik.types import Floats

_compiled = njit(cache=True, nogil=True, error_model="numpy")


class PoseTable:
    """Random postures by their poses; metres count as in the refinement (`LENGTH`), axes by their difference.

    Args:
        robot: The arm.
        size: Postures stored.
        neighbours: Nearest ones compared.
        seed: Of the postures.
    """

    def __init__(self, robot: RobotModel, size: int, *, neighbours: int = 8, seed: int = 1) -> None:
        self._chain = make_chain(robot)
        self._symmetric = sampling.has_symmetry(self._chain)
        self.size, self.neighbours = size, min(neighbours, size)
        self._columns = [0, 2, 3, 4, 5] if self._symmetric else list(range(9))
        metres = 2 if self._symmetric else 3
        self._weights = np.ones(len(self._columns), np.float32)
        self._weights[:metres] = self._chain.reach / LENGTH
        poses = sampling.sample(self._chain, self._symmetric, size, np.random.default_rng(seed))
        self._postures = poses.y
        spatial: Any = importlib.import_module("scipy.spatial")  # cKDTree, the bare compiled tree, is in no type stub
        self._tree: Any = spatial.cKDTree(self._key(poses.x), balanced_tree=False)

    def look_up(self, Ts_base_tip: Floats) -> Floats:
        """Return the stored posture (N, n) [rad, m] that fits each pose (N, 4, 4) best."""
        count = len(Ts_base_tip)
        x, Ms = np.empty((count, FEATURES), np.float32), np.empty((count, 3, 4))
        _write_features(self._chain, self._symmetric, Ts_base_tip, Ms, x)
        _, nearest = self._tree.query(self._key(x), k=self.neighbours)
        seeds = np.empty((count, len(self._chain.lower)))
        _closest(self._chain, self._symmetric, Ts_base_tip, Ms, self._postures, nearest.reshape(count, -1), seeds)
        return seeds

    def _key(self, x: Floats32) -> Floats32:
        return x[:, self._columns] * self._weights


@_compiled
def _write_features(chain: Chain, symmetric: bool, Ts: Floats, Ms: Floats, x: Floats32) -> None:
    for k in range(Ts.shape[0]):
        features(chain, symmetric, Ts[k], Ms[k], x[k])


@_compiled
def _closest(
    chain: Chain,
    symmetric: bool,
    Ts: Floats,
    Ms: Floats,
    postures: Floats32,
    nearest: NDArray[np.int64],
    seeds: Floats,
) -> None:
    """Write to ``seeds`` (N, n) the completed posture, of those ``nearest`` (N, K), whose pose errs least."""
    q, T, e = np.empty(seeds.shape[1]), np.empty((4, 4)), np.empty(6)
    for k in range(Ts.shape[0]):
        least = np.inf
        for index in nearest[k]:
            complete(chain, symmetric, Ms[k], postures[index], q)
            fk(chain.fixed, chain.prismatic, q, T)
            metres, radians = pose_error(Ts[k], T, e)
            cost = (metres / LENGTH) ** 2 + radians * radians
            if cost < least:
                least = cost
                for i in range(q.shape[0]):
                    seeds[k, i] = q[i]
