"""Poses of single tags and boards on pictures of known truth: how true, and as uncertain as they say?

Every detector sees the same pictures of :mod:`sim.stress`: tags of 40 to 160 px, tilted by up to 60 degrees, before
clutter; far tags are where the mirrored solution competes. Peers as they come: OpenCV's detector with default settings
and ``SOLVEPNP_IPPE_SQUARE``, and the AprilTag library with its own pose.

An error of translation is its length over the distance of the tag. The normalised error squared (NEES) of a pose is
``e' inv(C) e`` with ``e`` the twist from the estimate to the truth and ``C`` the covariance told; over its six
dimensions it is 1 on average where ``C`` is right. It is that of the planar solution nearer to the truth, with that
solution's own covariance; how often that is the second one is told beside it, with how often the ambiguity told
says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from time import thread_time

import numpy as np

from sim.stress import CONDITIONS, Shot, lens_for, random_pose, random_shot, shoot
from sim.targets import board_texture
from vision_ik.cli.benches import Figure, Level, Table, tell
from vision_ik.cli.benches._vision_peers import apriltag_pose, one_thread, opencv_detector, opencv_pose
from vision_ik.errors import InvalidPoseError
from vision_ik.tags import TagDetector, detect_board, estimate_board_pose, estimate_pose
from vision_ik.tags.pictures import to_gray
from vision_ik.transforms import Transform
from vision_ik.types import CharucoBoard, Floats, PoseEstimate, TagGridBoard

TITLE = "Poses of tags and boards: error, and error over what they say it is"

_FAMILIES: Mapping[str, float] = {"36h11": 0.03, "4x4_50": 0.06, "6x6_250": 0.06}
"""Largest median error of translation under noise that was asked for [% of the distance]."""
_BOARDS: Mapping[str, CharucoBoard | TagGridBoard] = {
    "ChArUco 7x5": CharucoBoard(columns=7, rows=5, square_m=0.03, marker_m=0.022, family="4x4_50"),
    "grid 4x3 of 36h11": TagGridBoard(columns=4, rows=3, tag_m=0.03, gap_m=0.01, family="36h11"),
}
_CONDITIONS = ("clean", "noise", "blur")
_HONEST = (0.8, 1.25)
"""Bounds of NEES / 6 that were asked for."""
_SIZE_M = 0.1
_NEAR_PX, _FAR_PX = (40.0, 160.0), (18.0, 40.0)
"""Bounds of a tag's edge in the picture, seen from the front [px]; far ones only under noise, without peers."""
_BOARD_PX = (150.0, 330.0)
"""Width of the boards in the picture, seen from the front [px]."""


@dataclass(slots=True)
class _Errors:
    """Of one way to a pose, on pictures in which it gave one."""

    translation: list[float] = field(default_factory=list[float])
    """[% of the distance]"""
    rotation: list[float] = field(default_factory=list[float])
    """[deg]"""

    def add(self, T: Transform, truth: Transform) -> None:
        distance, angle = T.distance_to(truth)
        self.translation.append(100.0 * distance / float(np.linalg.norm(truth.translation)))
        self.rotation.append(float(np.rad2deg(angle)))

    def median(self) -> float:
        return float(np.median(self.translation)) if self.translation else float("nan")

    def cells(self, count: int) -> tuple[float, ...]:
        """Return share found [%], median and rms of translation [%], median and 95 % of rotation [deg]."""
        if not self.translation:
            return (0.0, *(float("nan"),) * 4)
        t, w = np.array(self.translation), np.array(self.rotation)
        return (
            100.0 * len(t) / count,
            self.median(),
            float(np.sqrt(np.mean(t * t))),
            float(np.median(w)),
            float(np.quantile(w, 0.95)),
        )


