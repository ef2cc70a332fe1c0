"""Makers' packages that are installed only where their cameras are used."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from vision_ik.errors import MissingDependencyError


def load_sdk(module: str, *, extra: str, device: str) -> Any:
    """Return a maker's package.

    Args:
        module: Name to import.
        extra: The extra of this package that installs it.
        device: What it is for, for the message.

    Raises:
        MissingDependencyError: It is not installed, or cannot be loaded here.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        reason = "is not installed" if isinstance(error, ModuleNotFoundError) else f"cannot be loaded ({error})"
        raise MissingDependencyError(
            f"{device} needs the package {module}, which {reason}.",
            f"pip install 'vision-ik[{extra}]'",
            package=module,
            extra=extra,
        ) from error


def is_sdk_there(module: str) -> bool:
    """Return whether a maker's package is installed, without loading it."""
    return importlib.util.find_spec(module) is not None
