"""Boards and bundles: covered, printed or described wrongly, learned from a film; OpenCV beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from vision_ik.cli.benches import Figure, Level, Table, tell
from vision_ik.cli.benches._boards_scenes import (
    CONDITIONS,
    HAND,
    LENS,
    board_shot,
    cube,
    film,
    mirrored,
    opencv_pose,
    sheet,
)
from vision_ik.errors import TagError
from vision_ik.tags import (
    LearnedBundle,
    TagDetector,
    detect_board,
    estimate_board_pose,
    explain_missing_board,
    learn_bundle,
)
from vision_ik.tags.pictures import to_gray
from vision_ik.transforms import Transform
from vision_ik.types import CharucoBoard, Frame, TagBundle

TITLE = "Boards and tag bundles: covered, printed or described wrongly, learned from a film"

BOARD = CharucoBoard(columns=5, rows=4, square_m=0.04, marker_m=0.03)
_RIGHT_SHARE, _RIGHT_ANGLE = 0.01, np.deg2rad(2.0)
"""Errors beside the distance, and [rad], up to which a pose counts as right."""
_HONEST = (0.8, 1.25)
_SIZE_M = 0.04


@dataclass(slots=True)
class _Poses:
    """Errors of one way of estimating over a set of pictures."""

    share: list[float] = field(default_factory=list[float])
    """Of the translation, beside the distance."""
    angle: list[float] = field(default_factory=list[float])
    """[rad]"""
    count: int = 0

    def add(self, T: Transform | None, truth: Transform) -> None:
        self.count += 1
        if T is not None:
            distance, angle = T.distance_to(truth)
            self.share.append(distance / float(np.linalg.norm(truth.translation)))
            self.angle.append(angle)

    @property
    def right(self) -> int:
        return sum(s < _RIGHT_SHARE and a < _RIGHT_ANGLE for s, a in zip(self.share, self.angle, strict=True))

    def row(self) -> tuple[str, float, float]:
        percent = 100.0 * float(np.median(self.share)) if self.share else np.nan
        degrees = float(np.degrees(np.median(self.angle))) if self.angle else np.nan
        return f"{self.right} of {self.count}", percent, degrees


def run(*, level: Level = Level.NORMAL) -> list[Figure | Table]:
    """Measure poses of covered boards, what is found and named of wrong ones, and learned bundles."""
    many = level.pick(quick=12, normal=200, full=600)
    figures, rows = _covered(many)
    wrong, named = _wrong(level.pick(quick=3, normal=30, full=200))
    return [
        *figures,
        Table(
            name="Poses of a 5x4 ChArUco board, 25 % covered",
            columns=("cover", "ours: right", "error [%]", "[deg]", "OpenCV: right", "error [%]", "[deg]"),
            rows=tuple(rows),
            note=f"right: within {100 * _RIGHT_SHARE:g} % of the distance and {np.degrees(_RIGHT_ANGLE):g} deg; errors "
            "are medians over the poses given. OpenCV: CharucoDetector as it comes, then solvePnP.",
        ),
        *wrong,
        named,
        *_learned(level.pick(quick=24, normal=60, full=300)),
    ]


def _covered(many: int) -> tuple[list[Figure], list[tuple[str | float, ...]]]:
    """Return figures and table rows of boards under one hand, and under notes stuck onto them."""
    tell("covered boards")
    rows: list[tuple[str | float, ...]] = []
    figures: list[Figure] = []
    nees: list[float] = []
    theirs_of = opencv_pose(BOARD)
    for name, conditions, covered in (("one hand", HAND, 0.0), ("notes here and there", CONDITIONS, 0.25)):
        for count, start in ((12, 0), (many, 1000)):
            ours, theirs = _Poses(), _Poses()
            for seed in range(start, start + count):
                shot = board_shot(BOARD, conditions, seed, covered=covered)
                T, square = _pose(shot.frame, shot.T_camera_target)
                ours.add(T, shot.T_camera_target)
                theirs.add(theirs_of(to_gray(shot.frame.image)), shot.T_camera_target)
                nees += square
            rows.append((f"{name}, {count} views", *ours.row(), *theirs.row()))
            figures.append(
                Figure(
                    name=f"25 % covered 5x4 ChArUco, {name}: right poses",
                    value=float(ours.right),
                    unit=f"of {count}",
                    target=f"{count}",
                    met=ours.right == count,
                    note=f"OpenCV {theirs.right} of {count} in the same pictures",
                )
            )
    value = float(np.mean(nees))
    low, high = _HONEST
    honest = f"{low:g}-{high:g}"
    note = f"{len(nees)} covered boards"
    name = "normalised estimation error squared / 6, covered boards"
    figures.append(Figure(name=name, value=value, target=honest, met=low <= value <= high, note=note))
    return figures, rows


def _pose(frame: Frame, truth: Transform) -> tuple[Transform | None, list[float]]:
    """Return the board's pose, and its squared error in its own covariance over 6, where there is one."""
    found = detect_board(frame, BOARD)
    pose = None if found is None else estimate_board_pose(found, LENS)
    if pose is None:
        return None, []
    error = (pose.T_camera_tag.inv() @ truth).log()
    return pose.T_camera_tag, [float(error @ np.linalg.solve(pose.covariance, error)) / 6.0]