@dataclass(slots=True)
class _Honesty:
    """Errors over what was said of them."""

    nees: list[float] = field(default_factory=list[float])
    second: list[bool] = field(default_factory=list[bool])
    """Whether the second solution was the true one."""
    chance: list[float] = field(default_factory=list[float])
    """Of that, as told."""
    misfit: list[float] = field(default_factory=list[float])
    """Chi-square over its degrees of freedom."""
    milliseconds: list[float] = field(default_factory=list[float])

    def add(self, estimate: PoseEstimate, truth: Transform) -> None:
        found: list[tuple[Transform, Floats]] = [(estimate.T_camera_tag, estimate.covariance)]
        if estimate.alternative is not None and estimate.alternative_covariance is not None:
            found.append((estimate.alternative, estimate.alternative_covariance))
        k = int(np.argmin([T.distance_to(truth)[1] for T, _ in found]))
        T, covariance = found[k]
        error = (T.inv() @ truth).log()
        self.nees.append(float(error @ np.linalg.solve(covariance, error)) / 6.0)
        self.second.append(k == 1)
        self.chance.append(estimate.ambiguity / (1.0 + estimate.ambiguity))
        self.misfit.append(estimate.chi_square / estimate.freedom)

    def mean(self) -> float:
        return float(np.mean(self.nees)) if self.nees else float("nan")

    def cells(self) -> tuple[float, ...]:
        """Return mean and 99 % of NEES / 6, chi-square, second solutions and those told [%], milliseconds."""
        if not self.nees:
            return (float("nan"),) * 6
        return (
            self.mean(),
            float(np.quantile(self.nees, 0.99)),
            float(np.mean(self.misfit)),
            100.0 * float(np.mean(self.second)),
            100.0 * float(np.mean(self.chance)),
            float(np.median(self.milliseconds)),
        )

    def figure(self, what: str, condition: str) -> Figure:
        return Figure(
            name=f"NEES / 6, {what}, {condition}",
            value=self.mean(),
            target=f"{_HONEST[0]:g}-{_HONEST[1]:g}",
            met=_HONEST[0] <= self.mean() <= _HONEST[1],
            note=f"mean of {len(self.nees)} poses",
        )


@one_thread()
def run(*, level: Level = Level.NORMAL) -> list[Figure | Table]:
    """Measure tags of each family, then boards."""
    count = level.pick(quick=8, normal=200, full=1000)
    figures: list[Figure] = []
    truth_rows: list[tuple[str | float, ...]] = []
    honest_rows: list[tuple[str | float, ...]] = []
    for family, most in _FAMILIES.items():
        for condition in _CONDITIONS:
            tell(f"{family}, {condition}")
            errors, honesty = _tags(family, condition, count)
            truth_rows += [(family, condition, who, *e.cells(count)) for who, e in errors.items()]
            honest_rows.append((family, condition, *honesty.cells()))
            figures.append(honesty.figure(family, condition))
            if condition == "noise":
                figures.append(_under_noise(family, most, errors, count))
        errors, honesty = _tags(family, "noise", count, edge_px=_FAR_PX)
        truth_rows.append((family, "noise, far", "vision-ik", *errors["vision-ik"].cells(count)))
        honest_rows.append((family, "noise, far", *honesty.cells()))
        figures.append(honesty.figure(family, "noise, far"))
    for name, board in _BOARDS.items():
        for condition in _CONDITIONS:
            tell(f"{name}, {condition}")
            errors, honesty = _boards(board, condition, count)
            truth_rows.append((name, condition, "vision-ik", *errors.cells(count)))
            honest_rows.append((name, condition, *honesty.cells()))
            figures.append(honesty.figure(name, condition))
    pictures = f"{count} pictures a row, 640x480, seeds 0 to {count - 1}"
    truth = ("target", "condition", "by", "found [%]", "translation, median [%]", "rms [%]")
    honest = ("target", "condition", "NEES / 6", "99 % of them below", "chi-square", "2nd is true [%]", "told [%]")
    return [
        *figures,
        Table(
            name="errors",
            columns=(*truth, "rotation, median [deg]", "95 % [deg]"),
            rows=tuple(truth_rows),
            note=f"{pictures}; translation over distance; boards {_BOARD_PX[0]:g} to {_BOARD_PX[1]:g} px wide, "
            f"far tags {_FAR_PX[0]:g} to {_FAR_PX[1]:g}",
        ),
        Table(
            name="errors over what was said of them",
            columns=(*honest, "CPU [ms]"),
            rows=tuple(honest_rows),
            note=f"{pictures}; of the solution nearer to the truth; CPU of the pose alone, median",
        ),
    ]


