"""Real hand-eye set-ups as the benches read them: corners or poses of the board, and poses of the arm."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from calibration import calibrate_intrinsics, read_observations
from calibration.hand_eye.board_pose import board_poses
from vision_ik.cameras.pictures import decode_image
from vision_ik.rig import Mount
from vision_ik.tags import BoardFinder
from vision_ik.types import BoardDetection, CameraIntrinsics, CharucoBoard, Floats, Frame

VARIABLE = "VISION_IK_DATA"
"""Names the folder of the sets, or one beside it."""
SETS = ("ic_charuco", "ic_dots10x10", "tabb_ds1_even", "moveit_poses")
_CHARUCO = CharucoBoard(columns=5, rows=7, square_m=0.036195, marker_m=0.018256, family="6x6_250", legacy=True)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RealSet:
    """One real set-up."""

    name: str
    mount: Mount
    Ts_base_flange: Floats
    """(N, 4, 4)"""
    detections: tuple[BoardDetection, ...] = ()
    """Empty for pose pairs."""
    size: tuple[int, int] = (0, 0)
    Ts_camera_board: Floats | None = None
    """(N, 4, 4) of pose pairs."""

    @property
    def count(self) -> int:
        """Number of views N."""
        return len(self.Ts_base_flange)

    def lens(self, views: Sequence[int]) -> CameraIntrinsics | None:
        """Return the lens as the pictures of some views tell it."""
        if not self.detections:
            return None
        return calibrate_intrinsics([self.detections[i] for i in views], image_size=self.size).intrinsics

    def boards(self, lens: CameraIntrinsics | None) -> Floats:
        """Return (N, 4, 4) Ts_camera_board."""
        if lens is None:
            return np.empty((0, 4, 4)) if self.Ts_camera_board is None else self.Ts_camera_board
        return np.stack([board_poses(detection, lens)[0] for detection in self.detections])


def find_folder() -> Path | None:
    """Return the folder of the sets; None where the environment names none."""
    named = os.environ.get(VARIABLE)
    if not named:
        return None
    for folder in (Path(named), Path(named) / "handeye", Path(named).parent / "handeye"):
        if (folder / SETS[0]).is_dir():
            return folder
    return None


def load_set(folder: Path, name: str) -> RealSet:
    """Read one of ``SETS``."""
    if name == "moveit_poses":
        pairs = np.array(json.loads((folder / name / "pose_samples.json").read_text()), dtype=np.float64)
        u, _, vt = np.linalg.svd(pairs[:, :, :3, :3])  # six digits
        pairs[:, :, :3, :3] = u @ vt
        return RealSet(name=name, mount="eye_to_hand", Ts_base_flange=pairs[:, 0], Ts_camera_board=pairs[:, 1])
    if name == "ic_charuco":
        return _charuco(folder / name)
    seen = read_observations(folder / name / f"obs_{name}.json")
    if seen.mount is None:
        raise ValueError(f"{name} does not say who carries the camera.")
    return RealSet(
        name=name,
        mount=seen.mount,
        Ts_base_flange=np.stack([view.flange.matrix for view in seen.views]),
        detections=tuple(view.detection for view in seen.views),
        size=seen.image_size,
    )


def _charuco(folder: Path) -> RealSet:
    """Find the board in the pictures themselves."""
    finder = BoardFinder(_CHARUCO)
    flanges: list[Floats] = []
    detections: list[BoardDetection] = []
    size = (0, 0)
    for i, path in enumerate(sorted((folder / "images").glob("*.png"), key=lambda path: int(path.stem))):
        image = decode_image(path)
        size = (int(image.shape[1]), int(image.shape[0]))
        frame = Frame(image=image, timestamp=float(i), index=i, intrinsics=CameraIntrinsics.from_field_of_view(*size))
        detection = finder.detect(frame)
        if detection is not None:
            flanges.append(_pose(folder / "poses" / f"{path.stem}.yaml"))
            detections.append(detection)
    return RealSet(
        name="ic_charuco",
        mount="eye_to_hand",
        Ts_base_flange=np.stack(flanges),
        detections=tuple(detections),
        size=size,
    )


def _pose(path: Path) -> Floats:
    values = {key: float(value) for key, value in (line.split(":") for line in path.read_text().split("\n") if line)}
    T = np.eye(4)
    T[:3, :3] = Rotation.from_quat([values[key] for key in ("qx", "qy", "qz", "qw")]).as_matrix()
    T[:3, 3] = [values[key] for key in "xyz"]
    return T
