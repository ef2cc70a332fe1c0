"""Writing files so that a crash never costs what was there before."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from vision_ik.errors import RecordingError

if sys.platform != "win32":
    import fcntl


@contextmanager
def claimed_folder(folder: str | Path) -> Generator[Path]:
    """Make a folder and keep others from claiming it in the block, so that two runs do not mix their files.

    The claim is a lock of the operating system on the folder: it leaves no file, and ends with the process
    however that ends. Where there is none (Windows, some network drives) the folder is only made. A folder
    that was made and is still empty at the end is removed.

    Raises:
        RecordingError: Another claims it, a file has its name, or it cannot be made.
    """
    path = Path(folder)
    there = path.exists()
    try:
        path.mkdir(parents=True, exist_ok=True)
        handle = _opened(path)
    except (FileExistsError, NotADirectoryError) as error:
        raise RecordingError(
            f"{path} is not a folder: a file has that name.",
            "Name a folder, which is made if it is missing.",
            path=path,
        ) from error
    except OSError as error:
        raise RecordingError(
            f"Could not use the folder {path}: {error.strerror or error}.",
            "Choose a folder you may write to.",
            path=path,
        ) from error
    try:
        if handle is not None:
            _lock(handle, path)
        yield path
    finally:
        if not there:
            with suppress(OSError):
                path.rmdir()
        if handle is not None:
            os.close(handle)


def _opened(path: Path) -> int | None:
    """Return a handle of a folder to lock, None where folders cannot be opened."""
    return None if sys.platform == "win32" else os.open(path, os.O_RDONLY)


def _lock(handle: int, path: Path) -> None:
    if sys.platform == "win32":
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RecordingError(
            f"Another run is writing into {path}.", "Wait for its end, or give this one another folder.", path=path
        ) from error
    except OSError:
        return  # this drive knows no locks


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
