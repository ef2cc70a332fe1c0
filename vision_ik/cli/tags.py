"""``vision-ik tags``: what is done with printed tags before a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import tyro

from vision_ik.cli import console
from vision_ik.cli.main import EXIT_OK
from vision_ik.cli.tag_layouts import LayoutOptions
from vision_ik.errors import ConfigError

if TYPE_CHECKING:
    from vision_ik.rig import Rig
    from vision_ik.tags import LearnedBundle
    from vision_ik.types import Camera, CameraIntrinsics, TagDetection

_FRAME_TIMEOUT = 5.0
"""[s] To wait for a frame of a live source."""


@dataclass(frozen=True, kw_only=True)
class LearnOptions:
    """Learn from a short film how the tags on one rigid body stand to each other.

    Stick tags onto the body, each id once, and film it from all sides, close and sharp, so that
    every tag is seen together with a neighbour in several pictures. The bundle is then found
    through any of its tags, and more exactly through several.

    Examples:
      vision-ik tags learn cube.mp4 --size-mm 40 --rig rigs/desk --out cube.toml
      vision-ik tags learn 0 --size-mm 40 --rig rigs/desk --name cube      a webcam; written into the rig
    """

    source: tyro.conf.Positional[str]
    """Video, folder of pictures, webcam index, or address of a stream."""
    size_mm: float | None = None
    """Edge of the tags' black border; by default the sizes in the rig."""
    family: str = ""
    """Family of the tags; by default that of the rig, or 36h11."""
    reference: int | None = None
    """Tag whose frame is the bundle's; the smallest id by default."""
    rig: Path | None = None
    """Rig with the lens, and the sizes and family of tags."""
    intrinsics: Path | None = None
    """Lens, when no rig has it: ROS camera_info, OpenCV or Kalibr."""
    out: Path | None = None
    """File to write the bundle to."""
    name: str = ""
    """Name under which the bundle is written into the rig."""
    frames: int = 900
    """Pictures to take from a source without an end."""
    json: bool = False
    """Print the result as JSON on stdout."""


@dataclass(frozen=True, kw_only=True)
class CheckOptions(LayoutOptions):
    """Say whether pictures show a printed board or bundle as described, and what is wrong where they do not.

    Recognised are the layout from before OpenCV 4.6, swapped width and height, markers of another
    size, other ids, another dictionary, another number of columns, and mirrored pictures; on a bundle
    of tags, those that stand elsewhere.

    Examples:
      vision-ik tags check photo.jpg --columns 5 --rows 7 --square-mm 40 --marker-mm 20 --family 6x6_250
      vision-ik tags check pictures --rig rigs/desk
      vision-ik tags check film.mp4 --rig rigs/desk --bundle cube.toml
    """

    source: tyro.conf.Positional[str]
    """Picture, folder of pictures, or video."""
    frames: int = 60
    """Pictures of a video or live source to look at; of a folder all are."""


@dataclass(frozen=True, kw_only=True)
class PrintOptions(LayoutOptions):
    """Write tags, a board or a flat bundle as a PDF at true size.

    Every page has a ruler of 100 mm: print at 100 %, without fitting to the page, and measure it.

    Examples:
      vision-ik tags print tags.pdf --ids 0 1 2 --size-mm 40
      vision-ik tags print board.pdf --columns 7 --rows 5 --square-mm 30 --marker-mm 22
      vision-ik tags print front.pdf --bundle front.toml --page A3
      vision-ik tags print board.pdf --rig rigs/desk
    """

    out: tyro.conf.Positional[Path]
    """File to write."""
    ids: tuple[int, ...] = ()
    """Tags to print, each by itself."""
    size_mm: float | None = None
    """Edge of their black border; by default as in the rig."""
    page: Literal["A4", "A3", "letter"] = "A4"
    """Size of the paper."""


COMMANDS = {"learn": LearnOptions, "check": CheckOptions, "print": PrintOptions}


def run(options: LearnOptions | CheckOptions | PrintOptions) -> int:
    """Learn a bundle, check a board or bundle, or print what is told."""
    if isinstance(options, LearnOptions):
        return _learn(options)
    if isinstance(options, PrintOptions):
        from vision_ik.cli.tag_print import print_layout

        return print_layout(options)
    from vision_ik.cli.board_check import check_layout

    return check_layout(options)


