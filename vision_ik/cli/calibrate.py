"""Find out where the camera is, and what its lens does."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from vision_ik.cli.calibrate_export import ExportOptions, ImportOptions, run_exchange
from vision_ik.cli.device_options import DeviceOptions
from vision_ik.errors import ConfigError

BoardKind = Literal["charuco", "chessboard", "tags"]


@dataclass(frozen=True, kw_only=True)
class RigOptions:
    """The rig to write."""

    rig: Path = Path("rig")
    """Folder of rig.toml and camera.yaml: read when it exists, and updated."""
    robot: str = ""
    """Catalogue name or URDF of the arm, written into the rig; by default what the rig says."""
    base: str | None = None
    """Link the arm's chain starts from, for a URDF."""
    tip: str | None = None
    """Link the arm's chain ends at (the flange), for a URDF."""
    size_mm: float | None = None
    """Edge of the tags' black border, written into the rig for the runs to come."""
    json: bool = False
    """Print the result as JSON on stdout."""


@dataclass(frozen=True, kw_only=True)
class BoardOptions(RigOptions):
    """The rig to write, and which board is shown: that of the rig, unless one is described here."""

    board: BoardKind = "charuco"
    """Kind of the board that --columns and --rows describe."""
    columns: int | None = None
    """Squares (or tags) of the board along its width; of a chessboard all squares, not the corners inside."""
    rows: int | None = None
    """Squares (or tags) along its height."""
    square_mm: float | None = None
    """Edge of a square, of a charuco or chessboard."""
    marker_mm: float | None = None
    """Edge of a marker's black border: in a charuco's white squares, or of a tag of a grid."""
    gap_mm: float | None = None
    """White between two tags of a grid."""
    measured_edge_mm: Annotated[float | None, tyro.conf.arg(aliases=["--measured-edge"])] = None
    """An edge of the print as you measured it: a square, a marker, or better the board's width; printers scale."""
    board_family: str = ""
    """Dictionary of the markers; 4x4_50 for a charuco, 36h11 for tags."""
    device: DeviceOptions = field(default_factory=DeviceOptions)


@dataclass(frozen=True, kw_only=True)
class CameraOptions(BoardOptions):
    """Compute the lens from pictures of a board, and write it into the rig.

    Show the board large, tilted by 20 to 45 degrees in several directions, and in all corners of
    the picture. A rig that does not exist yet is made, with the board, and with panda as its arm
    unless --robot names another; with --out alone no rig is made.

    Examples:
      vision-ik calibrate camera --from pictures --columns 7 --rows 5 --square-mm 30 --marker-mm 22
      vision-ik calibrate camera clip.mp4 --board chessboard --columns 10 --rows 7 --square-mm 25 --out camera.yaml
      vision-ik calibrate camera 0 --rig rigs/desk      a webcam: move the board until all views are taken
      vision-ik calibrate camera 0 --rig rigs/desk --robot ur5e --size-mm 80
      vision-ik calibrate camera 0 --focus lock         a lens that refocuses is another lens
    """

    source: tyro.conf.Positional[str] = ""
    """Webcam index, video, or address of a stream."""
    from_: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """Folder of pictures, or a JSON file of corners (docs/conventions.md, "Views on disk")."""
    model: Literal["auto", "pinhole", "fisheye"] = "auto"
    """Lens model; auto takes the simplest that predicts unseen views as well as the best."""
    coefficients: Literal[4, 5, 8] | None = None
    """Distortion coefficients of --model pinhole; 5 when left out."""
    views: int = 20
    """Views to take from a video or a live source."""
    out: Path | None = None
    """Also write the lens here: .yaml (ROS), .yml .xml .json (OpenCV), camchain*.yaml (Kalibr)."""
    report: Path | None = None
    """Write an HTML page (.html) with coverage, tilts, residuals, and what to show next."""