def _wrong(views: int) -> tuple[list[Figure], Table]:
    """Return how many boards that are not as told are found, or refused, and named."""
    tell("boards that are not as told")
    legacy, swapped = replace(BOARD, legacy=True), replace(BOARD, columns=4, rows=5)
    cases: list[tuple[str, CharucoBoard, Callable[[Frame], bool]]] = [
        ("legacy layout", legacy, lambda frame: _recognised(frame, legacy)),
        ("width and height swapped", swapped, lambda frame: _recognised(frame, swapped)),
        ("markers of 60 % instead of 75 % of a square", replace(BOARD, marker_m=0.024), _measured),
        ("mirrored", BOARD, lambda frame: _refused(mirrored(frame), "mirrored")),
        ("six columns instead of five", replace(BOARD, columns=6), lambda frame: _refused(frame, "6 columns")),
        ("ids from 20 on", replace(BOARD, first_id=20), lambda frame: _explained(frame, "20-29")),
        ("another dictionary", replace(BOARD, family="5x5_50"), lambda frame: _explained(frame, "5x5")),
    ]
    theirs_of = opencv_pose(BOARD)
    figures: list[Figure] = []
    rows: list[tuple[str | float, ...]] = []
    for name, printed, passes in cases:
        named, right = 0, 0
        for seed in range(views):
            shot = board_shot(printed, CONDITIONS, 5000 + seed)
            named += passes(shot.frame)
            theirs = _Poses()
            theirs.add(theirs_of(to_gray(shot.frame.image)), shot.T_camera_target)
            right += theirs.right
        unasked = name == "mirrored"
        rows.append((name, f"{named} of {views}", "" if unasked else f"{right} of {views}"))
        figures.append(
            Figure(
                name=f"boards not as told, {name}: named",
                value=float(named),
                unit=f"of {views}",
                target=str(views),
                met=named == views,
                note="" if unasked else f"OpenCV, told the same: {right} right poses, nothing said",
            )
        )
    table = Table(
        name=f"What is printed when {BOARD.columns}x{BOARD.rows} of {BOARD.family} from 0 on is told",
        columns=("printed", "found or refused, and named", "OpenCV: right poses"),
        rows=tuple(rows),
    )
    return figures, table


def _recognised(frame: Frame, printed: CharucoBoard) -> bool:
    found = detect_board(frame, BOARD)
    return found is not None and found.layout == printed and bool(found.remarks)


def _measured(frame: Frame) -> bool:
    found = detect_board(frame, BOARD)
    if found is None or not found.remarks or not isinstance(found.layout, CharucoBoard):
        return False
    return abs(found.layout.marker_m / found.layout.square_m - 0.6) < 0.01


def _refused(frame: Frame, words: str) -> bool:
    try:
        detect_board(frame, BOARD)
    except TagError as error:
        return words in error.cause
    return False


def _explained(frame: Frame, words: str) -> bool:
    error = explain_missing_board(frame, BOARD) if detect_board(frame, BOARD) is None else None
    return error is not None and words in error.cause


def _learned(frames: int) -> list[Figure]:
    """Return how well bundles are learned from rendered films, and how well their covariance says so."""
    figures: list[Figure] = []
    detector = TagDetector("36h11")
    for name, truth in (("cube of 5 tags", cube()), ("sheet of 6 tags", sheet())):
        tell(f"learning a {name}")
        views = [detector.detect(frame) for frame, _ in film(truth, frames, seed=3)]
        learned = learn_bundle(views, _SIZE_M, LENS)
        distance, angle, squares = _errors(learned, truth)
        complete = set(learned.bundle.markers) == set(truth.markers)
        note = f"{learned.views} frames of 640x480, 40 mm tags; worst tag {np.degrees(angle):.3f} deg; " + (
            f"corners {learned.rms_px:.3f} px rms; squared error over covariance / 6: {np.mean(squares):.2f}"
        )
        figures.append(
            Figure(
                name=f"{name} learned from a film: worst tag",
                value=1e3 * distance,
                unit="mm",
                target="at most 0.2, all tags",
                met=complete and 1e3 * distance <= 0.2,
                note=note,
            )
        )
    return figures


def _errors(learned: LearnedBundle, truth: TagBundle) -> tuple[float, float, list[float]]:
    """Return the worst errors [m], [rad], and each tag's squared error in its covariance over 6."""
    T_reference_bundle = truth.Ts_bundle_tag[learned.reference].inv()
    distance, angle, squares = 0.0, 0.0, list[float]()
    for tag_id, T in learned.bundle.Ts_bundle_tag.items():
        T_reference_tag = T_reference_bundle @ truth.Ts_bundle_tag[tag_id]
        off, turned = T.distance_to(T_reference_tag)
        distance, angle = max(distance, off), max(angle, turned)
        if tag_id != learned.reference:
            error = (T.inv() @ T_reference_tag).log()
            squares.append(float(error @ np.linalg.solve(learned.covariances[tag_id], error)) / 6.0)
    return distance, angle, squares
