"""Lens calibration: whether the stated uncertainty is the true one.

Sets of views with known truth are calibrated one by one: the stated standard deviation of the focal
length (root mean square over the sets) over the root mean square of its true error must be near 1.
OpenCV's calibrateCameraExtended gets the same corners. Two kinds of sets are rendered pictures of a
tag grid, found by the detector; in two the corners are computed, with errors that no picture shows
well: a sheet held in the hand, bent anew in each view, and corners that are smeared together.

Where the environment names a folder of real pictures (``VISION_IK_DATA``, with a folder
boof_mono_chess or boof_fisheye_chess of chessboard pictures), the stated value is also compared with
how far calibrations of random halves of a set lie apart, divided by how much farther these halves lie
apart than ones that know half each (:mod:`vision_ik.cli.benches._lens_halves`). A table shows the same
for corners computed in the poses of the real views, where the true error is known.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from calibration import IntrinsicsResult, calibrate_intrinsics
from calibration.lens.fit import fit_lens
from calibration.lens.pictures import LensPictures
from calibration.lens.projection import project
from calibration.lens.terms import prepare
from calibration.views.sights import board_points, visible_poses
from sim.stress import Conditions, Grey, clutter, shoot
from sim.targets import board_texture
from vision_ik.cameras import open_camera
from vision_ik.cli.benches import Figure, Level, Table, tell
from vision_ik.cli.benches._lens_halves import across, known_halves, opencv, root, smear, spread_of_halves, variance
from vision_ik.tags import detect_board
from vision_ik.transforms import Transform
from vision_ik.types import BoardDetection, CameraIntrinsics, Chessboard, Floats, TagGridBoard

TITLE = "Lens calibration: stated uncertainty against truth and against halves of the views"

_LENS = CameraIntrinsics(
    K=np.array([[600.0, 0.0, 325.0], [0.0, 602.0, 233.0], [0.0, 0.0, 1.0]]),
    distortion=np.array([-0.25, 0.12, 0.0005, -0.0008]),
    width=640,
    height=480,
)
_LENSES: dict[str, CameraIntrinsics] = {
    "pinhole, 4 coefficients": _LENS,
    "pinhole, 5 coefficients": CameraIntrinsics(
        K=np.array([[420.0, 0.0, 325.0], [0.0, 421.0, 233.0], [0.0, 0.0, 1.0]]),
        distortion=np.array([-0.3, 0.15, 0.0005, -0.0008, -0.05]),
        width=640,
        height=480,
    ),
    "fisheye, 4 coefficients": CameraIntrinsics(
        K=np.array([[250.0, 0.0, 325.0], [0.0, 251.0, 233.0], [0.0, 0.0, 1.0]]),
        distortion=np.array([0.02, -0.012, 0.004, -0.001]),
        width=640,
        height=480,
        model="fisheye",
    ),
}
_SIZE = (640, 480)
_GRID = TagGridBoard(columns=5, rows=4, tag_m=0.03, gap_m=0.01)
_CHESS = Chessboard(columns=9, rows=7, square_m=0.026)
_REAL = {"boof_mono_chess": Chessboard(columns=5, rows=7, square_m=0.03),
         "boof_fisheye_chess": Chessboard(columns=5, rows=7, square_m=0.03)}  # fmt: skip
_DATA = "VISION_IK_DATA"
_LOW, _HIGH = 0.8, 1.3
_TARGET = f"{_LOW} to {_HIGH}"
_SPLITS = 300
"""The spread of a real set's halves is then known to 3 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """What came out for one kind of sets."""

    name: str
    sets: int
    true_error: float
    """[px] Root mean square of the error of fx."""
    stated: float
    """[px] Root mean square of its stated standard deviation."""
    opencv_error: float
    opencv_stated: float
    corner_rms: float
    """[px] Median over the sets."""


def run(*, level: Level = Level.NORMAL) -> list[Figure | Table]:
    """Compare the stated uncertainty of the focal length with the true one, beside OpenCV's."""
    sets, views = level.pick(quick=3, normal=50, full=200), 15
    rendered = level.pick(quick=2, normal=30, full=100)
    kinds: dict[str, Callable[[int], list[BoardDetection]]] = {
        "pictures, sharp": lambda seed: _rendered(seed, 12, breathing=0.0),
        "pictures, focal length 0.3 % off either way": lambda seed: _rendered(seed, 12, breathing=0.003),
        "corners, sheet bent by 0.3 mm anew in each view": lambda seed: _bent(seed, views),
        "corners, a view's err together by 0.15 px": lambda seed: _smeared(seed, views),
    }
    outcomes: list[_Outcome] = []
    for name, make in kinds.items():
        tell(name)
        outcomes.append(_against_truth(name, make, rendered if name.startswith("pictures") else sets))
    figures = [_figure(outcome) for outcome in outcomes]
    halves, known = _real_halves(level)
    choices = _choices(level.pick(quick=1, normal=3, full=20))
    return [*figures, *halves, _table(outcomes), *known, choices]