def _learn(options: LearnOptions) -> int:
    """Learn a bundle, print it, and write it where asked.

    Raises:
        ConfigError: No size, no lens, or nowhere to write to is known.
        CalibrationError: The film does not connect two tags.
    """
    from vision_ik.layouts import save_bundle
    from vision_ik.rig import load_rig, save_rig
    from vision_ik.tags import learn_bundle

    rig = None if options.rig is None else load_rig(options.rig)
    if options.name and rig is None:
        raise ConfigError("--name writes the bundle into a rig, and no rig is given.", "Add --rig.")
    family = options.family or (rig.tag_family if rig is not None else "36h11")
    with console.Stages() as stages:
        with stages.stage("Look for tags") as stage:
            views, lens = _watch(options, family, rig, stage)
        with stages.stage("Adjust the bundle") as stage:
            sizes = _sizes(options, rig, {d.tag_id for view in views for d in view})
            learned = learn_bundle(views, sizes, lens, reference=options.reference, family=family)
            stage.update(f"{len(learned.bundle.sizes)} tags, {learned.rms_px:.3f} px rms")
    files: list[Path] = []
    if options.out is not None:
        comment = f"learned from {learned.views} pictures, corners {learned.rms_px:.3f} px rms"
        files.append(save_bundle(learned.bundle, options.out, comment=comment))
    if rig is not None and options.rig is not None and options.name:
        files.append(save_rig(replace(rig, bundles={**rig.bundles, options.name: learned.bundle}), options.rig))
    _present(learned, files, options)
    return EXIT_OK


def _watch(
    options: LearnOptions, family: str, rig: Rig | None, stage: console.Stage
) -> tuple[list[list[TagDetection]], CameraIntrinsics]:
    """Return the tags of each picture, and the lens."""
    from vision_ik.cameras import open_camera
    from vision_ik.cameras.intrinsics_files import load_any_intrinsics
    from vision_ik.tags import TagDetector

    lens = None if rig is None else rig.intrinsics
    if options.intrinsics is not None:
        lens = load_any_intrinsics(options.intrinsics)
    if lens is None:
        raise ConfigError(
            "The lens is not known, and a guessed one would bend the bundle.",
            "Give --rig with a calibrated lens, or --intrinsics; `vision-ik calibrate camera` makes both.",
        )
    detector = TagDetector(family)
    views: list[list[TagDetection]] = []
    with open_camera(options.source, intrinsics=lens) as camera:
        lens = camera.intrinsics
        while _more(camera, options, len(views)):
            frame = camera.read(timeout=_FRAME_TIMEOUT)
            if frame is None:
                break
            views.append(detector.detect(frame))
            together = sum(len(view) > 1 for view in views)
            stage.update(f"{together} of {len(views)} pictures show two tags or more", completed=len(views))
    return views, lens


def _more(camera: Camera, options: LearnOptions, taken: int) -> bool:
    return not camera.ended and (not camera.live or taken < options.frames)


def _sizes(options: LearnOptions, rig: Rig | None, seen: set[int]) -> float | Mapping[int, float]:
    if options.size_mm is not None:
        if not 0 < options.size_mm < np.inf:
            raise ConfigError(f"--size-mm must be positive, not {options.size_mm:g}.", "Measure a tag's black edge.")
        return options.size_mm / 1000.0
    known = {} if rig is None else {i: rig.tag_sizes.get(i, rig.default_tag_size) for i in seen}
    sizes = {i: size for i, size in known.items() if size is not None}
    if not sizes:
        raise ConfigError(
            "No size of the tags is known.", "Give --size-mm, or sizes under [tags] in the rig.", tag_ids=sorted(seen)
        )
    return sizes


def _present(learned: LearnedBundle, files: list[Path], options: LearnOptions) -> None:
    sigma = {i: 1e3 * float(np.sqrt(np.trace(c[:3, :3]))) for i, c in learned.covariances.items()}
    turn = {i: float(np.degrees(np.sqrt(np.trace(c[3:, 3:])))) for i, c in learned.covariances.items()}
    poses = learned.bundle.Ts_bundle_tag
    if options.json:
        console.write_json(
            {
                "reference": learned.reference,
                "rms_px": learned.rms_px,
                "views": learned.views,
                "tags": {
                    i: {
                        "translation": T.translation.tolist(),
                        "rotation_xyzw": T.rotation_xyzw.tolist(),
                        "sigma_mm": sigma[i],
                        "sigma_deg": turn[i],
                        "sights": learned.sights[i],
                    }
                    for i, T in poses.items()
                },
                "left_out": dict(learned.left_out),
                "files": [str(file) for file in files],
            }
        )
    else:
        columns = ["tag", "x [mm]", "y [mm]", "z [mm]", "± [mm]", "± [°]", "pictures"]
        rows = [
            [
                f"{i} (reference)" if i == learned.reference else str(i),
                *(f"{1e3 * x:.2f}" for x in T.translation),
                *(("", "") if i == learned.reference else (f"{sigma[i]:.3f}", f"{turn[i]:.3f}")),
                str(learned.sights[i]),
            ]
            for i, T in poses.items()
        ]
        console.results().print(console.table(columns, rows, right=set(columns) - {"tag"}))
    for reason in learned.left_out.values():
        console.warn(reason)
    for file in files:
        console.say(f"Written to {file}.")
    if not files:
        console.say("Nothing was written: --out FILE keeps the bundle, --rig RIG --name NAME puts it into the rig.")
