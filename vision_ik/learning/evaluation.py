"""What a seed network is worth on an arm: the figures on its card."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from vision_ik.ik.chain import make_chain
from vision_ik.ik.seeds import Net
from vision_ik.learning import sampling
from vision_ik.learning.labelling import Steps, first_shot, label_heads, refine_outputs
from vision_ik.robots import RobotModel

_SEED = 20_000
"""Far from any training seed, so that evaluation poses are not those trained on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Measured on reachable poses: one seed each, one refinement, 1e-6 m and 1e-6 rad, inside limits.

    Poses are of uniform random joints, but those of the last four shares: see `vision_ik.learning.sampling.RARE`.
    """

    targets: int
    first_shot: float
    """Share solved from the best-ranked head."""
    random_start: float
    """Share solved from one random posture."""
    any_head: float
    """Share solved from at least one head."""
    iterations_mean: float
    """Steps from the best-ranked head where it converges."""
    iterations_p99: float
    first_shot_limits: float
    """Share solved from the best-ranked head where one or two joints stand near a limit."""
    first_shot_singular: float
    """The same near singular postures."""
    first_shot_edge: float
    """The same near the edge of reach."""
    first_shot_axis: float
    """The same near the first joint's axis."""

    def as_dict(self) -> dict[str, float]:
        """Return the fields by name, rounded for the card."""
        return {name: value if isinstance(value, int) else round(value, 5) for name, value in asdict(self).items()}


def evaluate(robot: RobotModel, net: Net, *, targets: int = 20_000, seed: int = _SEED) -> Evaluation:
    """Return how well refinement converges from the seeds of ``net``."""
    chain = make_chain(robot)
    rng = np.random.default_rng(seed)
    q = sampling.sample(chain, net.symmetric, targets, rng).q
    steps = first_shot(chain, net, q)
    taken = steps[steps > 0]
    starts = sampling.sample(chain, False, targets, rng).y
    from_random, _ = refine_outputs(chain, False, q, starts)
    labels = label_heads(chain, net, q[: targets // 10])
    rare = {kind: first_shot(chain, net, sampling.rare(chain, kind, targets // 2, rng)) for kind in sampling.RARE}
    return Evaluation(
        targets=targets,
        first_shot=_share(steps),
        random_start=_share(from_random),
        any_head=float((labels > 0).any(axis=1).mean()),
        iterations_mean=float(taken.mean()) if len(taken) else float("nan"),
        iterations_p99=float(np.percentile(taken, 99)) if len(taken) else float("nan"),
        first_shot_limits=_share(rare["limits"]),
        first_shot_singular=_share(rare["singular"]),
        first_shot_edge=_share(rare["edge"]),
        first_shot_axis=_share(rare["axis"]),
    )


def _share(steps: Steps) -> float:
    return float((steps > 0).mean())
