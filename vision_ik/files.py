"""Writing files so that a crash never costs what was there before."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from vision_ik.errors import RecordingError


def write_atomic(path: str | Path, data: bytes | str) -> Path:
    """Write ``data`` to a temporary file beside ``path``, flush it to disk, and rename it into place.

    Returns:
        The path written. Missing parent folders are made.

    Raises:
        RecordingError: The disk is full, read-only, or the folder cannot be written to.
    """
    target = Path(path)
    payload = data.encode("utf-8") if isinstance(data, str) else data
    temporary: str | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(target)
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise RecordingError(
            f"Could not write {target}: {error.strerror or error}.",
            "Free some space or choose a folder you may write to; the old file, if any, is untouched.",
            path=target,
        ) from error
    finally:  # also when the user interrupts; after the rename there is nothing left to remove
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
    return target
