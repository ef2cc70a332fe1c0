"""Which of several solutions is wanted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np

from vision_ik.ik.chain import Chain
from vision_ik.robots.kernels import fk_jacobian_batch
from vision_ik.types import Floats

Objective: TypeAlias = Literal["near", "nearest", "manipulability", "limit_margin"] | Callable[[Floats], float]
"""``"near"``: the first solution found near the start, the fastest. ``"nearest"``: the one with the smallest (weighted)
distance to the start. ``"manipulability"`` and ``"limit_margin"``: the one where it is largest. A callable takes a
posture (n,) and returns its cost: the smallest wins. The last three choose among the solutions that
`HybridSolver.solve_all` lists: where those form a continuum they are samples of it, and the best of them is not
proven to be the best there is."""

NAMES = ("near", "nearest", "manipulability", "limit_margin")


def check_objective(objective: Objective) -> None:
    """Raise ValueError unless ``objective`` is a known name or callable."""
    if objective not in NAMES and not callable(objective):
        raise ValueError(f"No objective is called {objective!r}; there are {', '.join(NAMES)}, or a function of q.")


def costs(objective: Objective, chain: Chain, q: Floats) -> Floats:
    """Return the cost (N,) of each posture of ``q`` (N, n) by an objective that needs no start.

    Raises:
        ValueError: A user's function did not return a number.
    """
    if objective == "manipulability":
        return -manipulability(chain, q)
    if objective == "limit_margin":
        return -limit_margin(chain, q)
    if not callable(objective):
        raise ValueError(f"{objective!r} is no cost of a posture alone.")
    values = np.array([float(objective(posture.copy())) for posture in q])
    if np.isnan(values).any():
        raise ValueError("The objective returned NaN.")
    return values


def manipulability(chain: Chain, q: Floats) -> Floats:
    """Return (N,) of the tool: ``sqrt(det(J J^T))`` (Yoshikawa, IJRR 4(2), 1985); ``J^T J`` below six joints."""
    Ts, Js = np.empty((len(q), 4, 4)), np.empty((len(q), 6, q.shape[1]))
    fk_jacobian_batch(chain.fixed, chain.prismatic, q, Ts, Js)
    transposed = np.swapaxes(Js, 1, 2)
    squared = Js @ transposed if q.shape[1] >= 6 else transposed @ Js
    return np.sqrt(np.maximum(np.linalg.det(squared), 0.0))


def limit_margin(chain: Chain, q: Floats) -> Floats:
    """Return (N,) the distance of the joint nearest to a limit from it, as a share of half its range: 1 in the middle.

    Joints that turn without end have no part in it; infinite if all do.
    """
    with np.errstate(invalid="ignore"):
        margins = np.minimum(q - chain.lower, chain.upper - q) / (0.5 * (chain.upper - chain.lower))
    margins[:, ~np.isfinite(chain.lower) | ~np.isfinite(chain.upper)] = np.inf
    return margins.min(axis=1)
