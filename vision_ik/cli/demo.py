"""The main job in one run: find the camera, see the tag, follow it, say how accurate it was."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vision_ik.cli.device_options import DeviceOptions
from vision_ik.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Options:
    """Run the whole story: calibrate a simulated camera, then follow a moving tag.

    The program is not told where the camera stands: the arm carries a board through planned views to
    find out, then follows a moving tag and goes to tags at rest. Everything is compared with the truth.
    With --camera the pictures come from a webcam, video or picture instead, as in `vision-ik run`.

    Examples:
      vision-ik demo
      vision-ik demo --robot ur5e --seconds 10
      vision-ik demo --camera 0 --size-mm 80            a webcam and a printed tag
      vision-ik demo --camera 0 --exposure-ms 8 --focus lock
    """

    camera: str | None = None
    """Webcam index, video, picture or stream; the simulation when left out."""
    robot: str = "panda"
    """Arm with at least 6 joints: a name from `vision-ik robots`."""
    seconds: float | None = None
    """How long to follow the moving tag: 20 s in the simulation, no end with a camera."""
    views: int = 15
    """Planned views for the hand-eye calibration, at least 5."""
    seed: int = 0
    """Of everything random."""
    family: str = "36h11"
    """With --camera: tag family, OpenCV dictionary or dictionary file."""
    size_mm: float | None = None
    """With --camera: edge of the tag's black border; 50 mm is assumed (and said) when left out."""
    intrinsics: Path | None = None
    """With --camera: lens file; a field of view is assumed (and said) when left out."""
    out: Path = Path("out/demo")
    """Folder for demo.mp4, report.html, metrics.json and the calibrated rig."""
    headless: bool = False
    """No window, even where there is a display."""
    json: bool = False
    """Print the metrics as JSON on stdout."""
    device: DeviceOptions = field(default_factory=DeviceOptions)


def run(options: Options) -> int:
    """Run the demo and return the exit code."""
    from vision_ik.view import has_display

    _check(options)
    window = not options.headless and has_display()
    if options.camera is None:
        from vision_ik.cli import console
        from vision_ik.cli.demo_sim import run_simulated

        console.say_if_compiling()
        return run_simulated(options, window=window)
    from vision_ik.cli import run as run_verb

    return run_verb.run(
        run_verb.Options(
            source=options.camera,
            robot=options.robot,
            family=options.family,
            size_mm=options.size_mm,
            intrinsics=options.intrinsics,
            seconds=options.seconds,
            out=options.out,
            window=window,
            json=options.json,
            device=options.device,
        )
    )


def _check(options: Options) -> None:
    if options.camera is None and options.device != DeviceOptions():
        raise ConfigError("Wishes for a camera need one.", "Name it with --camera, or leave them out.")
    if options.views < 5:
        raise ConfigError(f"{options.views} views cannot place a camera.", "Ask for at least 5; 15 is good.")
    if options.seconds is not None and not 0 < options.seconds <= 3600:
        raise ConfigError(f"--seconds must be above 0 and at most 3600, not {options.seconds}.", "Give 20, say.")
    if options.seed < 0:
        raise ConfigError(f"--seed must not be negative, but is {options.seed}.", "Give 0 or more.")
