"""Checks shared by the value types: arrays are converted, shape-checked and made read-only."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats: TypeAlias = NDArray[np.float64]
Image: TypeAlias = NDArray[np.uint8]


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


def put(instance: object, name: str, value: object) -> None:
    """Set a field of a frozen dataclass while it is being built."""
    object.__setattr__(instance, name, value)
