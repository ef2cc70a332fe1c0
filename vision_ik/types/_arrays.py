"""Checks shared by the value types: arrays are converted, shape-checked and made read-only."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats: TypeAlias = NDArray[np.float64]
Image: TypeAlias = NDArray[np.uint8]

_ASYMMETRY = 1e-6
"""By which share of its largest element a covariance may differ from its transpose: rounding."""


def read_only(value: ArrayLike, shape: tuple[int | None, ...], name: str, *, finite: bool = True) -> Floats:
    """Return ``value`` as a read-only float64 array of ``shape`` (None: any length).

    Raises:
        ValueError: Another shape, or NaN or infinity where ``finite`` is asked for.
    """
    array = np.array(value, dtype=np.float64)
    wanted = "(" + ", ".join("n" if n is None else str(n) for n in shape) + ")"
    if array.ndim != len(shape) or any(n is not None and n != m for n, m in zip(shape, array.shape, strict=True)):
        raise ValueError(f"{name} must have shape {wanted}, not {array.shape}.")
    if finite and not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, but holds NaN or infinity.")
    array.setflags(write=False)
    return array


def covariance_of_size(value: ArrayLike, n: int, name: str) -> Floats:
    """Return ``value`` as a read-only (n, n) covariance.

    Raises:
        ValueError: Another shape, not finite, not symmetric, or with a negative variance.
    """
    array = read_only(value, (n, n), name)
    if np.abs(array - array.T).max() > _ASYMMETRY * np.abs(array).max() or array.diagonal().min() < 0.0:
        raise ValueError(f"{name} must be symmetric with a diagonal that is not negative.")
    return array


def finite_time(timestamp: float) -> None:
    """Refuse a time stamp that is NaN or infinite.

    Raises:
        ValueError: It is.
    """
    if not math.isfinite(timestamp):
        raise ValueError(f"A time stamp must be finite, not {timestamp}.")


def put(instance: object, name: str, value: object) -> None:
    """Set a field of a frozen dataclass while it is being built."""
    object.__setattr__(instance, name, value)