@dataclass(frozen=True, kw_only=True)
class ArmOptions(BoardOptions):
    """What all calibrations with an arm are told."""

    source: tyro.conf.Positional[str] = ""
    """Camera: sim:SCENE, webcam index, or address of a stream."""
    auto: bool = False
    """Let the arm move by itself: find the board, plan views, visit them."""
    arm: str = ""
    """Arm, as DRIVER:ADDRESS; without --auto you move it, and it is asked where it is."""
    yes: bool = False
    """Agree that the real arm moves by itself; keep clear of it, and a hand on its stop."""
    from_: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """Folder of pictures with a poses.json, or a JSON file of corners and poses."""
    mount: Literal["eye_to_hand", "eye_in_hand"] | None = None
    """Who carries the camera; by default what the scene, the file or the rig says."""
    intrinsics: Path | None = None
    """Lens; by default that of the rig, or else computed from the same views."""
    views: int | None = None
    """Views to take: 15, or with an accuracy as many as it takes, at most 40."""
    accuracy_mm: float | None = None
    """How sure the camera's place shall be (root mean square): views are taken until it is."""
    accuracy_deg: float | None = None
    """The same of its orientation."""
    speed: float = 0.35
    """Share of the arm's speed and acceleration limits that --auto uses."""
    floor_mm: float = 0.0
    """Height of the table in the arm's base frame."""
    report: Path | None = None
    """HTML page (.html) about the result: views, uncertainty, a scene to turn; `all` writes it beside the views."""
    restart: bool = False
    """Take new views, instead of going on with those of a run that was interrupted."""
    undo: bool = False
    """Take back the last thing that was done; a rig that was written is brought back as it was."""
    status: bool = False
    """Only say where the calibration of this rig stands."""


@dataclass(frozen=True, kw_only=True)
class HandEyeOptions(ArmOptions):
    """Compute where the camera is, from views of a board and the arm's poses, and write it into the rig.

    Eye to hand: the camera stands still, the flange carries the board. Eye in hand: the flange
    carries the camera, the board stands still. Views that you took yourself are a folder of pictures
    with the arm's poses in poses.json: docs/conventions.md, "Views on disk", shows both formats.

    Every view is kept in RIG/calibration the moment it is taken: the same command goes on after a
    crash, and --undo takes back what was done last.

    Examples:
      vision-ik calibrate hand-eye sim:calibration_board --auto
      vision-ik calibrate hand-eye --from views --rig rigs/desk
      vision-ik calibrate hand-eye --from views --robot ur5e --mount eye_to_hand
      vision-ik calibrate hand-eye 0 --auto --arm SPEC --yes --rig rigs/desk
      vision-ik calibrate hand-eye 0 --rig rigs/desk        you move the arm, and tell its joints
    """


@dataclass(frozen=True, kw_only=True)
class AllOptions(ArmOptions):
    """Do everything, step by step: board, lens, where the camera is, a check on views of their own; write the rig.

    Each step says what to do next. With --auto the arm does it all; with --from the pictures are
    there already; otherwise you show the board and move the arm. Everything is kept in
    RIG/calibration the moment it is there: the same command goes on after a crash.

    Examples:
      vision-ik calibrate all sim:calibration_board --auto --rig rigs/sim
      vision-ik calibrate all 0 --auto --arm SPEC --yes --columns 7 --rows 5 --square-mm 30 --marker-mm 22 --robot ur5e
      vision-ik calibrate all --from views --columns 7 --rows 5 --square-mm 30 --marker-mm 22 --robot ur5e --json
      vision-ik calibrate all 0 --rig rigs/desk             you show the board, and move the arm
      vision-ik calibrate all --rig rigs/desk --status
    """

    model: Literal["auto", "pinhole", "fisheye"] = "auto"
    """Lens model; auto takes the simplest that predicts unseen views as well as the best."""
    pictures: int = 20
    """Pictures for the lens, where you show the board; with --auto it is computed from the arm's views."""
    checks: int = 4
    """Views that the result is checked on, and not computed from."""
    tolerance_mm: float | None = None
    """Most that the check may find the board off, root mean square: exit code 1 where it is more."""
    tolerance_deg: float | None = None
    """The same for its orientation."""


@dataclass(frozen=True, kw_only=True)
class LinksOptions(BoardOptions):
    """Compute the arm as it is: joint zeros and link geometry, from views of a board with the arm's joints.

    Takes the views that `calibrate hand-eye` kept in RIG/calibration, or those of --from, each with its joints q; 30
    and more that use the joints' ranges. Where the views ask for another arm than the drawn one, its URDF is written
    into the rig's folder, and the rig has this arm and the camera's place that belongs to it; else nothing changes.

    Examples:
      vision-ik calibrate arm --rig rigs/desk                   the views of the rig
      vision-ik calibrate arm --rig rigs/desk --from views --json
      vision-ik calibrate arm --from views.json --robot ur5e --intrinsics camera.yaml
    """

    from_: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """Folder of pictures with a poses.json, or a JSON file of corners, each view with q; by default the rig's views."""
    mount: Literal["eye_to_hand", "eye_in_hand"] | None = None
    """Who carries the camera; by default what the file or the rig says."""
    intrinsics: Path | None = None
    """Lens; by default that of the rig."""