def _rendered(seed: int, views: int, *, breathing: float) -> list[BoardDetection]:
    """Return the tag grid as detected in rendered pictures, all of a few tags and more in view."""
    rng = np.random.default_rng((seed, 1))
    texture, background = board_texture(_GRID, 0.01), _background(seed)
    unknown = CameraIntrinsics.from_field_of_view(*_SIZE)
    found: list[BoardDetection] = []
    for i, T in enumerate(visible_poses(_GRID, _LENS, 60 * views, rng)[:views]):
        K = _LENS.K.copy()
        K[[0, 1], [0, 1]] *= 1.0 + breathing * rng.choice([-1.0, 1.0])  # two lenses: their rays are kept
        conditions = Conditions(noise=3.0, blur_px=float(rng.uniform(0.5, 0.9)))
        shot = shoot(
            texture,
            _GRID.markers,
            Transform(T),
            replace(_LENS, K=K),
            conditions,
            seed=1000 * seed + i,
            background=background,
        )
        detection = detect_board(replace(shot.frame, intrinsics=unknown), _GRID)
        if detection is not None and len(detection.points_board) >= 12:
            found.append(detection)
    return found


def _background(seed: int) -> Grey:
    return clutter(*_SIZE, np.random.default_rng((seed, 2)))


def _bent(seed: int, views: int) -> list[BoardDetection]:
    rng = np.random.default_rng((seed, 3))
    points = board_points(_CHESS)
    x, y = across(points)
    found: list[BoardDetection] = []
    for T in visible_poses(_CHESS, _LENS, 60 * views, rng)[:views]:
        height = 3e-4 * (rng.normal() * x * x + rng.normal() * x * y + rng.normal() * y * y)
        lifted = points + np.column_stack([np.zeros((len(points), 2)), height])
        found.append(_seen(points, lifted, T, 0.1 * rng.normal(size=(len(points), 2))))
    return found


def _smeared(seed: int, views: int) -> list[BoardDetection]:
    rng = np.random.default_rng((seed, 4))
    points = board_points(_CHESS)
    return [_seen(points, points, T, smear(points, rng)) for T in visible_poses(_CHESS, _LENS, 60 * views, rng)[:views]]


def _seen(points: Floats, places: Floats, T: Floats, errors: Floats) -> BoardDetection:
    uv, _ = project(places @ T[:3, :3].T + T[:3, 3], _LENS)
    return BoardDetection(points_board=points, points_image=uv + errors, timestamp=0.0)


def _against_truth(name: str, make: Callable[[int], list[BoardDetection]], sets: int) -> _Outcome:
    errors: list[float] = []
    variances: list[float] = []
    theirs: list[tuple[float, float]] = []
    rms: list[float] = []
    for seed in range(sets):
        detections = make(seed)
        result = calibrate_intrinsics(detections, image_size=_SIZE, coefficients=4)
        errors.append(float(result.intrinsics.K[0, 0] - _LENS.K[0, 0]))
        variances.append(variance(result))
        theirs.append(opencv(detections, result))
        rms.append(result.rms)
    found, sigma = np.array(theirs).T
    return _Outcome(
        name=name,
        sets=sets,
        true_error=root(np.square(errors)),
        stated=root(variances),
        opencv_error=root(np.square(found - _LENS.K[0, 0])),
        opencv_stated=root(np.square(sigma)),
        corner_rms=float(np.median(rms)),
    )


def _figure(outcome: _Outcome) -> Figure:
    ratio = outcome.stated / outcome.true_error
    return Figure(
        name=f"stated over true uncertainty of fx, {outcome.name}",
        value=ratio,
        target=_TARGET,
        met=_LOW <= ratio <= _HIGH,
        note=f"{outcome.sets} sets; OpenCV {outcome.opencv_stated / outcome.opencv_error:.2f}",
    )


def _table(outcomes: Sequence[_Outcome]) -> Table:
    return Table(
        name="uncertainty of fx",
        columns=(
            "kind of sets",
            "sets",
            "corners rms px",
            "true error px",
            "stated px",
            "ratio",
            "OpenCV error",
            "stated",
            "ratio ",
        ),
        rows=tuple(
            (
                o.name,
                o.sets,
                o.corner_rms,
                o.true_error,
                o.stated,
                o.stated / o.true_error,
                o.opencv_error,
                o.opencv_stated,
                o.opencv_stated / o.opencv_error,
            )
            for o in outcomes
        ),
        note="Sets of 12 pictures or 15 views; root mean square over the sets. "
        "A ratio from 50 sets is itself known to 10 %.",
    )


