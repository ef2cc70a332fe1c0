"""``vision-ik calibrate tool --tag``: views of a tag on the tool in, where the tool is on the flange out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from calibration.files.observations import read_observations
from calibration.hand_eye.values import HandEyeView
from calibration.tool.tag import calibrate_tool_tag
from calibration.wizard.saving import provenance_of, write_results
from calibration.wizard.tooling import tool_facts
from calibration.wizard.work import lens_for
from vision_ik.cli import console
from vision_ik.cli.calibrate import ToolOptions
from vision_ik.cli.calibrate_rig import rig_and_robot
from vision_ik.cli.calibrate_tool import tool_table
from vision_ik.cli.main import EXIT_OK
from vision_ik.errors import ConfigError
from vision_ik.rig import Rig
from vision_ik.robots import RobotModel
from vision_ik.transforms import Transform
from vision_ik.types import CameraIntrinsics, TagGridBoard


def calibrate_by_tag(options: ToolOptions) -> int:
    """Find the tool by a tag on it, print it, and write it into the rig.

    Raises:
        VisionIkError: The rig is not calibrated, the views do not tell, or something cannot be read or written.
    """
    if options.from_ is None or options.behind or options.undo or options.status:
        raise ConfigError(
            "A tag on the tool is looked at in views that were taken before, and nothing is touched.",
            "Give --from a folder of views, and neither --behind, --undo nor --status.",
        )
    rig, robot, lens = calibrated_rig(options)
    rig, tag = with_size_of(rig, options, options.tag or 0)
    size = rig.tag_size(tag)
    with console.Stages() as stages, stages.stage("Read the views") as stage:
        views, pictures = _views(options.from_, rig, robot, tag, size)
        stage.update(f"{len(views)} views")
    at = options.tag_at
    result = calibrate_tool_tag(
        views,
        intrinsics=lens_for(lens, pictures, "the camera of the views"),
        T_mount_camera=rig.T_mount_camera or Transform.identity(),
        mount=rig.mount,
        camera_covariance=rig.camera_covariance,
        T_tool_tag=None if at is None else Transform.from_xyz_rpy(at[:3], at[3:]),
    )
    facts = tool_facts(result)
    told = {key: facts[key] for key in ("sigma_mm", "sigma_deg", "arm_noise_mm", "arm_noise_deg", "used")}
    origin = provenance_of(
        [{"T_base_flange": view.flange.matrix.tolist()} for view in views],
        source=str(options.from_.resolve()),
        options={"goal": "tool", "tag": tag, "tag_at": None if at is None else list(at)},
        robot_hash=robot.hash,
        **told,
    )
    file, _ = write_results(rig, rig_file(options.rig), tool=facts, provenance={"tool": origin})
    if options.json:
        console.write_json({"file": str(file), **facts})
    else:
        console.results().print(tool_table(facts, what="tool", of="views"))
    for name, reason in facts["rejected"].items():
        console.warn(f"View {name} was left out: it {reason}.")
    for warning in facts["warnings"]:
        console.warn(warning)
    console.say(f"Written to {file}.")
    return EXIT_OK


def rig_file(rig: Path) -> Path:
    """Return the rig.toml of a rig's folder, or itself."""
    return rig if rig.suffix == ".toml" else rig / "rig.toml"


def calibrated_rig(options: Any) -> tuple[Rig, RobotModel, CameraIntrinsics]:
    """Return a rig that knows its camera, its arm and its lens; --size-mm is left to the tag in question.

    Raises:
        ConfigError: It does not know them.
    """
    rig, robot = rig_and_robot(replace(options, size_mm=None))
    if rig.T_mount_camera is None or rig.intrinsics is None:
        unknown = "its lens" if rig.intrinsics is None else "where its camera is"
        raise ConfigError(
            f"The rig in {options.rig} does not know {unknown}.",
            "Run `vision-ik calibrate all` on it first.",
        )
    return rig, robot, rig.intrinsics


def with_size_of(rig: Rig, options: Any, tag: int) -> tuple[Rig, int]:
    """Return the rig with the size of --size-mm for one tag, and this tag.

    Raises:
        ConfigError: The id or the size is impossible.
    """
    if tag < 0 or (options.size_mm is not None and not 0 < options.size_mm < 10_000):
        raise ConfigError(
            f"There is no tag {tag} of {options.size_mm} mm.", "Give its id, and the edge of its black border."
        )
    if options.size_mm is None:
        return rig, tag
    return replace(rig, tag_sizes={**rig.tag_sizes, tag: options.size_mm / 1000.0}), tag


def believed_flange(rig: Rig, robot: RobotModel, T_base_flange: Transform | None, q: Any, place: str) -> Transform:
    """Return where the flange was: as the arm reported it, or by its joints where its own chain is not the rig's.

    Raises:
        ConfigError: Nobody said, or the joints are those of another arm.
    """
    joints = None if q is None else np.asarray(q, dtype=np.float64)
    if joints is not None and joints.shape != (robot.n,):
        raise ConfigError(
            f"{place} has {joints.size} joint values, and {robot.name} has {robot.n} joints.", "Give those of this arm."
        )
    # The controller of an arm that was calibrated computes poses with the drawn one.
    if joints is not None and (T_base_flange is None or "arm" in rig.provenance):
        return Transform(robot.forward(joints))
    if T_base_flange is None:
        raise ConfigError(f"{place} has no pose of the arm.", "Give its T_base_flange, or the joints q.")
    return T_base_flange


def _views(path: Path, rig: Rig, robot: RobotModel, tag: int, size: float) -> tuple[list[HandEyeView], tuple[int, int]]:
    """Return the views of the tag, its corners about its middle, and the size of the pictures [px]."""
    board = TagGridBoard(columns=1, rows=1, tag_m=size, gap_m=0.0, family=rig.tag_family, first_id=tag)
    read = read_observations(path, board=board)
    for name in read.unseen:
        console.say(f"Tag {tag} was not found in {name}.")
    if read.mount is not None and read.mount != rig.mount:
        raise ConfigError(
            f"The views are of a camera mounted {read.mount}, and that of the rig is mounted {rig.mount}.",
            "Give views of this rig.",
        )
    # The grid's frame is at a corner, the tag's in its middle; corners in a file are in the tag's.
    shift = np.zeros(3) if read.board is None else np.array([size / 2.0, size / 2.0, 0.0])
    views = [
        replace(
            view,
            T_base_flange=believed_flange(rig, robot, view.flange, view.q, f"View {view.name}"),
            detection=replace(view.detection, points_board=view.detection.points_board - shift),
        )
        for view in read.views
    ]
    return views, read.image_size
