"""Opening arms by name; drivers register themselves through entry points."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import cast

from vision_ik.clock import Clock
from vision_ik.errors import ArmError
from vision_ik.types import Arm

ENTRY_POINTS = "vision_ik.arms"
"""Each entry is ``scheme = module:function``; the function gets what follows the colon, ``clock`` and the options."""


def open_arm(spec: str, *, clock: Clock | None = None, **options: object) -> Arm:
    """Open the arm that ``SCHEME:ADDRESS`` names, such as ``sim:tabletop`` or ``fake:panda``.

    Args:
        spec: The driver's name, a colon, and what the driver calls the arm.
        clock: The clock of the run; None leaves it to the driver.
        **options: For the driver.

    Raises:
        ArmError: No driver has this name, or the arm cannot be reached.
    """
    scheme, _, address = spec.partition(":")
    found = {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}
    if scheme not in found:
        known = ", ".join(f"{name}:..." for name in sorted(found)) or "none"
        raise ArmError(
            f"No driver opens the arm {spec!r}; known are: {known}.",
            "Check the spelling, or install the package that brings the driver.",
            spec=spec,
        )
    driver = cast("Callable[..., Arm]", found[scheme].load())
    return driver(address, clock=clock, **options)
