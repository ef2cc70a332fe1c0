"""What goes into a compiled solve and what comes out: read fast, checked inside, told in words when refused."""

from __future__ import annotations

from dataclasses import fields
from functools import partial

import numpy as np

from vision_ik.errors import InvalidPoseError
from vision_ik.ik import search
from vision_ik.transforms import Transform, TransformLike
from vision_ik.types import Floats, IkSolution, IkStatus

_STATUS = tuple(IkStatus)
_NEW = partial(IkSolution.__new__, IkSolution)
_PUT_Q, _PUT_STATUS, _PUT_METRES, _PUT_RADIANS, _PUT_SEED, _PUT_STEPS, _PUT_DURATION = (
    IkSolution.__dict__[field.name].__set__ for field in fields(IkSolution)
)


def solved(q: Floats, status: int, m: float, rad: float, kind: int, steps: int, duration: float) -> IkSolution:
    """Return an IkSolution of values that need no checking.

    Its constructor copies and checks ``q``, which costs 3 us: as much as the solve itself.
    """
    q.setflags(write=False)
    solution = _NEW()
    _PUT_Q(solution, q)
    _PUT_STATUS(solution, _STATUS[status])
    _PUT_METRES(solution, m)
    _PUT_RADIANS(solution, rad)
    _PUT_SEED(solution, search.SEED_NAMES[kind])
    _PUT_STEPS(solution, steps)
    _PUT_DURATION(solution, duration)
    return solution


def read_matrix(pose: TransformLike) -> Floats:
    """Return the (4, 4) array of a pose without checking its values: the compiled solver does."""
    if isinstance(pose, Transform):
        return pose.matrix.copy()
    try:
        matrix = np.array(pose, dtype=np.float64, order="C")
    except (TypeError, ValueError) as error:
        raise InvalidPoseError(
            f"A pose must be a (4, 4) array: {error}.", "Pass a Transform or a 4x4 array."
        ) from error
    if matrix.shape != (4, 4):
        raise InvalidPoseError(
            f"A pose must have shape (4, 4), not {matrix.shape}.", "Pass a Transform or a 4x4 array."
        )
    return matrix


def complain(matrix: Floats, start: Floats) -> None:
    """Raise for what the compiled solver refused."""
    if not np.isfinite(start).all():
        raise ValueError(f"q_start must be finite, not {start.tolist()}.")
    Transform(matrix)
    raise InvalidPoseError(
        "The target is not a rigid transform within 1e-6.",
        "Check its rotation, or pass it through Transform.",
        matrix=matrix,
    )
