"""Vision-guided inverse kinematics: from a seen marker to a moved arm.

Names load on first use, so ``import vision_ik`` stays light.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from vision_ik.kernel_cache import drop_stale_kernels

if TYPE_CHECKING:
    from vision_ik.arms import open_arm as open_arm
    from vision_ik.cameras import open_camera as open_camera
    from vision_ik.control import servo as servo
    from vision_ik.errors import VisionIkError as VisionIkError
    from vision_ik.ik import HybridSolver as HybridSolver
    from vision_ik.ik import IkTask as IkTask
    from vision_ik.ik import load_solver as load_solver
    from vision_ik.rig import Rig as Rig
    from vision_ik.rig import load_rig as load_rig
    from vision_ik.rig import save_rig as save_rig
    from vision_ik.robots import RobotModel as RobotModel
    from vision_ik.robots import load_robot as load_robot
    from vision_ik.tags import TagDetector as TagDetector
    from vision_ik.tags import estimate_pose as estimate_pose
    from vision_ik.transforms import Transform as Transform
    from vision_ik.types import CameraIntrinsics as CameraIntrinsics
    from vision_ik.types import Frame as Frame
    from vision_ik.types import IkBatch as IkBatch
    from vision_ik.types import IkSolution as IkSolution
    from vision_ik.types import IkStatus as IkStatus
    from vision_ik.types import JointCommand as JointCommand
    from vision_ik.types import JointState as JointState
    from vision_ik.types import PoseEstimate as PoseEstimate
    from vision_ik.types import TagDetection as TagDetection
    from vision_ik.types import Target as Target

__version__ = "0.1.0"

_HOME = {
    "CameraIntrinsics": "types",
    "Frame": "types",
    "HybridSolver": "ik",
    "IkBatch": "types",
    "IkSolution": "types",
    "IkStatus": "types",
    "IkTask": "ik",
    "JointCommand": "types",
    "JointState": "types",
    "PoseEstimate": "types",
    "Rig": "rig",
    "RobotModel": "robots",
    "TagDetection": "types",
    "TagDetector": "tags",
    "Target": "types",
    "Transform": "transforms",
    "VisionIkError": "errors",
    "estimate_pose": "tags",
    "load_rig": "rig",
    "load_robot": "robots",
    "load_solver": "ik",
    "open_arm": "arms",
    "open_camera": "cameras",
    "save_rig": "rig",
    "servo": "control",
}

_CHECKOUT = Path(__file__).parent.parent
if (_CHECKOUT / "pyproject.toml").exists():
    drop_stale_kernels(_CHECKOUT)

__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'vision_ik' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"vision_ik.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
