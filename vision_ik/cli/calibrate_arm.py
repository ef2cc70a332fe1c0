"""``vision-ik calibrate arm``: views with joints in, the arm as it is out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.text import Text

from calibration.arm.solving import calibrate_arm
from calibration.files.observations import described_board as board_in_files
from calibration.files.observations import read_observations
from calibration.hand_eye.values import HandEyeView
from calibration.wizard import Wizard
from calibration.wizard.results import arm_facts
from calibration.wizard.saving import provenance_of, write_arm
from calibration.wizard.work import lens_for, measured
from vision_ik.cameras import load_any_intrinsics
from vision_ik.cli import console
from vision_ik.cli.calibrate import LinksOptions
from vision_ik.cli.calibrate_rig import described_board, known_board, rig_and_robot
from vision_ik.cli.main import EXIT_OK
from vision_ik.errors import ConfigError
from vision_ik.rig import Mount, Rig
from vision_ik.types import Board, CameraIntrinsics

_CLEAR = 3.0
"""Standard deviations from which an error of the arm is set in bold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Views:
    """What is calibrated from."""

    views: Sequence[HandEyeView]
    size: tuple[int, int]
    """Of the pictures [px]."""
    mount: Mount | None
    board: Board | None
    source: Path
    pictures: Sequence[Mapping[str, Any]]
    """What the provenance is told of each view."""


def calibrate_links(options: LinksOptions) -> int:
    """Calibrate the arm, print the result, and write it into the rig where the views ask for another arm.

    Raises:
        VisionIkError: The views do not tell, or something cannot be read or written.
    """
    rig, robot = rig_and_robot(options)
    file = options.rig if options.rig.suffix == ".toml" else options.rig / "rig.toml"
    with console.Stages() as stages:
        with stages.stage("Read the views") as stage:
            taken = _kept(options, file) if options.from_ is None else _from_files(options, rig, options.from_)
            stage.update(f"{len(taken.views)} views")
        lens = lens_for(_lens(options, rig), taken.size, "the camera of the views")
        mount = options.mount or taken.mount or rig.mount
        with stages.stage("Compute the arm as it is") as stage:
            found = calibrate_arm(taken.views, robot=robot, intrinsics=lens, mount=mount, board=taken.board)
            stage.update("another arm than drawn" if found.adopted else "the arm is as drawn")
    facts = arm_facts(found, lens)
    written: dict[str, Any] = {"file": None, "urdf": None, "kept": None}
    if found.adopted:
        origin = provenance_of(
            taken.pictures,
            source=str(taken.source),
            options={"goal": "arm", "seed": 0},
            nominal=robot.name,
            nominal_hash=robot.hash,
            robot_hash=found.robot.hash,
            mount=mount,
            views_used=found.hand_eye.used_views,
            gain=found.gain,
            held_out_before_mm=facts["held_out_before_mm"],
            held_out_after_mm=facts["held_out_after_mm"],
        )
        rig = rig if options.intrinsics is None else replace(rig, intrinsics=lens)
        toml, urdf, kept = write_arm(
            rig, file, found, hand_eye=facts["hand_eye"], board=taken.board, provenance=origin, origin=taken.source.name
        )  # fmt: skip
        written = {"file": str(toml), "urdf": str(urdf), "kept": kept}
    _present(facts, written, options)
    return EXIT_OK


def _kept(options: LinksOptions, rig_file: Path) -> _Views:
    """Return the views that `calibrate hand-eye` kept beside the rig.

    Raises:
        ConfigError: There are none.
    """
    nothing = ConfigError(
        f"No views are kept in {options.rig}.",
        "Take some with `vision-ik calibrate hand-eye`, or give --from a folder of views.",
    )
    if not (rig_file.parent / "calibration").is_dir():
        raise nothing
    with Wizard(rig_file, goal="hand-eye") as wizard:
        names, size = wizard.state.of("views"), wizard.picture_size()
        if not names or size is None:
            raise nothing
        return _Views(
            views=wizard.posed_views("views"),
            size=size,
            mount=wizard.mount,
            board=described_board(options) or wizard.evidence.board,
            source=wizard.folder / "views",
            pictures=[wizard.document.taken[name] for name in names],
        )


def _from_files(options: LinksOptions, rig: Rig, path: Path) -> _Views:
    board = described_board(options)
    if board is None:
        told = board_in_files(path)
        board = known_board(options, rig) if told is None else measured(told, options.measured_edge_mm)
    read = read_observations(path, board=board)
    for name in read.unseen:
        console.say(f"The board was not found in {name}.")
    return _Views(
        views=read.views,
        size=read.image_size,
        mount=read.mount,
        board=read.board,
        source=path.resolve(),
        pictures=[{"T_base_flange": view.flange.matrix.tolist()} for view in read.views],
    )


def _lens(options: LinksOptions, rig: Rig) -> CameraIntrinsics:
    if options.intrinsics is not None:
        return load_any_intrinsics(options.intrinsics)
    if rig.intrinsics is None:
        raise ConfigError("The lens is unknown.", "Run `vision-ik calibrate camera` or `all`, or give --intrinsics.")
    return rig.intrinsics


def _present(facts: Mapping[str, Any], written: Mapping[str, Any], options: LinksOptions) -> None:
    if options.json:
        console.write_json({**written, **facts})
    else:
        console.results().print(_summary(facts))
        if any(error["told"] for error in facts["link_errors"]):
            console.results().print(_errors(facts))
    for warning in facts["warnings"]:
        console.warn(warning)
    if not facts["adopted"]:
        console.say(f"The views ask for no other arm than {facts['robot']}: nothing was changed.")
        return
    console.say(f"The arm is {written['urdf']}, written to {written['file']} with the camera's place.")
    if written["kept"]:
        console.say(f"The rig as it was before is in {Path(written['file']).parent / written['kept']}.", style="dim")


def _summary(facts: Mapping[str, Any]) -> object:
    hand_eye = facts["hand_eye"]
    before, after = (facts[f"held_out_{when}_mm"] for when in ("before", "after"))
    rows: list[Sequence[str | Text]] = [
        ["arm", "another than drawn" if facts["adopted"] else "as drawn", "", ""],
        ["held-out views, arm as drawn", f"{before:.2f}", "", "mm"],
    ]
    if facts["adopted"]:
        rows.append(["held-out views, calibrated arm", f"{after:.2f}", "", "mm"])
    place = ", ".join(f"{1e3 * x:.2f}" for x in hand_eye["translation"])
    frame = "base" if hand_eye["mount"] == "eye_to_hand" else "flange"
    rows += [
        [f"camera in {frame}, position", place, f"{hand_eye['sigma_mm']:.2f}", "mm"],
        ["views used", f"{hand_eye['views_used']} of {len(hand_eye['views'])}", "", ""],
    ]
    return console.table(["arm", "value", "± sigma", "unit"], rows, right={"value", "± sigma"})


def _errors(facts: Mapping[str, Any]) -> object:
    """Return what the views tell of the arm's errors, clear ones in bold."""
    rows: list[Sequence[str | Text]] = [
        [
            Text(error["name"], style="bold" if abs(error["estimate"]) > _CLEAR * error["sigma"] else ""),
            f"{error['estimate']:+.3f}",
            f"{error['sigma']:.3f}",
            error["unit"],
        ]
        for error in facts["link_errors"]
        if error["told"]
    ]
    return console.table(["off its drawing", "by", "± sigma", "unit"], rows, right={"by", "± sigma"})
