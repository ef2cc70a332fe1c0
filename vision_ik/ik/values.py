"""What goes into a compiled solve and what comes out: read fast, checked inside, told in words when refused."""

from __future__ import annotations

from dataclasses import fields
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from vision_ik.errors import InvalidPoseError
from vision_ik.ik import search
from vision_ik.transforms import Transform, TransformLike
from vision_ik.types import Floats, IkSolution, IkStatus

_DOUBLE = np.dtype(np.float64)
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
    matrix = pose.copy() if type(pose) is np.ndarray and pose.dtype is _DOUBLE else _real(pose)
    if matrix.shape != (4, 4):
        raise InvalidPoseError(
            f"A pose must have shape (4, 4), not {matrix.shape}.", "Pass a Transform or a 4x4 array."
        )
    return matrix


def read_matrices(poses: ArrayLike) -> Floats:
    """Return the (N, 4, 4) array of several poses without checking their values: the compiled solver does.

    Raises:
        InvalidPoseError: They hold something other than real numbers.
        ValueError: They have another shape.
    """
    matrices = _real(poses)
    if matrices.size == 0:
        matrices = matrices.reshape(0, 4, 4)
    if matrices.ndim != 3 or matrices.shape[1:] != (4, 4):
        raise ValueError(f"Targets must have shape (N, 4, 4), not {matrices.shape}.")
    return matrices


def _real(values: ArrayLike) -> Floats:
    """Return a copy as doubles; numpy alone would drop imaginary parts with no more than a warning."""
    try:
        raw = np.asarray(values)
        if raw.dtype.kind != "c":
            return np.array(raw, dtype=np.float64, order="C")
    except (TypeError, ValueError) as error:
        raise InvalidPoseError(
            f"A pose must be a (4, 4) array: {error}.", "Pass a Transform or a 4x4 array."
        ) from error
    raise InvalidPoseError("A pose must be real, not complex.", "Pass its real part, if nothing is lost with the rest.")


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
