"""Pairs of poses that other software kept: MoveIt's hand-eye calibration and easy_handeye2.

MoveIt (JSON or YAML): a list of samples, each a pair of 4x4 matrices, or a table with 16 numbers each, rows
first, [m]; ``effector_wrt_world`` is **T_base_flange**, ``object_wrt_sensor`` is **T_camera_board**::

    [[[[...], ...], [[...], ...]], ...]
    - {effector_wrt_world: [...], object_wrt_sensor: [...]}

easy_handeye2 (``*.samples``): ``samples`` with ``robot`` and ``tracking``, each translation x y z [m] and rotation
x y z w. ``tracking`` is **T_camera_board**; ``robot`` is **T_base_flange** for eye in hand, and its inverse
**T_flange_base** for eye on base, so that who carries the camera must be known to read them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np

from calibration.files.contents import PosePairs
from calibration.files.documents import Document, matrix_pose, quaternion_pose, reading
from vision_ik.errors import ConfigError
from vision_ik.rig import Mount
from vision_ik.transforms import Transform

_WHAT = "list of pose samples"
_MOVEIT = ("effector_wrt_world", "object_wrt_sensor")
EASY_TYPES: dict[str, Mount] = {"eye_in_hand": "eye_in_hand", "eye_on_base": "eye_to_hand"}
"""What easy_handeye2 calls who carries the camera."""


def is_moveit(document: Document) -> bool:
    """Return whether this is meant to be a file of MoveIt's samples."""
    if not isinstance(document, list) or not document:
        return False
    first = cast("list[Any]", document)[0]
    if isinstance(first, dict):
        return bool(set(_MOVEIT) & cast("dict[str, Any]", first).keys())
    try:
        return np.array(first, dtype=np.float64).shape in ((2, 4, 4), (2, 16))
    except (TypeError, ValueError):
        return False


def read_moveit(file: Path, document: Document) -> PosePairs:
    """Return its pairs.

    Raises:
        ConfigError: A sample lacks a pose, or is malformed.
        InvalidPoseError: A pose is no rigid transform.
    """
    with reading(file, _WHAT, "Give each sample as effector_wrt_world and object_wrt_sensor, 16 numbers each."):
        pairs: list[tuple[Transform, Transform]] = []
        for i, sample in enumerate(cast("list[Any]", document)):
            given = [sample[key] for key in _MOVEIT] if isinstance(sample, dict) else list(sample)
            if len(given) != 2:
                raise ValueError(f"sample {i} holds {len(given)} poses, not 2")
            arm, seen = (matrix_pose(value, f"sample {i}") for value in given)
            pairs.append((arm, seen))
        return _pairs(pairs, None)


def is_easy_samples(document: Document) -> bool:
    """Return whether this is meant to be a file of easy_handeye2's samples."""
    return isinstance(document, dict) and isinstance(document.get("samples"), list)


def read_easy_samples(file: Path, document: Document, mount: Mount | None = None) -> PosePairs:
    """Return its pairs.

    Args:
        file: It.
        document: What it holds.
        mount: Who carries the camera, where the file does not say.

    Raises:
        ConfigError: It is malformed, or nobody says who carries the camera.
        InvalidPoseError: A pose is no rigid transform.
    """
    with reading(file, _WHAT, "Compare it with a file that easy_handeye2 wrote."):
        told = str((document.get("parameters") or {}).get("calibration_type") or "")
        if told and told not in EASY_TYPES:
            raise ValueError(f"calibration_type must be one of {', '.join(EASY_TYPES)}, not {told!r}")
        known = EASY_TYPES[told] if told else mount
        if known is None:
            raise ConfigError(
                f"{file} does not say who carries the camera, and its poses mean T_base_flange if the arm does, and "
                "T_flange_base if it stands still.",
                "Say --mount eye_in_hand or --mount eye_to_hand.",
                path=file,
            )
        pairs: list[tuple[Transform, Transform]] = []
        for i, sample in enumerate(document["samples"]):
            robot, seen = (easy_transform(sample[key], f"{key} of sample {i}") for key in ("robot", "tracking"))
            pairs.append((robot if known == "eye_in_hand" else robot.inv(), seen))
        return _pairs(pairs, known)


def easy_transform(value: Any, place: str) -> Transform:
    """Return the transform of a ROS message: translation x y z [m], rotation x y z w."""
    moved, turned = value["translation"], value["rotation"]
    flat = {name: moved[name] for name in "xyz"} | {f"q{name}": turned[name] for name in "xyzw"}
    return quaternion_pose(flat, place)


def _pairs(pairs: list[tuple[Transform, Transform]], mount: Mount | None) -> PosePairs:
    return PosePairs(
        names=tuple(str(i) for i in range(len(pairs))),
        Ts_base_flange=np.array([arm.matrix for arm, _ in pairs]).reshape(-1, 4, 4),
        Ts_camera_board=np.array([seen.matrix for _, seen in pairs]).reshape(-1, 4, 4),
        mount=mount,
    )


def moveit_samples(pairs: PosePairs) -> list[dict[str, list[float]]]:
    """Return pairs as MoveIt's plug-in loads them from YAML: 16 numbers each, rows first, [m]."""
    poses = zip(pairs.Ts_base_flange, pairs.Ts_camera_board, strict=True)
    return [{key: pose.ravel().tolist() for key, pose in zip(_MOVEIT, both, strict=True)} for both in poses]
