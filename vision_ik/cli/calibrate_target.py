"""``vision-ik calibrate target``: showings of a place in, where the tool shall go seen from the tag out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from rich.text import Text

from calibration.files.showings import Shown, ShownPose, read_showings
from calibration.tool.target import Showing, teach_target
from calibration.wizard.saving import keep_old, provenance_of
from calibration.wizard.work import lens_for
from vision_ik.cli import console
from vision_ik.cli.calibrate import TargetOptions
from vision_ik.cli.calibrate_tool_tag import believed_flange, calibrated_rig, rig_file, with_size_of
from vision_ik.cli.main import EXIT_OK
from vision_ik.errors import CalibrationError, ConfigError
from vision_ik.rig import Rig, save_rig
from vision_ik.robots import RobotModel
from vision_ik.tags import TagDetector, estimate_pose
from vision_ik.transforms import Transform
from vision_ik.types import CameraIntrinsics, Frame, PoseEstimate, TagDetection

_AMBIGUOUS = 0.1
"""Likelihood of the mirrored pose of a tag, over that of the better one, from which it is doubted."""


def calibrate_target(options: TargetOptions) -> int:
    """Find where the tool shall go, print it, and write it into the rig.

    Raises:
        VisionIkError: The rig is not calibrated, the tag is not seen, or something cannot be read or written.
    """
    rig, robot, lens = calibrated_rig(options)
    told, shown = read_showings(options.from_)
    tag = told if options.tag is None else options.tag
    if tag is None:
        raise ConfigError(f"{options.from_} does not say which tag it shows.", "Give its id with --tag.")
    rig, tag = with_size_of(rig, options, tag)
    sightings = [_sighting(each, rig, lens, tag) for each in shown]
    showings = [
        Showing(
            sighting=sighting,
            T_base_flange=_flange(rig, robot, each.goal, each.name),
            T_base_flange_sighting=None if each.sighting is None else _flange(rig, robot, each.sighting, each.name),
        )
        for each, sighting in zip(shown, sightings, strict=True)
    ]
    result = teach_target(rig, showings, standoff=options.standoff_mm / 1000.0)
    target = result.T_tag_target
    facts: dict[str, Any] = {
        "tag": tag,
        "T_tag_target": target.matrix.tolist(),
        "translation": target.translation.tolist(),
        "rotation_xyzw": target.rotation_xyzw.tolist(),
        "covariance": result.covariance.tolist(),
        "sigma_mm": 1e3 * result.sigma_translation,
        "sigma_deg": float(np.rad2deg(np.sqrt(np.trace(result.covariance[3:, 3:])))),
        "spread_mm": 1e3 * result.spread,
        "showings": len(showings),
        "warnings": [
            f"In showing {each.name} the tag is seen so flat on that it could be tilted the other way: see it from "
            "the side or from nearer."
            for each, sighting in zip(shown, sightings, strict=True)
            if sighting.ambiguity > _AMBIGUOUS
        ],
    }
    origin = provenance_of(
        [{"T_base_flange": T.matrix.tolist()} for T in (_flange(rig, robot, s.goal, s.name) for s in shown)],
        source=str(options.from_.resolve()),
        options={"goal": "target", "tag": tag, "standoff_mm": options.standoff_mm},
        robot_hash=robot.hash,
        sigma_mm=facts["sigma_mm"],
        spread_mm=None if len(showings) == 1 else facts["spread_mm"],
    )
    file = rig_file(options.rig)
    keep_old(file)
    save_rig(replace(rig, T_tag_target=target, provenance={**rig.provenance, "target": origin}), file)
    _present(facts, str(file), options)
    return EXIT_OK


def _sighting(shown: Shown, rig: Rig, lens: CameraIntrinsics, tag: int) -> PoseEstimate:
    """Return where the camera saw the tag.

    Raises:
        CalibrationError: It did not.
    """
    size = rig.tag_size(tag)
    if shown.corners is not None:
        found = TagDetection(tag_id=tag, family=rig.tag_family, corners=shown.corners, timestamp=0.0)
        return estimate_pose(found, size, lens)
    if shown.image is None:
        raise ValueError(f"Showing {shown.name} has neither picture nor corners.")
    height, width = shown.image.shape[:2]
    own = lens_for(lens, (int(width), int(height)), f"the camera of showing {shown.name}")
    frame = Frame(image=shown.image, timestamp=0.0, index=0, intrinsics=own)
    seen = [each for each in TagDetector(rig.tag_family, wanted={tag}).detect(frame) if each.tag_id == tag]
    if len(seen) != 1:
        raise CalibrationError(
            f"Tag {tag} of family {rig.tag_family} is seen {len(seen)} times in showing {shown.name}.",
            "Show it once, whole and sharp.",
            showing=shown.name,
        )
    return estimate_pose(seen[0], size, own)


def _flange(rig: Rig, robot: RobotModel, pose: ShownPose, name: str) -> Transform:
    return believed_flange(rig, robot, pose.T_base_flange, pose.q, f"Showing {name}")


def _present(facts: dict[str, Any], file: str, options: TargetOptions) -> None:
    if options.json:
        console.write_json({"file": file, **facts})
    else:
        place = ", ".join(f"{1e3 * x:.2f}" for x in facts["translation"])
        turn = ", ".join(f"{x:.4f}" for x in facts["rotation_xyzw"])
        rows: list[Sequence[str | Text]] = [
            [f"target seen from tag {facts['tag']}, position", place, f"{facts['sigma_mm']:.2f}", "mm"],
            ["orientation, xyzw", turn, f"{facts['sigma_deg']:.3f}", "deg"],
            ["showings", str(facts["showings"]), "", ""],
        ]
        if math.isfinite(facts["spread_mm"]):
            rows.append(["single showings from their mean", f"{facts['spread_mm']:.2f}", "", "mm"])
        console.results().print(console.table(["target", "value", "± sigma", "unit"], rows, right={"value", "± sigma"}))
    for warning in facts["warnings"]:
        console.warn(warning)
    console.say(f"Written to {file}. The tool was taken as exactly where the rig has it.")