def _under_noise(family: str, most: float, errors: Mapping[str, _Errors], count: int) -> Figure:
    ours = errors["vision-ik"].median()
    others = ", ".join(f"{who} {e.median():.3g}" for who, e in errors.items() if who != "vision-ik")
    return Figure(
        name=f"translation under noise, {family}, median",
        value=ours,
        unit="% of distance",
        target=f"at most {most:g}",
        met=ours <= most,
        note=f"same {count} pictures: {others}",
    )


def _tags(
    family: str, condition: str, count: int, *, edge_px: tuple[float, float] = _NEAR_PX
) -> tuple[dict[str, _Errors], _Honesty]:
    """Let everyone look at ``count`` pictures of one tag each; at far ones only us."""
    ours, theirs = TagDetector(family), opencv_detector(family)
    library = family == "36h11"
    errors = {"vision-ik": _Errors(), "OpenCV": _Errors()} | ({"pyapriltags": _Errors()} if library else {})
    honesty = _Honesty()
    for seed in range(count):
        shot = random_shot(family, CONDITIONS[condition], seed, size_m=_SIZE_M, edge_px=edge_px)
        (tag_id,), truth, lens = shot.corners, shot.T_camera_target, shot.frame.intrinsics
        estimate = _timed(lambda shot=shot, tag_id=tag_id: _our_pose(ours, shot, tag_id), honesty)
        if estimate is not None:
            errors["vision-ik"].add(estimate.T_camera_tag, truth)
            honesty.add(estimate, truth)
        if edge_px == _FAR_PX:
            continue
        gray = to_gray(shot.frame.image)
        corners = dict(theirs(gray)).get(tag_id)
        pose = None if corners is None else opencv_pose(corners, _SIZE_M, lens)
        if pose is not None:
            errors["OpenCV"].add(Transform.from_parts(*pose), truth)
        pose = apriltag_pose(gray, family, _SIZE_M, lens).get(tag_id) if library else None
        if pose is not None:
            errors["pyapriltags"].add(Transform.from_parts(*pose), truth)
    return errors, honesty


def _our_pose(detector: TagDetector, shot: Shot, tag_id: int) -> Iterator[PoseEstimate | None]:
    """Detect; then, where the time counts, give the pose of the tag."""
    found = [d for d in detector.detect(shot.frame) if d.tag_id == tag_id]
    yield None
    try:
        yield estimate_pose(found[0], _SIZE_M, shot.frame.intrinsics) if found else None
    except InvalidPoseError:
        yield None


def _boards(board: CharucoBoard | TagGridBoard, condition: str, count: int) -> tuple[_Errors, _Honesty]:
    """Look at ``count`` pictures of a board."""
    detector, errors, honesty = TagDetector(board.family), _Errors(), _Honesty()
    for seed in range(count):
        shot = _board_shot(board, condition, seed)
        estimate = _timed(lambda shot=shot: _board_pose(board, detector, shot), honesty)
        if estimate is not None:
            errors.add(estimate.T_camera_tag, shot.T_camera_target)
            honesty.add(estimate, shot.T_camera_target)
    return errors, honesty


def _board_pose(board: CharucoBoard | TagGridBoard, detector: TagDetector, shot: Shot) -> Iterator[PoseEstimate | None]:
    found = detect_board(shot.frame, board, detector=detector)
    yield None
    yield None if found is None else estimate_board_pose(found, shot.frame.intrinsics)


def _board_shot(board: CharucoBoard | TagGridBoard, condition: str, seed: int) -> Shot:
    """Return a picture of a board before clutter; same seed, same picture."""
    lens, (width, height) = lens_for(), board.size_m
    centred = random_pose(np.random.default_rng((seed, 2)), lens, max(width, height), edge_px=_BOARD_PX)
    T_camera_board = centred @ Transform.from_translation((-0.5 * width, -0.5 * height, 0.0))
    texture = board_texture(board, 0.01)
    return shoot(texture, board.markers, T_camera_board, lens, CONDITIONS[condition], seed=seed)


def _timed(looking: Callable[[], Iterator[PoseEstimate | None]], honesty: _Honesty) -> PoseEstimate | None:
    """Run to the first value, then note the CPU time until the second, which is returned."""
    steps = looking()
    next(steps)
    begin = thread_time()
    estimate = next(steps)
    honesty.milliseconds.append(1e3 * (thread_time() - begin))
    return estimate
