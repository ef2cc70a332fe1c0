"""``vision-ik calibrate export`` and ``import``: where the camera is, for and from other software."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from vision_ik.errors import ConfigError

if TYPE_CHECKING:
    from vision_ik.rig import Rig
    from vision_ik.robots import RobotModel
    from vision_ik.transforms import Transform

Target = Literal[
    "easy_handeye2", "easy_handeye", "urdf", "xacro", "static_tf", "static_tf_ros1", "csv", "ros", "opencv", "kalibr"
]
_LENSES = {"ros": "camera.yaml", "opencv": "camera.yml", "kalibr": "camchain.yaml"}
"""File that a lens is written to, by format."""


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Write where the camera of a rig is, or its lens, for other software.

    The transform maps the camera's optical frame (z forward) to the frame that carries it: the base link of the
    robot's URDF, or its flange. With --link it is the camera's housing that is placed, as drivers that publish the
    frames inside the camera themselves want it.

    Examples:
      vision-ik calibrate export --rig rigs/desk --to easy_handeye2 --out desk.calib
      vision-ik calibrate export --rig rigs/desk --to urdf --link camera_link
      vision-ik calibrate export --rig rigs/desk --to static_tf --link camera_link --link-optical 0 0.015 0 -1.5708 0 -1.5708
      vision-ik calibrate export --rig rigs/desk --to ros --out camera_info.yaml      the lens
    """  # noqa: E501 # a command that can be copied

    to: Target
    """Format: of the camera's place, or of its lens (ros is camera_info, opencv FileStorage, kalibr a camchain)."""
    rig: Path = Path("rig")
    """Folder of rig.toml and camera.yaml."""
    out: Path | None = None
    """File to write; by default stdout (camera.yaml, camera.yml or camchain.yaml for a lens)."""
    parent: str = ""
    """Frame that carries the camera; by default as the robot's URDF calls it."""
    child: str = ""
    """Frame of the camera, optical; by default camera_optical_frame."""
    link: str = ""
    """Frame of the camera's housing, to be placed instead; a URDF gets it between the two."""
    link_optical: tuple[float, float, float, float, float, float] | None = None
    """Optical frame in the housing: x y z [m], roll pitch yaw [rad]; by default only turned, as REP 103 says."""
    name: str = "vision_ik"
    """Name of the calibration, where the format has one."""


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """Take where a camera is, or its lens, from other software into a rig.

    Read are calibrations of easy_handeye and easy_handeye2, a URDF with a fixed joint, a line or launch file
    with static_transform_publisher, a CSV with a header; lenses of ROS, OpenCV, Kalibr and BoofCV. A place that
    comes so has no covariance: how sure it is, nobody knows.

    Examples:
      vision-ik calibrate import ~/.ros2/easy_handeye2/calibrations/desk.calib --rig rigs/desk --robot panda
      vision-ik calibrate import camera.urdf --rig rigs/desk --child camera_color_optical_frame
      vision-ik calibrate import camera_info.yaml --rig rigs/desk
    """

    file: tyro.conf.Positional[Path]
    """File to read; its format is told by its content."""
    rig: Path = Path("rig")
    """Folder of rig.toml: read when it exists, and updated."""
    robot: str = ""
    """Catalogue name or URDF of the arm; by default what the rig says."""
    base: str | None = None
    """Link the arm's chain starts from, for a URDF."""
    tip: str | None = None
    """Link the arm's chain ends at (the flange), for a URDF."""
    mount: Literal["eye_to_hand", "eye_in_hand"] | None = None
    """Who carries the camera, where neither the file nor the name of the frame tells."""
    child: str = ""
    """Frame of the camera, where the file has several."""
    camera_frame: Literal["optical", "body"] | None = None
    """Whether that frame is the optical one (z forward) or the housing's (x forward); by default told by its name."""
    json: Annotated[bool, tyro.conf.arg(name="json")] = False
    """Print the result as JSON on stdout."""


def run_exchange(options: ExportOptions | ImportOptions) -> int:
    """Export or import what was asked for."""
    return _export(options) if isinstance(options, ExportOptions) else _import(options)


def _export(options: ExportOptions) -> int:
    from calibration.files.exchange import write_placement
    from calibration.files.placement import T_BODY_OPTICAL
    from vision_ik.cli import console
    from vision_ik.cli.main import EXIT_OK
    from vision_ik.files import write_atomic
    from vision_ik.rig import load_rig
    from vision_ik.robots import load_robot
    from vision_ik.transforms import Transform

    rig = load_rig(options.rig)
    if options.to in _LENSES:
        file = _write_lens(rig, options)
        console.say(f"Written to {file}.")
        return EXIT_OK
    if options.link_optical is not None and not options.link:
        raise ConfigError("--link-optical places the optical frame in a housing that has no name.", "Give --link, too.")
    inside = options.link_optical
    text = write_placement(
        rig,
        load_robot(rig.robot, rig.base, rig.tip),
        _placed(options.to),
        parent=options.parent,
        child=options.child,
        link=options.link,
        T_link_optical=T_BODY_OPTICAL if inside is None else Transform.from_xyz_rpy(inside[:3], inside[3:]),
        name=options.name,
        note=_note(rig),
    )
    if options.out is None:
        sys.stdout.write(text)
    else:
        console.say(f"Written to {write_atomic(options.out, text)}.")
    if options.link:
        console.say(_how_to_import(options), style="dim")
    if rig.camera_covariance is not None:
        console.say(f"How sure it is has no place in the format: {_sure(rig)}.")
    return EXIT_OK


