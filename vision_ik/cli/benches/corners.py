"""Corners of markers and chessboards against their truth, beside the corners of other libraries.

Errors are lengths: the root mean square over all corners of the distance in the picture. All detectors see
the same pictures, and each is judged on those of its own detections that lie within 5 px of the truth.
The chi-square is e' C^-1 e / 8 of a marker's eight coordinates, e' e / (2 sigma^2) of a chess corner: 1 is honest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import thread_time

import cv2
import numpy as np

from sim.lens import project
from sim.stress import CONDITIONS, Conditions, lens_for, random_pose, random_shot, shoot
from sim.targets import board_texture
from vision_ik.cli.benches import Figure, Level, Table, tell
from vision_ik.cli.benches._vision_peers import Found, apriltag_detector, one_thread, opencv_detector
from vision_ik.tags.corners.refinement import refine_markers
from vision_ik.tags.corners.saddles import refine_saddles
from vision_ik.tags.families import marker_cells
from vision_ik.transforms import Transform
from vision_ik.types import CameraIntrinsics, CharucoBoard, Floats, Image

TITLE = "Sub-pixel corners: error and honesty"

_LOST_PX = 5.0
"""[px] A detection farther from the truth is another thing."""
_ROUGH_PX = 0.7
"""[px] Standard deviation of the starting corners where no detector gives them."""
_HONEST = (0.8, 1.25)
_JUDGED = ("clean", "noise", "blur")
_TARGETS = {
    "36h11": {"clean": 0.01, "noise": 0.09, "blur": 0.08},
    "4x4_50": {"clean": 0.05, "noise": 0.12, "blur": 0.15},
    "6x6_250": {"clean": 0.05, "noise": 0.12, "blur": 0.15},
}
"""[px] What was asked."""
_BOARD = CharucoBoard(columns=7, rows=5, square_m=0.03, marker_m=0.02)
_TERMINATION = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 50, 1e-3)
_USUAL = Conditions(noise=1.5, blur_px=0.5)
_STRONG_LENS = CameraIntrinsics(
    K=np.array([[452.3, 0, 315.2], [0, 453.1, 244.9], [0, 0, 1]]),
    distortion=np.array([-0.28, 0.09, 0.001, -0.0005, -0.01]),
    width=640,
    height=480,
)


@dataclass(slots=True)
class _Score:
    """Errors of one detector under one condition."""

    errors: list[Floats] = field(default_factory=list)
    """(2,) of each corner [px]."""
    chi_squares: list[float] = field(default_factory=list)

    def add(self, corners: Floats, truth: Floats) -> None:
        self.errors.extend(corners - truth)

    @property
    def rms(self) -> float:
        return float(np.sqrt((np.array(self.errors) ** 2).sum(axis=1).mean())) if self.errors else float("nan")

    @property
    def chi_square(self) -> float:
        return float(np.mean(self.chi_squares)) if self.chi_squares else float("nan")


@one_thread()
def run(*, level: Level = Level.NORMAL) -> list[Figure | Table]:
    """Measure markers, then how honest their covariances are under more conditions, then chess corners."""
    count = level.pick(quick=6, normal=200, full=1000)
    results: list[Figure | Table] = []
    rows: list[tuple[str | float, ...]] = []
    spent: list[float] = []
    for family in _TARGETS:
        for condition in _JUDGED:
            tell(f"corners of {family}, {condition}")
            scores = _markers(family, CONDITIONS[condition], count, spent)
            rows.append((family, condition, *(scores[name].rms for name in _COLUMNS)))
            results += _figures(family, condition, scores, count)
    results.append(
        Table(
            name="corners: rms of the distance to the truth [px]",
            columns=("family", "condition", *_COLUMNS),
            rows=tuple(rows),
            note=f"{count} pictures each, tags of 40-160 px tilted by up to 60 deg, 640x480",
        )
    )
    results.append(
        Figure(
            name="refinement of one marker, CPU time",
            value=1e3 * float(np.median(spent)),
            unit="ms",
            note="median over all of the above, one thread, from Python",
        )
    )
    return [*results, *_honesty(count), *_chess(level.pick(quick=2, normal=40, full=200))]


_COLUMNS = ("ours from OpenCV's quads", "ours from pyapriltags' quads", "SUBPIX", "REFINE_APRILTAG", "pyapriltags")


def _detectors(family: str) -> dict[str, Callable[[Image], Found]]:
    found = {
        "raw": opencv_detector(family),
        "SUBPIX": opencv_detector(family, cv2.aruco.CORNER_REFINE_SUBPIX),
    }
    if family != "36h11":
        return found
    return found | {
        "REFINE_APRILTAG": opencv_detector(family, cv2.aruco.CORNER_REFINE_APRILTAG),
        "pyapriltags": apriltag_detector(family),
    }


def _markers(family: str, conditions: Conditions, count: int, spent: list[float]) -> dict[str, _Score]:
    scores = {name: _Score() for name in _COLUMNS}
    detectors = _detectors(family)
    for seed in range(count):
        shot = random_shot(family, conditions, seed)
        gray = np.ascontiguousarray(shot.frame.image[:, :, 0])
        ((tag_id, truth),) = shot.corners.items()
        for name, detect in detectors.items():
            quad = _nearest(detect(gray), tag_id, truth)
            if quad is None:
                continue
            if name in scores:
                scores[name].add(quad, truth)
            if name in ("raw", "pyapriltags"):
                ours = scores[_COLUMNS[0 if name == "raw" else 1]]
                begin = thread_time()
                refined = refine_markers(gray, quad[None], [marker_cells(family, tag_id)], shot.frame.intrinsics)
                spent.append(thread_time() - begin)
                ours.add(refined.corners[0], truth)
                if refined.refined[0]:
                    ours.chi_squares.append(_chi_square(refined.corners[0] - truth, refined.covariance[0]))
    return scores


def _nearest(found: Found, tag_id: int, truth: Floats) -> Floats | None:
    """Return the corners of the detection with that id near the truth, None when there is none."""
    near = [quad for i, quad in found if i == tag_id and np.abs(quad - truth).max() < _LOST_PX]
    return min(near, key=lambda quad: float(np.abs(quad - truth).max())) if near else None


def _chi_square(error: Floats, covariance: Floats) -> float:
    e = error.ravel()
    return float(e @ np.linalg.solve(covariance, e)) / len(e)


def _figures(family: str, condition: str, scores: dict[str, _Score], count: int) -> list[Figure | Table]:
    target = _TARGETS[family][condition]
    figures: list[Figure | Table] = []
    for column in _COLUMNS[: 2 if family == "36h11" else 1]:
        ours, peer = scores[column], scores["pyapriltags" if family == "36h11" else "SUBPIX"]
        figures.append(
            Figure(
                name=f"{family}, {condition}: {column}",
                value=ours.rms,
                unit="px",
                target=f"at most {target}" + (" and not more than pyapriltags" if family == "36h11" else ""),
                met=ours.rms <= target and (family != "36h11" or ours.rms <= peer.rms),
                note=f"{len(ours.errors) // 4} of {count} pictures; peer {peer.rms:.3f} px; "
                f"chi-square {ours.chi_square:.2f}",
            )
        )
    return figures


def _honesty(count: int) -> list[Figure | Table]:
    """Return the chi-squares of 36h11 under more conditions, from rough corners around the true ones."""
    cases: dict[str, tuple[Conditions, float, float, float, float, CameraIntrinsics | None]] = {
        "low light": (CONDITIONS["low light"], 40.0, 160.0, 0.0, 60.0, None),
        "hard shadow": (CONDITIONS["hard shadow"], 40.0, 160.0, 0.0, 60.0, None),
        "covered": (CONDITIONS["covered"], 40.0, 160.0, 0.0, 60.0, None),
        "motion blur": (CONDITIONS["motion blur"], 40.0, 160.0, 0.0, 60.0, None),
        "usual": (_USUAL, 40.0, 160.0, 0.0, 60.0, None),
        "steep": (_USUAL, 40.0, 160.0, 55.0, 70.0, None),
        "small": (_USUAL, 25.0, 35.0, 0.0, 60.0, None),
        "strong lens": (_USUAL, 60.0, 200.0, 0.0, 60.0, _STRONG_LENS),
    }
    figures: list[Figure | Table] = []
    for name, (conditions, small, large, flat, steep, lens) in cases.items():
        tell(f"honesty, {name}")
        score = _Score()
        rng = np.random.default_rng(7)
        for seed in range(count):
            shot = random_shot(
                "36h11", conditions, 5000 + seed, lens=lens, edge_px=(small, large), tilt_deg=(flat, steep)
            )
            gray = np.ascontiguousarray(shot.frame.image[:, :, 0])
            ((tag_id, truth),) = shot.corners.items()
            start = truth + _ROUGH_PX * rng.normal(size=(4, 2))
            refined = refine_markers(gray, start[None], [marker_cells("36h11", tag_id)], shot.frame.intrinsics)
            if refined.refined[0]:
                score.add(refined.corners[0], truth)
                score.chi_squares.append(_chi_square(refined.corners[0] - truth, refined.covariance[0]))
        figures.append(_honest(f"36h11, {name}", score, f"{len(score.chi_squares)} of {count} markers refined"))
    return figures


def _honest(name: str, score: _Score, note: str) -> Figure:
    low, high = _HONEST
    value = score.chi_square
    return Figure(
        name=f"{name}: chi-square of corners",
        value=value,
        target=f"{low}-{high}",
        met=low <= value <= high,
        note=f"median {np.median(score.chi_squares or [np.nan]):.2f}; rms {score.rms:.3f} px; {note}",
    )


def _chess(count: int) -> list[Figure | Table]:
    """Return the errors of the corners of a ChArUco board beside those of ``cv2.cornerSubPix``."""
    results: list[Figure | Table] = []
    rows: list[tuple[str | float, ...]] = []
    for condition in _JUDGED:
        tell(f"chess corners, {condition}")
        ours, theirs, missed, spent = _chess_scores(CONDITIONS[condition], count)
        rows.append((condition, ours.rms, theirs.rms, ours.chi_square, 100.0 * missed, *(1e6 * np.array(spent))))
        results.append(
            Figure(
                name=f"chess corners, {condition}: ours",
                value=ours.rms,
                unit="px",
                target="not more than cv2.cornerSubPix",
                met=ours.rms <= theirs.rms,
                note=f"{len(ours.errors)} corners in {count} pictures; cv2.cornerSubPix {theirs.rms:.3f} px",
            )
        )
        results.append(_honest(f"chess corners, {condition}", ours, f"{100.0 * missed:.1f} % not found"))
    results.append(
        Table(
            name="chess corners: rms of the distance to the truth [px]",
            columns=("condition", "ours", "cornerSubPix", "our chi-square", "missed [%]", "ours [us]", "theirs [us]"),
            rows=tuple(rows),
            note="from predictions off by 0.4 px, windows that leave the markers out; CPU time of a corner from Python",
        )
    )
    return results


def _chess_scores(conditions: Conditions, count: int) -> tuple[_Score, _Score, float, Sequence[float]]:
    """Return our score, that of ``cv2.cornerSubPix`` on the same corners, the share missed, CPU times a corner [s]."""
    lens, texture = lens_for(), board_texture(_BOARD, 0.01)
    rng = np.random.default_rng(5)
    ours, theirs = _Score(), _Score()
    total = missed = 0
    spent = np.zeros(2)
    width, height = _BOARD.size_m
    reach = 0.5 * (_BOARD.square_m - _BOARD.marker_m)
    ring = reach * np.array([[1.0, 0, 0], [-1.0, 0, 0], [0, 1.0, 0], [0, -1.0, 0]])
    for seed in range(count):
        T = random_pose(rng, lens, width, edge_px=(200.0, 420.0), tilt_deg=(0.0, 55.0))
        T = T @ Transform.from_translation((-0.5 * width, -0.5 * height, 0.0))
        gray = shoot(texture, _BOARD.markers, T, lens, conditions, seed=seed).frame.image[:, :, 0]
        gray = np.ascontiguousarray(gray)
        truth = project(T.apply(_BOARD.chess_corners), lens)
        around = project(T.apply((_BOARD.chess_corners[:, None] + ring).reshape(-1, 3)), lens).reshape(-1, 4, 2)
        windows = np.clip(np.linalg.norm(around - truth[:, None], axis=2).min(axis=1), 2.5, 9.0)
        predicted = truth + 0.4 * rng.normal(size=truth.shape)
        begin = thread_time()
        found = refine_saddles(gray, predicted, windows)
        middle = thread_time()
        peer = np.concatenate([_subpix(gray, p, w) for p, w in zip(predicted, windows.tolist(), strict=True)])
        spent += middle - begin, thread_time() - middle
        total, missed = total + len(truth), missed + int((~found.found).sum())
        ours.add(found.points[found.found], truth[found.found])
        theirs.add(peer[found.found], truth[found.found])
        errors = found.points[found.found] - truth[found.found]
        ours.chi_squares.extend(((errors**2).mean(axis=1) / found.sigma[found.found] ** 2).tolist())
    return ours, theirs, missed / total, (spent / total).tolist()


def _subpix(gray: Image, predicted: Floats, window: float) -> Floats:
    start = predicted.astype(np.float32).reshape(1, 1, 2)
    side = round(window)
    return cv2.cornerSubPix(gray, start, (side, side), (-1, -1), _TERMINATION).reshape(1, 2).astype(np.float64)
