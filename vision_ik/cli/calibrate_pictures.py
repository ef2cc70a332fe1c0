"""Views of a board from a folder, a film or a live camera."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from calibration.lens.intrinsics import calibrate_intrinsics
from calibration.lens.pictures import LensPicture, LensPictures, of_one_size, spread_out
from calibration.lens.views import shift
from calibration.views.missing import explain_missing
from vision_ik.cameras import CameraSettings, open_camera
from vision_ik.cameras.images import ImageCamera
from vision_ik.cli import console
from vision_ik.errors import CalibrationError, FrameReadError
from vision_ik.types import Board, BoardDetection, Camera, TagBundle

_MOVED_SHARE = 0.06
"""Of the image width: a view whose board moved less than this since the last ones taken adds little."""
_STILL_SHARE = 0.004
"""Of the image width: a board that moves more between two pictures is blurred."""
_ADVISE_FROM = 6
"""Views from which a live session is told what to show next."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Views:
    """The views to calibrate with, and what was left out before."""

    pictures: list[LensPicture]
    size: tuple[int, int]
    """Width, height [px]."""
    board: Board
    """What the print is."""
    left_out: dict[str, str] = field(default_factory=dict[str, str])
    """Why, by the name of the picture."""
    remarks: tuple[str, ...] = ()
    """What was wrong with the board as described."""

    @property
    def detections(self) -> list[BoardDetection]:
        """The board in each view."""
        return [picture.detection for picture in self.pictures if picture.detection is not None]

    @property
    def names(self) -> list[str]:
        """Of the views."""
        return [picture.name for picture in self.pictures]

    @property
    def edges_px(self) -> list[float]:
        """Width of the print's edges in each view [px]."""
        return [picture.edge_px for picture in self.pictures]


def gather(
    source: str, board: Board, count: int, stage: console.Stage, settings: CameraSettings | None = None
) -> Views:
    """Return the views of a board in a source.

    All pictures of a folder are taken; of a film and of a live camera, ``count`` in which the board
    stands still, at different places.

    Raises:
        CalibrationError: The board is in no picture.
        TagError: The pictures show another board, or the board mirrored.
        CameraError: The source cannot be opened.
    """
    with open_camera(source, settings=settings) as camera:
        stored = isinstance(camera, ImageCamera)
        unreadable: dict[str, str] = {}
        looked = LensPictures(board, thorough=stored)
        if camera.live:
            _film_live(camera, looked, count, stage)
        else:
            unreadable = _look_at_all(camera, looked, stage)
    if not looked.taken:
        raise CalibrationError(f"{source} gave no picture.", "Check the source with `vision-ik doctor`.")
    pictures, left_out, size = of_one_size(looked.taken)
    if not pictures:
        _explain(source, board, len(looked.taken))
    if not stored and not camera.live:
        pictures = [pictures[i] for i in spread_out(pictures, count)]
        left_out = {}  # a film is full of pictures that are no views
    shown = looked.board
    return Views(
        pictures=pictures,
        size=size,
        board=board if isinstance(shown, TagBundle) else shown,
        left_out=left_out | unreadable,
        remarks=looked.remarks,
    )


def _look_at_all(camera: Camera, looked: LensPictures, stage: console.Stage) -> dict[str, str]:
    """Look at every picture; return why pictures of a folder cannot be read, by their names."""
    paths = camera.paths if isinstance(camera, ImageCamera) else None
    unreadable: dict[str, str] = {}
    while not camera.ended:
        try:
            frame = camera.read(timeout=1.0)
        except FrameReadError:
            if paths is None:
                raise
            unreadable[paths[len(looked.taken) + len(unreadable)].name] = "it cannot be read"
            continue
        if frame is not None:
            looked.look(frame, f"frame {frame.index}" if paths is None else paths[frame.index].name)
            _tell(stage, looked, None if paths is None else len(paths))
    return unreadable


def _film_live(camera: Camera, looked: LensPictures, count: int, stage: console.Stage) -> None:
    """Take views as the person moves the board, and say what to show next."""
    before: BoardDetection | None = None
    advice = ""
    glances = 0
    while not camera.ended and len(looked.taken) < count:
        frame = camera.read(timeout=1.0)
        if frame is None:
            continue
        glances += 1
        picture = looked.glance(frame, f"frame {frame.index}")
        if picture.detection is not None and _worth_taking(picture, before, looked.taken):
            looked.taken.append(picture)
            if len(looked.taken) >= _ADVISE_FROM:
                advice = _next(looked)
        before = picture.detection
        note = f"{len(looked.taken)} views in {glances} pictures{f'; next: {advice}' if advice else ''}"
        stage.update(note, completed=len(looked.taken), total=count)


def _worth_taking(picture: LensPicture, before: BoardDetection | None, taken: list[LensPicture]) -> bool:
    """Return whether the board stands still, and somewhere else than in the views taken."""
    found, width = picture.detection, picture.size[0]
    if found is None or before is None or shift(found, before) > _STILL_SHARE * width:
        return False
    others = [other.detection for other in taken[-3:] if other.detection is not None]
    return all(shift(found, other) > _MOVED_SHARE * width for other in others)


def _next(looked: LensPictures) -> str:
    """Return what to show next, in words; nothing while the views do not determine a lens."""
    pictures, _, size = of_one_size(looked.taken)
    try:
        result = calibrate_intrinsics(
            [p.detection for p in pictures if p.detection is not None], image_size=size, model="auto", bend=False
        )
    except CalibrationError:
        return "the board tilted by 20 to 45 degrees"
    return str(result.next_views[0]) if result.next_views else ""


def _tell(stage: console.Stage, looked: LensPictures, total: int | None) -> None:
    found = sum(picture.detection is not None for picture in looked.taken)
    stage.update(f"{found} views in {len(looked.taken)} pictures", completed=len(looked.taken), total=total)


def _explain(source: str, board: Board, looked: int) -> None:
    """Say why the board is in none of the pictures.

    Raises:
        TagError: Another board is.
        CalibrationError: Nothing that could be named is.
    """
    if Path(source).exists():
        with open_camera(source) as camera:
            frame = camera.read(timeout=1.0)
        if frame is not None:
            error = explain_missing(frame, board)
            if error is not None:
                raise error
    raise CalibrationError(
        f"The board was found in none of {looked} pictures.",
        "Check its kind, columns, rows and family; a chessboard must be in view as a whole, with a white rim.",
    )