def _placed(to: str) -> Literal["easy_handeye", "easy_handeye2", "urdf", "xacro", "static_tf", "static_tf_ros1", "csv"]:
    from calibration.files.exchange import PLACEMENT_FORMATS

    return next(each for each in PLACEMENT_FORMATS if each == to)


def _write_lens(rig: Rig, options: ExportOptions) -> Path:
    from vision_ik.camera_info import save_intrinsics
    from vision_ik.cameras.intrinsics_kalibr import save_kalibr
    from vision_ik.cameras.intrinsics_opencv import save_opencv

    if rig.intrinsics is None:
        raise ConfigError(f"The rig in {options.rig} knows no lens.", "Run `vision-ik calibrate camera` on it first.")
    file = options.out or Path(_LENSES[options.to])
    if options.to == "opencv":
        return save_opencv(rig.intrinsics, file)
    save = save_intrinsics if options.to == "ros" else save_kalibr
    return save(rig.intrinsics, file, name=options.name)


def _how_to_import(options: ExportOptions) -> str:
    """Return how the file is read back: it places the camera's housing, whose axes are not the optical ones."""
    words = ["vision-ik", "calibrate", "import", str(options.out or "FILE"), "--child", options.link]
    if options.link_optical is None:
        return f"To read it back: {shlex.join([*words, '--camera-frame', 'body'])}"
    return (
        f"An import cannot know where the optical frame is in {options.link}: to read it back, export without --link."
    )


def _note(rig: Rig) -> str:
    told = rig.provenance.get("calibrated")
    when = f", calibrated {told}" if told else ""
    return f"Camera of a vision-ik rig{when}{'' if rig.camera_covariance is None else f': {_sure(rig)}'}"


def _sure(rig: Rig) -> str:
    import numpy as np

    covariance = np.zeros((6, 6)) if rig.camera_covariance is None else rig.camera_covariance
    mm = 1e3 * float(np.sqrt(np.trace(covariance[:3, :3])))
    deg = float(np.rad2deg(np.sqrt(np.trace(covariance[3:, 3:]))))
    return f"± {mm:.2f} mm and ± {deg:.3f} deg, root mean square"


def _import(options: ImportOptions) -> int:
    from calibration.files.exchange import read_placement
    from calibration.files.placement import T_mount_camera_of
    from vision_ik.cameras import load_any_intrinsics
    from vision_ik.cli import console
    from vision_ik.cli.calibrate import BoardOptions
    from vision_ik.cli.calibrate_rig import rig_and_robot
    from vision_ik.cli.main import EXIT_OK

    told = BoardOptions(rig=options.rig, robot=options.robot, base=options.base, tip=options.tip)
    placement = read_placement(options.file, child=options.child)
    rig, robot = rig_and_robot(told)
    if placement is None:
        lens = load_any_intrinsics(options.file)
        file = _save(replace(rig, intrinsics=lens), options, "camera", {"format": "lens"})
        if options.json:
            console.write_json({"file": str(file), "lens": {"K": lens.K.tolist(), "model": lens.model}})
        console.say(f"The lens of {options.file.name} is in {file} now.")
        return EXIT_OK
    mount, T_mount_camera, remarks = T_mount_camera_of(
        placement, robot, mount=options.mount, frame=options.camera_frame
    )
    facts = {"format": placement.format, "parent_frame": placement.parent, "camera_frame": placement.child}
    placed = replace(
        rig, mount=mount, T_mount_camera=T_mount_camera, camera_covariance=None, robot_hash=robot.hash
    )  # fmt: skip
    file = _save(placed, options, "hand_eye", facts)
    for remark in remarks:
        console.warn(remark)
    if options.json:
        pose = {
            "translation": T_mount_camera.translation.tolist(),
            "rotation_xyzw": T_mount_camera.rotation_xyzw.tolist(),
        }
        console.write_json({"file": str(file), "mount": mount, **pose, "covariance": None})
    else:
        console.say(_told(mount, T_mount_camera, robot))
    console.warn("What was imported has no covariance: how sure it is, nobody knows. A calibration here would tell.")
    console.say(f"Written to {file}.")
    return EXIT_OK


def _told(mount: str, T_mount_camera: Transform, robot: RobotModel) -> str:
    x, y, z = 1e3 * T_mount_camera.translation
    carrier = f"base ({robot.base})" if mount == "eye_to_hand" else f"flange ({robot.tip})"
    return f"The camera is at {x:.1f}, {y:.1f}, {z:.1f} mm in the {carrier}."


def _save(rig: Rig, options: ImportOptions, step: str, facts: dict[str, str]) -> Path:
    """Write the rig, keeping the one before, with where the new part is from."""
    from calibration.wizard.saving import keep_old, now
    from calibration.wizard.store import digest
    from vision_ik import __version__
    from vision_ik.rig import save_rig

    file = options.rig if options.rig.suffix == ".toml" else options.rig / "rig.toml"
    keep_old(file)
    origin = {
        "when": now(),
        "imported_from": str(options.file),
        "sha256": digest(options.file.read_bytes()),
        "vision_ik": __version__,
        **facts,
    }
    stale = {"check"} | {key for key in rig.provenance if step == "hand_eye" and key.startswith("calibrat")}
    known = {key: value for key, value in rig.provenance.items() if key not in stale}
    return save_rig(replace(rig, provenance=known | {step: origin}), file)
