"""``vision-ik tags check``: pictures in, what they show of a board or bundle out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from vision_ik.cli import console
from vision_ik.cli.main import EXIT_FOUND, EXIT_OK
from vision_ik.cli.tag_layouts import told_layout
from vision_ik.errors import ConfigError, TagError

if TYPE_CHECKING:
    from vision_ik.cli.tags import CheckOptions
    from vision_ik.rig import Rig
    from vision_ik.tags import TagDetector
    from vision_ik.types import Board, Frame, TagBundle

_FRAME_TIMEOUT = 5.0
_MOST = 200
"""Pictures looked at."""


def check_layout(options: CheckOptions) -> int:
    """Print what each picture shows of the board or bundle; 1 when any does not show it as described.

    Raises:
        ConfigError: None is described.
    """
    from vision_ik.cameras import open_camera
    from vision_ik.rig import load_rig

    rig = None if options.rig is None else load_rig(options.rig)
    look = _looker(options, rig)
    rows: list[tuple[str, str]] = []
    good = True
    with open_camera(options.source, intrinsics=None if rig is None else rig.intrinsics) as camera:
        while not camera.ended and len(rows) < _MOST:
            frame = camera.read(timeout=_FRAME_TIMEOUT)
            if frame is None:
                break
            as_described, said = look(frame)
            good &= as_described
            rows.append((str(frame.index + 1), said))
    console.results().print(console.table(["picture", "what it shows"], rows, right={"picture"}))
    return EXIT_OK if good else EXIT_FOUND


def _looker(options: CheckOptions, rig: Rig | None) -> Callable[[Frame], tuple[bool, str]]:
    """Return what says whether a picture shows the layout as described, and what it shows in words."""
    from vision_ik.tags import TagDetector
    from vision_ik.types import TagBundle

    layout = told_layout(options, rig)
    if layout is None:
        raise ConfigError(
            "No board is described.",
            "Give --columns, --rows, --square-mm and --marker-mm, --bundle, or a --rig that has a board.",
        )
    if isinstance(layout, TagBundle):
        detector = TagDetector(layout.family)
        return lambda frame: _look_at_bundle(frame, layout, detector)
    return lambda frame: _look_at_board(frame, layout)


def _look_at_board(frame: Frame, board: Board) -> tuple[bool, str]:
    from vision_ik.tags import detect_board, explain_missing_board
    from vision_ik.types import Chessboard

    try:
        found = detect_board(frame, board)
    except TagError as error:
        return False, str(error)
    if found is not None:
        seen = f"{len(found.tag_ids)} of {len(board.markers)} markers, {len(found.points_board)} points."
        return not found.remarks, " ".join([seen, *found.remarks])
    error = None if isinstance(board, Chessboard) else explain_missing_board(frame, board)
    return False, "No board." if error is None else str(error)


def _look_at_bundle(frame: Frame, bundle: TagBundle, detector: TagDetector) -> tuple[bool, str]:
    from vision_ik.tags import detect_bundle, estimate_board_pose

    found = detect_bundle(frame, bundle, detector=detector)
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
    return not elsewhere, " ".join(said)