def _real_halves(level: Level) -> tuple[list[Figure], list[Table]]:
    """Return a figure per real set, and what its halves tell where the truth is known."""
    figures: list[Figure] = []
    rows: list[tuple[str | float, ...]] = []
    splits, sets = level.pick(quick=4, normal=_SPLITS, full=4 * _SPLITS), level.pick(quick=2, normal=60, full=400)
    for name, board in _REAL.items():
        folder = Path(os.environ.get(_DATA, "")) / name
        if not os.environ.get(_DATA) or not folder.is_dir():
            figures.append(
                Figure(
                    name=f"stated uncertainty of fx over spread of halves, {name}",
                    value=float("nan"),
                    target=_TARGET,
                    note=f"absent: {_DATA} names no folder with {name}",
                )
            )
            continue
        tell(name)
        looked = LensPictures(board)
        with open_camera(folder) as camera:
            while not camera.ended:
                frame = camera.read()
                if frame is not None:
                    looked.look(frame, str(frame.index))
        seen = [picture.detection for picture in looked.taken if picture.detection is not None]
        whole = calibrate_intrinsics(seen, image_size=looked.taken[0].size, model="auto")
        figures.append(_halves(name, whole, splits=splits))
        rows.append((name, len(whole.detections), sets, *known_halves(whole, sets)))
    table = Table(
        name="halves of the real views, corners computed",
        columns=("poses of", "views", "sets", "true error of fx px", "stated", "ratio", "halves over true",
                 "as if they knew half each", "5 to 95 % of such figures"),
        rows=tuple(rows),
        note="Poses and lens of the real sets, corners computed with errors that are mostly common to a view.",
    )  # fmt: skip
    return figures, [table] if rows else []


def _halves(name: str, whole: IntrinsicsResult, *, splits: int) -> Figure:
    lens, views = whole.intrinsics, prepare(whole.detections)
    apart, geometry = spread_of_halves(
        views,
        fit_lens(views, (lens.width, lens.height), lens.model, len(lens.distortion)),
        splits,
        np.random.default_rng(0),
    )
    sigma = float(np.sqrt(variance(whole)))
    ratio = sigma * geometry / apart
    theirs = "" if lens.model == "fisheye" else f"; OpenCV {opencv(whole.detections, whole)[1] * geometry / apart:.2f}"
    return Figure(
        name=f"stated uncertainty of fx over spread of halves, {name}",
        value=ratio,
        target=_TARGET,
        met=_LOW <= ratio <= _HIGH,
        note=f"{len(views)} views, {splits} splits, fx {lens.K[0, 0]:.1f} ± {sigma:.2f}, halves {apart:.2f} "
        f"({sigma / apart:.2f}), {geometry:.2f} times what ones that know half each would{theirs}",
    )


def _choices(sets: int) -> Table:
    """Return which model is chosen for lenses of each kind, and how far its focal length is off."""
    rows: list[tuple[str | float, ...]] = []
    for name, lens in _LENSES.items():
        tell(f"choice of model, {name}")
        chosen: list[str] = []
        normalised: list[float] = []
        for seed in range(sets):
            rng = np.random.default_rng((seed, 5))
            points = board_points(_CHESS)
            seen: list[BoardDetection] = []
            for T in visible_poses(_CHESS, lens, 2400, rng):
                uv, _ = project(points @ T[:3, :3].T + T[:3, 3], lens)
                if len(seen) == 15 or (uv < 2.0).any() or (uv > np.array(_SIZE) - 3.0).any():
                    continue  # a fisheye may bend the board's edges out of the picture
                seen.append(
                    BoardDetection(
                        points_board=points, points_image=uv + 0.1 * rng.normal(size=uv.shape), timestamp=0.0
                    )
                )
            result = calibrate_intrinsics(seen, image_size=_SIZE, model="auto")
            chosen += [c.name for c in result.candidates if c.chosen]
            normalised.append(float(result.intrinsics.K[0, 0] - lens.K[0, 0]) ** 2 / variance(result))
        rows.append((name, max(set(chosen), key=chosen.count), chosen.count(name), sets, root(normalised)))
    return Table(
        name="choice of the lens model",
        columns=("true model", "chosen most often", "true one chosen", "of sets", "error of fx in stated sigma"),
        rows=tuple(rows),
        note="15 views of a chessboard, corner noise 0.1 px; a simpler model that predicts as well is preferred.",
    )
