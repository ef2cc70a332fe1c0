"""A rig whose arm is the calibrated one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from calibration.arm.values import ArmCalibration
from vision_ik.rig import Rig
from vision_ik.robots import save_urdf


def rig_with_arm(rig: Rig, found: ArmCalibration, folder: str | Path) -> Rig:
    """Return the rig with the calibrated arm, written as ``NAME.urdf`` into ``folder``, and with the camera as found.

    Where the arm stays as drawn only the camera changes. `save_rig` writes the result; the URDF stands before it.

    Args:
        rig: As it was; its tool, tags and boards stay.
        found: What a calibration found.
        folder: The rig's own, so that ``rig.toml`` names the file without a path.

    Raises:
        RecordingError: The folder cannot be written to.
    """
    camera = replace(
        rig,
        mount=found.hand_eye.mount,
        T_mount_camera=found.hand_eye.T_mount_camera,
        camera_covariance=found.hand_eye.covariance,
        robot_hash=found.robot.hash,
    )
    if not found.adopted:
        return camera
    file = save_urdf(found.robot, Path(folder) / f"{found.robot.name}.urdf", note=found.note)
    return replace(
        camera,
        robot=str(file),
        base=None,
        tip=None,
        provenance={**rig.provenance, "arm": found.note},
    )
