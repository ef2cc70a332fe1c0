"""Drive an arm toward the tags that a source shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import tyro

from vision_ik.cli.device_options import DeviceOptions
from vision_ik.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Options:
    """Drive an arm toward the tags seen in a webcam, video, picture, folder, stream or simulation.

    Without --rig nobody knows where the camera stood: the first seen tag is put within reach of a
    simulated arm, and everything that follows is marked as approximate.

    Examples:
      vision-ik run sim:tabletop                        a simulated camera and arm
      vision-ik run clip.mp4 --family 36h11 --size-mm 65
      vision-ik run photo.png --intrinsics camera.yaml
      vision-ik run 0 --rig rigs/desk                   the first webcam, a calibrated rig
      vision-ik run 0 --exposure-ms 8 --focus lock      short exposure against motion blur, still focus
      vision-ik run realsense: --size-mm 80             a depth camera, with the lens its maker measured
    """

    source: tyro.conf.Positional[str]
    """Webcam index, realsense:, depthai:, video, picture, folder of pictures, address of a stream, or sim:SCENE."""
    rig: Path | None = None
    """Folder with rig.toml, made by `vision-ik calibrate`."""
    robot: str | None = None
    """Catalogue name or URDF of the simulated arm; that of the rig or scene, or panda, when left out."""
    base: str | None = None
    """Link the arm's chain starts from, for a URDF."""
    tip: str | None = None
    """Link the arm's chain ends at, for a URDF."""
    family: str | None = None
    """Tag family, OpenCV dictionary or dictionary file; that of the rig, or 36h11, when left out."""
    size_mm: float | None = None
    """Edge of the tags' black border; 50 mm is assumed (and said) when nobody tells."""
    tag: int | None = None
    """Id of the tag to follow; otherwise the first one seen, and of a picture each in turn."""
    standoff_mm: float | None = None
    """Distance the tool keeps before the tag; what the rig says, or 100 mm, when left out."""
    intrinsics: Path | None = None
    """Lens: camera_info YAML, OpenCV FileStorage or BoofCV YAML."""
    fov_deg: float = 60.0
    """Horizontal field of view assumed (and said) when the lens is unknown."""
    seconds: float | None = None
    """Stop after so long; otherwise at the end of the source, for a simulation after 20 s."""
    hold_s: float = 4.0
    """How long a still picture is held before the arm, for each tag."""
    speed: float = 0.5
    """Share of the arm's speed and acceleration limits, above 0 and at most 1."""
    out: Path = Path("out/run")
    """Folder for run.mp4, commands.csv, detections.jsonl, metrics.json and report.html."""
    window: bool = False
    """Show a window while it runs (needs a display)."""
    json: bool = False
    """Print the metrics as JSON on stdout."""
    device: DeviceOptions = field(default_factory=DeviceOptions)


def run(options: Options) -> int:
    """Run the loop over the source and write what it did."""
    from contextlib import ExitStack

    from vision_ik.cli import console
    from vision_ik.cli.run_report import present
    from vision_ik.cli.runs import drive
    from vision_ik.cli.setting import open_scene_setting, open_setting
    from vision_ik.files import claimed_folder
    from vision_ik.view import LiveWindow

    _check(options)
    console.say_if_compiling()
    with claimed_folder(options.out):
        with ExitStack() as stack:
            opened = open_scene_setting if options.source.startswith("sim:") else open_setting
            setting = stack.enter_context(opened(options))
            stages = stack.enter_context(console.Stages())
            outcome = drive(setting, options, stages, LiveWindow() if options.window else None)
        return present(setting, outcome, options)


def _check(options: Options) -> None:
    for name, value in (("--size-mm", options.size_mm), ("--seconds", options.seconds), ("--hold-s", options.hold_s)):
        if value is not None and not 0 < value < 1e6:
            raise ConfigError(f"{name} must be positive, not {value}.", "Give a number above 0.")
    if not 0 < options.speed <= 1:
        raise ConfigError(f"--speed must be above 0 and at most 1, not {options.speed}.", "Give a share such as 0.5.")
    if not 0 < options.fov_deg < 180:
        raise ConfigError(f"--fov-deg must lie between 0 and 180, not {options.fov_deg}.", "60 suits most webcams.")
    if options.standoff_mm is not None and not 0 <= options.standoff_mm < 1000:
        raise ConfigError(f"--standoff-mm must lie between 0 and 1000, not {options.standoff_mm}.", "Give 100, say.")
    if options.source.startswith("sim:"):
        given = {"--family": options.family, "--size-mm": options.size_mm, "--intrinsics": options.intrinsics}
        given |= {"--base": options.base, "--tip": options.tip}
        unused = [name for name, value in given.items() if value is not None]
        if unused:
            raise ConfigError(
                f"{', '.join(unused)} cannot be set for {options.source}: the scene says it.",
                "Leave it out, or write a scene of your own (TOML) and give its path after sim:.",
            )
