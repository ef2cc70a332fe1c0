"""What a seed network is worth on an arm: the figures on its card."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from vision_ik.ik.chain import make_chain
from vision_ik.ik.seeds import Net
from vision_ik.learning import sampling
from vision_ik.robots import RobotModel

_SEED = 20_000
"""Far from any training seed, so that evaluation poses are not those trained on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Measured on random reachable poses: one seed each, one refinement, 1e-6 m and 1e-6 rad, inside limits."""

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

    def as_dict(self) -> dict[str, float]:
        """Return the fields by name, rounded for the card."""
        return {name: value if isinstance(value, int) else round(value, 5) for name, value in asdict(self).items()}


def evaluate(robot: RobotModel, net: Net, *, targets: int = 20_000, seed: int = _SEED) -> Evaluation:
    """Return how well refinement converges from the seeds of ``net``, on poses of uniform random joints."""
    chain = make_chain(robot)
    rng = np.random.default_rng(seed)
    poses = sampling.sample(chain, net.symmetric, targets, rng)
    done, steps = sampling.first_shot(chain, net, poses.q)
    starts = sampling.sample(chain, False, targets, rng).q
    outputs = ((starts - chain.centre) / chain.half).astype(np.float32)
    random_done, _ = sampling.refine_outputs(chain, False, poses.q, outputs)
    some = sampling.label_heads(chain, net, poses.q[: targets // 10])
    return Evaluation(
        targets=targets,
        first_shot=float(done.mean()),
        random_start=float(random_done.mean()),
        any_head=float(some.any(axis=1).mean()),
        iterations_mean=float(steps[done].mean()) if done.any() else float("nan"),
        iterations_p99=float(np.percentile(steps[done], 99)) if done.any() else float("nan"),
    )
