"""``vision-ik tags check``: pictures in, what they show of a board or bundle out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from vision_ik.cli import console
from vision_ik.cli.main import EXIT_FOUND, EXIT_OK
from vision_ik.cli.tag_layouts import told_layout
from vision_ik.errors import ConfigError, FrameReadError, TagError

if TYPE_CHECKING:
    from vision_ik.cli.tags import CheckOptions
    from vision_ik.rig import Rig
    from vision_ik.tags import TagDetector
    from vision_ik.types import Board, Camera, Frame, TagBundle

_FRAME_TIMEOUT = 5.0
_MOST_EXPLAINED = 4
"""Pictures without the board of which it is found out what they show in its place: each takes seconds."""


def check_layout(options: CheckOptions) -> int:
    """Print what each picture shows of the board or bundle; 1 when any does not show it as described.

    Raises:
        ConfigError: None is described.
    """
    from vision_ik.cameras import open_camera
    from vision_ik.cameras.images import ImageCamera
    from vision_ik.rig import load_rig

    if options.frames < 1:
        raise ConfigError(f"--frames must be at least 1, not {options.frames}.", "Leave it out, or give 20, say.")
    rig = None if options.rig is None else load_rig(options.rig)
    look = _looker(options, rig)
    with (
        open_camera(options.source, intrinsics=None if rig is None else rig.intrinsics) as camera,
        console.Stages() as stages,
        stages.stage("Look at the pictures") as stage,
    ):
        paths = camera.paths if isinstance(camera, ImageCamera) else None
        most = options.frames if paths is None else len(paths)
        rows, all_good = _look_at_all(camera, look, [path.name for path in paths or ()], most, stage)
        cut = not camera.ended
    console.results().print(console.table(["picture", "what it shows"], rows))
    if cut and not camera.live:
        console.say(f"Only the first {len(rows)} pictures were looked at; --frames sets how many.")
    return EXIT_OK if all_good else EXIT_FOUND


def _look_at_all(
    camera: Camera, look: Callable[[Frame], tuple[bool, str]], names: Sequence[str], most: int, stage: console.Stage
) -> tuple[list[tuple[str, str]], bool]:
    """Return a row of each picture's name and what it shows, and whether all show the layout as described."""
    rows: list[tuple[str, str]] = []
    good = 0
    while not camera.ended and len(rows) < most:
        name = names[len(rows)] if names else f"frame {len(rows)}"
        as_described = False
        try:
            frame = camera.read(timeout=_FRAME_TIMEOUT)
        except FrameReadError as error:
            said = "It cannot be read." if names else error.cause
        else:
            if frame is None:
                break
            as_described, said = look(frame)
        good += as_described
        rows.append((name, said))
        stage.update(f"{good} of {len(rows)} as described", completed=len(rows), total=most)
    return rows, good == len(rows)


def _looker(options: CheckOptions, rig: Rig | None) -> Callable[[Frame], tuple[bool, str]]:
    """Return what says whether a picture shows the layout as described, and what it shows in words."""
    from vision_ik.tags import TagDetector
    from vision_ik.tags.families import find_family
    from vision_ik.types import Chessboard, TagBundle

    layout = told_layout(options, rig)
    if layout is None:
        raise ConfigError(
            "No board is described.",
            "Give --columns, --rows, --square-mm and --marker-mm, --bundle, or a --rig that has a board.",
        )
    if isinstance(layout, TagBundle):
        detector = TagDetector(layout.family)
        return lambda frame: _look_at_bundle(frame, layout, detector)
    if not isinstance(layout, Chessboard):
        find_family(layout.family)
    return _BoardLooker(layout).look


class _BoardLooker:
    """Looks for a board in picture after picture; what shows in its place is found out for the first ones only."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._explained = 0

    def look(self, frame: Frame) -> tuple[bool, str]:
        """Return whether a picture shows the board as described, and what it shows in words."""
        from vision_ik.tags import detect_board

        try:
            found = detect_board(frame, self._board)
        except TagError as error:
            return False, str(error)
        if found is None:
            return False, self._missing(frame)
        seen = f"{len(found.tag_ids)} of {len(self._board.markers)} markers, {len(found.points_board)} points."
        return not found.remarks, " ".join([seen, *found.remarks])

    def _missing(self, frame: Frame) -> str:
        from calibration.views.missing import explain_missing

        self._explained += 1
        if self._explained > _MOST_EXPLAINED:
            return "No board."
        error = explain_missing(frame, self._board)
        return "No board." if error is None else str(error)


def _look_at_bundle(frame: Frame, bundle: TagBundle, detector: TagDetector) -> tuple[bool, str]:
    from vision_ik.tags import detect_board, estimate_board_pose

    found = detect_board(frame, bundle, detector=detector)
    if found is None:
        return False, "No tag of the bundle."
    said = [f"{len(found.tag_ids)} of {len(bundle.markers)} tags."]
    pose = estimate_board_pose(found, frame.intrinsics)
    if pose is not None and not frame.intrinsics.approximate:
        said.append(f"Their corners lie {pose.reprojection_error:.2f} px rms beside where the bundle has them.")
    elsewhere = sorted({d.tag_id for d in detector.detect(frame)} & set(bundle.markers) - set(found.tag_ids))
    if elsewhere:
        listed = ", ".join(map(str, elsewhere))
        said.append(f"Not where the bundle has {'it' if len(elsewhere) == 1 else 'them'}: {listed}. Learn it anew.")
    said += found.remarks
    return not elsewhere and not found.remarks, " ".join(said)
