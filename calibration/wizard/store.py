"""The wizard's folder: what is in it survives whatever happens to the process.

RIG/calibration/
  wizard.json             answers, views, results, and the states before (undo): written last, as a whole
  camera/0001.png         pictures for the lens
  views/0001.png          pictures for the hand-eye calibration, and poses.json: "Views on disk"
  rough/, checks/         the same, of views for the first guess and for the check
  touches/touches.json    poses in which the tool touched one point
  history/0001/           rig.toml and camera.yaml as they were before they were written anew
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import cv2

from calibration.wizard.state import Document, parse_document
from vision_ik.errors import ConfigError, RecordingError
from vision_ik.files import claimed_folder, write_atomic
from vision_ik.types import Image

_STATE = "wizard.json"
_LISTING = "poses.json"
POSED = ("views", "rough", "checks")
"""What pictures with a pose of the arm are for."""


def digest(value: object) -> str:
    """Return the SHA-256 of bytes, or of a plain value."""
    data = value if isinstance(value, bytes) else json.dumps(value, sort_keys=True, default=str).encode()
    return hashlib.sha256(data).hexdigest()


class Store:
    """Reads and writes one wizard's folder, and keeps others out of it while it is open.

    Args:
        rig_folder: Of rig.toml.

    Raises:
        ConfigError: A file has its name.
        RecordingError: Another process uses it, or it cannot be written to.
    """

    def __init__(self, rig_folder: Path) -> None:
        if rig_folder.is_file():
            raise ConfigError(
                f"{rig_folder} is a file, and a rig is a folder.", "Name a folder, which is made if it is missing."
            )
        self.folder = rig_folder / "calibration"
        self._claim = ExitStack()
        self._made = None if rig_folder.exists() else rig_folder
        try:
            self._claim.enter_context(claimed_folder(self.folder))
        except RecordingError as error:
            if "Another run" not in error.cause:
                raise
            raise RecordingError(
                f"Another run is calibrating {rig_folder}.",
                "Wait for its end, or end it; what it took is kept.",
                path=rig_folder,
            ) from error

    def close(self) -> None:
        """Let others in; a folder that was made for nothing is removed."""
        self._claim.close()
        if self._made is not None:
            with suppress(OSError):
                self._made.rmdir()

    def load(self) -> Document | None:
        """Return what is there; None in a new folder.

        Raises:
            ConfigError: The file is damaged.
        """
        file = self.folder / _STATE
        if not file.exists():
            return None
        try:
            return parse_document(json.loads(file.read_text(encoding="utf-8")))
        except OSError as error:
            raise ConfigError(
                f"Could not read {file}: {error.strerror}.", "Check its permissions.", path=file
            ) from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(
                f"{file} is no calibration that can be gone on with: {error}.",
                f"Move it away to start anew; the views taken are in {self.folder}, and --from reads them.",
                path=file,
            ) from error

    def commit(self, document: Document) -> None:
        """Write the state; then, for other readers, the lists of views.

        Raises:
            RecordingError: It could not be written; what was there is untouched.
        """
        write_atomic(self.folder / _STATE, json.dumps(document.as_json(), default=_plain))
        self.list_views(document)

    def forget(self) -> None:
        """Remove the state; pictures stay."""
        (self.folder / _STATE).unlink(missing_ok=True)

    def list_views(self, document: Document) -> None:
        """Write each folder's poses.json where it is not what the state says."""
        if document.now.of("touches") or (self.folder / "touches").exists():
            touches = [document.taken[name] for name in document.now.of("touches")]
            write_atomic(self.folder / "touches" / "touches.json", json.dumps({"touches": touches}, indent=1) + "\n")
        for role in POSED:
            entries = [document.taken[name] for name in document.now.of(role)]
            if not entries and not (self.folder / role).exists():
                continue
            text = listing(document.now.answers.get("mount"), entries)
            file = self.folder / role / _LISTING
            if not file.exists() or file.read_text(encoding="utf-8") != text:
                write_atomic(file, text)

    def put_picture(self, role: str, number: int, image: Image) -> tuple[str, str]:
        """Write a picture; return its path in this folder and the digest of its bytes.

        Raises:
            RecordingError: It could not be written.
        """
        ok, data = cv2.imencode(".png", image)
        if not ok:
            raise RecordingError("The picture could not be encoded as PNG.", "Report this with the camera's name.")
        name = f"{role}/{number:04d}.png"
        payload = data.tobytes()
        write_atomic(self.folder / name, payload)
        return name, digest(payload)


def listing(mount: object, entries: Iterable[Mapping[str, Any]]) -> str:
    """Return the text of a poses.json: "Views on disk" in docs/conventions.md."""
    views = [
        {"image": _beside(str(entry["image"]))}
        | {
            key: entry[key]
            for key in ("T_base_flange", "q", "twist", "timestamp", "sha256")
            if entry.get(key) is not None
        }
        for entry in entries
        if "image" in entry
    ]
    document = ({"config": mount} if mount else {}) | {"views": views}
    return json.dumps(document, indent=1, default=_plain) + "\n"


def _beside(image: str) -> str:
    """Return how a listing names a picture: those of its folder by name alone, others by their path."""
    path = Path(image)
    return str(path) if path.is_absolute() else path.name


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)