@dataclass(frozen=True, kw_only=True)
class TargetOptions(RigOptions):
    """Compute where the tool shall go, seen from a tag, from putting it there by hand, and write it into the rig.

    The rig's camera sees the tag; then the arm is moved until the tool is where it shall go, the tag at rest. Once is
    enough, three times tell how well it repeats. docs/conventions.md, "Views on disk", shows the file.

    Examples:
      vision-ik calibrate target --from showings.json --rig rigs/desk
      vision-ik calibrate target --from showings.json --rig rigs/desk --standoff-mm 20 --json
    """

    from_: Annotated[Path, tyro.conf.arg(name="from")]
    """JSON file of showings: the tag as it was seen, and where the arm was with the tool at its goal."""
    tag: int | None = None
    """Id of the tag; by default what the file says."""
    standoff_mm: float = 0.0
    """How far before the place shown the target shall be, against the tool's z axis."""


@dataclass(frozen=True, kw_only=True)
class ToolOptions(RigOptions):
    """Compute where the tool is on the flange, from touches of a point or a tag on it, and write it into the rig.

    Touch the same point (the tip of a nail, a punch mark) at least four times, better eight, with the tool tilted by
    20 to 45 degrees every way. The orientation stays what the rig says of it, or --behind tells the tool's axis.

    Or put a tag on the tool (--tag) and show it to the camera of a calibrated rig, from several postures.

    Examples:
      vision-ik calibrate tool --rig rigs/desk --arm SPEC       you move the arm, and it says where it is
      vision-ik calibrate tool --rig rigs/desk                  you read the joints from its pendant
      vision-ik calibrate tool --from touches.json --robot ur5e --json
      vision-ik calibrate tool --from tip.json --behind shaft.json
      vision-ik calibrate tool --tag 7 --size-mm 30 --from views --rig rigs/desk
    """

    from_: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """JSON file of touches, or a folder with touches.json; with --tag views of it, as `hand-eye --from` takes them."""
    behind: tuple[Path, ...] = ()
    """Touches with another point of the tool's axis behind its tip, as --from: z then points out of the tip."""
    tag: int | None = None
    """Id of a tag on the tool, --size-mm large, seen by the rig's camera: the tag is the tool unless --tag-at."""
    tag_at: tuple[float, float, float, float, float, float] | None = None
    """Where the tag is on the tool: x y z [m], roll pitch yaw [rad]."""
    arm: str = ""
    """Arm, as DRIVER:ADDRESS; without it you are asked where it is."""
    yes: bool = False
    """Agree that keys move the real arm; keep clear of it, and a hand on its stop."""
    touches: int = 8
    """Touches to make."""
    speed: float = 0.1
    """Share of the arm's speed and acceleration limits that keys use."""
    restart: bool = False
    """Touch anew, instead of going on with the touches of a run that was interrupted."""
    undo: bool = False
    """Take back the last thing that was done; a rig that was written is brought back as it was."""
    status: bool = False
    """Only say where the calibration of this tool stands."""


COMMANDS = {
    "camera": CameraOptions,
    "hand-eye": HandEyeOptions,
    "tool": ToolOptions,
    "target": TargetOptions,
    "arm": LinksOptions,
    "all": AllOptions,
    "export": ExportOptions,
    "import": ImportOptions,
}


def run(
    options: CameraOptions
    | HandEyeOptions
    | ToolOptions
    | TargetOptions
    | LinksOptions
    | AllOptions
    | ExportOptions
    | ImportOptions,
) -> int:
    """Calibrate what was asked for."""
    if isinstance(options, ExportOptions | ImportOptions):
        return run_exchange(options)
    if isinstance(options, CameraOptions):
        from vision_ik.cli.calibrate_camera import calibrate_camera

        _one_source(options.source, options.from_, "a picture source")
        return calibrate_camera(options)
    if isinstance(options, ToolOptions):
        from vision_ik.cli.calibrate_tool import calibrate_tool

        return calibrate_tool(options)
    if isinstance(options, TargetOptions):
        from vision_ik.cli.calibrate_target import calibrate_target

        return calibrate_target(options)
    if isinstance(options, LinksOptions):
        from vision_ik.cli.calibrate_arm import calibrate_links

        return calibrate_links(options)
    from vision_ik.cli.calibrate_steps import calibrate_steps

    if not (options.undo or options.status):
        _one_source(options.source, options.from_, "a camera")
    return calibrate_steps(options)


def _one_source(source: str, folder: Path | None, what: str) -> None:
    if bool(source) == (folder is not None):
        raise ConfigError(
            f"Either {what} or --from is needed, not {'both' if source else 'neither'}.",
            "`vision-ik calibrate --help` shows examples.",
        )
