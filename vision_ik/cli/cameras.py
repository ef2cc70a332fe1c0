"""List the cameras of this machine, or describe one."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro
from rich.text import Text

from vision_ik.cli import console
from vision_ik.cli.main import EXIT_OK
from vision_ik.errors import CameraNotFoundError

if TYPE_CHECKING:
    from vision_ik.cameras.modes import CameraControl, CameraInfo, CameraMode


@dataclass(frozen=True, kw_only=True)
class Options:
    """List the cameras of this machine and what they can do, or describe one.

    On Linux no camera is started for it. Elsewhere each is opened for a moment, and its light may go on.

    Examples:
      vision-ik cameras
      vision-ik cameras 0                               every size, rate and pixel format of one
      vision-ik cameras --json
    """

    source: tyro.conf.Positional[str] = ""
    """One camera, as it is listed; all when left out."""
    json: bool = False
    """Print JSON on stdout."""


def run(options: Options) -> int:
    """Print the cameras found, or one of them.

    Raises:
        CameraNotFoundError: The one asked for is not there.
    """
    from vision_ik.cameras.listing import list_cameras

    with console.Stages() as stages, stages.stage("Look for cameras") as stage:
        cameras = list_cameras()
        stage.update(f"{len(cameras)} found")
    if options.source:
        camera = _named(cameras, options.source)
        if options.json:
            console.write_json(asdict(camera))
        else:
            _print_camera(camera)
        return EXIT_OK
    if options.json:
        console.write_json([asdict(camera) for camera in cameras])
    elif cameras:
        _print_cameras(cameras)
    else:
        console.results().print(Text("There is no camera on this machine."))
        console.say(
            "Videos, folders of pictures, addresses of streams and sim:SCENE work without one.\n"
            "RealSense and OAK cameras are seen with `pip install 'vision-ik[realsense]'` or `'vision-ik[depthai]'`.",
            style="dim",
        )
    return EXIT_OK


def _named(cameras: Sequence[CameraInfo], source: str) -> CameraInfo:
    for camera in cameras:
        if camera.source == source:
            return camera
    path = Path(source).expanduser()
    if path.exists() and not path.is_char_device():
        raise CameraNotFoundError(
            f"{source} is a {'folder' if path.is_dir() else 'file'}, not a camera of this machine.",
            f"Read it with `vision-ik run {shlex.quote(source)}`.",
            source=source,
        )
    known = ", ".join(camera.source for camera in cameras)
    raise CameraNotFoundError(
        f"There is no camera {source!r} on this machine.",
        f"Those found: {known}." if known else "Plug one in, or use a video instead.",
        source=source,
    )


def _print_cameras(cameras: Sequence[CameraInfo]) -> None:
    rows: list[Sequence[str | Text]] = []
    for camera in cameras:
        able = Text(camera.trouble, style="yellow") if camera.trouble else Text(_sizes(camera.modes))
        rows.append((camera.source, camera.name, camera.back_end, able, _names(camera.controls)))
    columns = ("source", "camera", "driver", "sizes and fastest rates", "can be fixed")
    console.results().print(console.table(columns, rows))
    console.say("`vision-ik cameras SOURCE` shows every mode of one, `vision-ik run SOURCE` uses it.", style="dim")


def _print_camera(camera: CameraInfo) -> None:
    results = console.results()
    results.print(Text.assemble((camera.source, "bold"), f"  {camera.name}  ({camera.back_end})"))
    if camera.trouble:
        results.print(Text(f"  {camera.trouble}", style="yellow"))
    if camera.modes:
        rows = [
            (f"{mode.width}x{mode.height}", mode.pixel_format, ", ".join(f"{rate:g}" for rate in mode.rates))
            for mode in camera.modes
        ]
        results.print(console.table(("size", "pixels", "rates [1/s]"), rows))
    for control in camera.controls:
        unit = f" {control.unit}" if control.unit else ""
        results.print(Text(f"  {control.name}: {control.least:g} to {control.most:g}{unit}"))


def _sizes(modes: Sequence[CameraMode]) -> str:
    """Return each size once, largest first, with its fastest rate in any pixel format."""
    fastest: dict[tuple[int, int], float] = {}
    for mode in modes:
        size = (mode.width, mode.height)
        fastest[size] = max(fastest.get(size, 0.0), *mode.rates, 0.0)
    cells = (
        f"{width}x{height}" + (f" at {rate:g}" if rate else "")
        for (width, height), rate in sorted(fastest.items(), reverse=True)
    )
    return ", ".join(cells)


def _names(controls: Sequence[CameraControl]) -> str:
    return ", ".join(control.name for control in controls)
