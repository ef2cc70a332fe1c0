"""Data sets of Tabb and Ahmad Yousef, "Solving the robot-world hand-eye(s) calibration problem", 2017.

``robot_cali.txt``: the number of poses, then one 4x4 matrix B after the other, rows first, in millimetres.
B maps base to hand: **T_flange_base**, the inverse of what is kept here. Pose i belongs to picture i. The same
is read as JSON, ``{"0": [[...], ...], ...}`` with the number of the picture as key.

``calibration_object.txt``: chess_mm_height and chess_mm_width, chess_height and chess_width, which count the
corners inside. The camera is on the hand.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np

from calibration.files.contents import PosedPicture, PosedPictures
from calibration.files.documents import Document, matrix_pose, reading
from calibration.files.pairing import find_pictures, in_order, number_of
from vision_ik.errors import ConfigError
from vision_ik.transforms import Transform
from vision_ik.types import Chessboard

_WHAT = "robot_cali"
_REMEDY = "Give the number of poses, then for each the 4x4 matrix from base to hand, in mm."
_OBJECT = "calibration_object.txt"


def is_robot_cali(document: Document) -> bool:
    """Return whether this is meant to be such a file."""
    if isinstance(document, dict):
        table = cast("dict[object, object]", document)
        return bool(table) and all(str(key).isdecimal() for key in table) and _is_matrix(next(iter(table.values())))
    if not isinstance(document, str):
        return False
    words = document.split()
    try:
        numbers = [float(word) for word in words[:17]]
    except ValueError:
        return False
    return len(numbers) == 17 and numbers[0] == int(numbers[0]) >= 1 and numbers[13:] == [0.0, 0.0, 0.0, 1.0]


def _is_matrix(value: object) -> bool:
    try:
        return np.array(value, dtype=np.float64).shape == (4, 4)
    except (TypeError, ValueError):
        return False


def read_robot_cali(file: Path, document: Document) -> PosedPictures:
    """Return its poses with the pictures beside it.

    Raises:
        ConfigError: It is malformed, or pictures and poses are not as many.
        InvalidPoseError: A pose is no rigid transform.
    """
    with reading(file, _WHAT, _REMEDY):
        numbered = isinstance(document, dict)
        poses = _of_json(document) if numbered else dict(enumerate(_of_text(document)))
        pictures = find_pictures(file.parent)
        by_number = {number_of(path): path for path in pictures}
        if len(by_number) == len(pictures) and (numbered or by_number.keys() == poses.keys()):
            missing = sorted(poses.keys() - by_number.keys()), sorted(str(n) for n in by_number.keys() - poses.keys())
            for what, numbers in (("picture", missing[0]), ("pose", missing[1])):
                if numbers:
                    raise ConfigError(
                        f"{file}: there is no {what} with the number {', '.join(map(str, numbers[:5]))}.",
                        "Bring it back, or take out its partner.",
                        path=file,
                    )
            paired = [(by_number[n], pose) for n, pose in poses.items()]
        else:
            paired = list(zip(in_order(pictures, len(poses), file), poses.values(), strict=True))
        return PosedPictures(
            folder=file.parent,
            pictures=tuple(
                PosedPicture(name=path.relative_to(file.parent).as_posix(), T_base_flange=pose) for path, pose in paired
            ),
            mount="eye_in_hand",
            board=read_object(file.parent / _OBJECT),
        )


def _of_json(table: dict[str, object]) -> dict[int, Transform]:
    return {int(key): _flange(np.array(value, dtype=np.float64), f"pose {key}") for key, value in table.items()}


def _of_text(text: str) -> list[Transform]:
    numbers = np.array([float(word) for word in text.split()])
    count, rest = int(numbers[0]), numbers[1:]
    if len(rest) != 16 * count:
        raise ValueError(f"it announces {count} poses of 16 numbers, and {len(rest)} numbers follow")
    return [_flange(matrix, f"pose {i}") for i, matrix in enumerate(rest.reshape(count, 4, 4))]


def _flange(T_flange_base_mm: np.ndarray, place: str) -> Transform:
    """Return T_base_flange [m] of the file's matrix."""
    matrix = T_flange_base_mm.copy()
    matrix[:3, 3] /= 1000.0
    return matrix_pose(matrix, place).inv()


def read_object(file: Path) -> Chessboard | None:
    """Return the chessboard of a calibration_object.txt; None where there is no such file.

    Raises:
        ConfigError: It is malformed, or its rectangles are no squares.
    """
    if not file.is_file():
        return None
    with reading(file, "calibration object", "Give chess_mm_height, chess_mm_width, chess_height and chess_width."):
        words = file.read_text(encoding="utf-8").split()
        values = dict(zip(words[::2], (float(word) for word in words[1::2]), strict=True))
        width, height = values["chess_mm_width"], values["chess_mm_height"]
        if abs(width - height) > 1e-6 * width:
            raise ValueError(f"its fields measure {width:g} x {height:g} mm, and only squares are looked for")
        return Chessboard(
            columns=int(values["chess_width"]) + 1, rows=int(values["chess_height"]) + 1, square_m=width / 1000.0
        )


def write_robot_cali(Ts_base_flange: list[Transform]) -> str:
    """Return the text of a robot_cali.txt: T_flange_base of each pose, in mm."""
    lines = [str(len(Ts_base_flange))]
    for T_base_flange in Ts_base_flange:
        matrix = T_base_flange.inv().matrix.copy()
        matrix[:3, 3] *= 1000.0
        lines += ["", *(" ".join(repr(float(x)) for x in row) for row in matrix)]
    return "\n".join(lines) + "\n"
