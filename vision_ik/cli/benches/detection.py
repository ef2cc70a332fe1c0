"""How many markers are found under bad conditions, what is read into clutter, and what looking costs.

All detectors see the same pictures: one tag before clutter (:func:`sim.stress.random_shot`), or clutter alone. A
marker counts as found when its id is read where it is; everything else that is read counts as false. The libraries
run with their default settings. Photographs are looked at where ``VISION_IK_DATA`` names the folder that holds
``apriltag_nasa``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import thread_time

import cv2
import numpy as np

from sim.stress import CONDITIONS, Conditions, clutter, lens_for, random_shot
from vision_ik.cli.benches import Figure, Level, Table, tell
from vision_ik.cli.benches._vision_peers import Found, apriltag_detector, one_thread, opencv_detector
from vision_ik.tags import Budget, TagDetector
from vision_ik.types import CameraIntrinsics, Floats, Frame, Image

TITLE = "Markers found in low light, haze, motion and shadow, and ids read into clutter"

_FAMILIES = ("36h11", "4x4_50")
_TARGETS = {"low light": 0.97, "low contrast": 0.99, "motion blur": 0.90, "hard shadow": 0.85}
_CLUTTERED = ("36h11", "4x4_50", "6x6_250")
_NEAR = 0.5
"""Distance of the middles, in edges of the marker, within which a reading is of that marker."""
_CLUTTER_LIGHT = ((1.0, 1.0), (1.0, 8.0), (0.1, 2.0), (0.4, 2.0))
"""Light and noise [grey levels] of the pictures without a tag, in turn; every fifth has little contrast too."""
_EVERYTHING = Budget(passes=100, frames=100.0)
_REFERENCE_PX = 3.0
"""Distance from a reference corner within which a tag of the photograph is that tag."""


@one_thread()
def run(*, level: Level = Level.NORMAL) -> list[Figure | Table]:
    """Measure detection, false ids, cost, and the photograph where there is one."""
    shots = level.pick(quick=6, normal=200, full=1000)
    results: list[Figure | Table] = []
    rows: list[tuple[str | float, ...]] = []
    for family in _FAMILIES:
        for condition in _TARGETS:
            tell(f"{family} in {condition}")
            figure, row = _detection(family, condition, shots)
            results.append(figure)
            rows.append(row)
    results += _clutter(level.pick(quick=8, normal=400, full=2000))
    results += _cost()
    results += _photograph()
    heads = ("family", "condition", "ours", "OpenCV", "AprilTag", "false: ours", "OpenCV", "AprilTag", "ours [ms]")
    note = f"{shots} pictures of 640x480 each; share found, ids read where none is, CPU time a picture"
    results.append(Table(name="found in the stress set", columns=heads, rows=tuple(rows), note=note))
    return results


def _detection(family: str, condition: str, shots: int) -> tuple[Figure, tuple[str | float, ...]]:
    detector = TagDetector(family)
    peers = {"OpenCV": opencv_detector(family)}
    if family == "36h11":
        peers["AprilTag"] = apriltag_detector(family)
    finders: dict[str, Callable[[Image], Found]] = {"ours": partial(_ours, detector), **peers}
    found, false = dict.fromkeys(finders, 0), dict.fromkeys(finders, 0)
    spent = 0.0
    _ours(detector, np.zeros((480, 640), dtype=np.uint8))
    for seed in range(shots):
        shot = random_shot(family, CONDITIONS[condition], seed)
        gray = np.asarray(cv2.cvtColor(shot.frame.image, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
        ((tag_id, truth),) = shot.corners.items()
        for name, find in finders.items():
            start = thread_time()
            readings = find(gray)
            spent += thread_time() - start if name == "ours" else 0.0
            right = [i == tag_id and _is_there(corners, truth) for i, corners in readings]
            found[name] += any(right)
            false[name] += len(right) - sum(right)
    share = {name: found[name] / shots for name in finders}
    target = _TARGETS[condition]
    figure = Figure(
        name=f"found, {family}, {condition}",
        value=share["ours"],
        target=f"at least {target}, no false id",
        met=share["ours"] >= target and false["ours"] == 0,
        note=f"{shots} pictures; {false['ours']} false ids; "
        + ", ".join(f"{name} {share[name]:.2f} ({false[name]} false)" for name in peers),
    )
    nothing = float("nan")
    cells = [share.get(name, nothing) for name in ("ours", "OpenCV", "AprilTag")]
    wrong = [float(false[name]) if name in false else nothing for name in ("ours", "OpenCV", "AprilTag")]
    return figure, (family, condition, *cells, *wrong, 1e3 * spent / shots)


def _clutter(count: int) -> list[Figure]:
    """Count ids read into pictures without a marker by every rung of the ladder."""
    figures: list[Figure] = []
    for family in _CLUTTERED:
        tell(f"{family} in clutter")
        detector, opencv = TagDetector(family, budget=_EVERYTHING), opencv_detector(family)
        pictures = [_tagless(k) for k in range(count)]
        ours = sum(len(_ours(detector, picture)) for picture in pictures)
        theirs = sum(len(opencv(picture)) for picture in pictures)
        figures.append(
            Figure(
                name=f"false ids, {family}",
                value=float(ours),
                target="0",
                met=ours == 0,
                note=f"{count} cluttered pictures of 320x240 without a marker, every rung; OpenCV {theirs}",
            )
        )
    return figures


def _tagless(k: int) -> Image:
    """Return a cluttered picture; every third has a patch of random squares, which look like markers' bits."""
    rng = np.random.default_rng((k, 7))
    grey = clutter(320, 240, rng)
    if k % 3 == 0:
        cell = int(rng.integers(4, 14))
        squares = rng.integers(0, 2, (240 // cell + 1, 320 // cell + 1)) * rng.uniform(30.0, 200.0) + 25.0
        patch = np.kron(squares, np.ones((cell, cell)))[:240, :320]
        mask = np.zeros(grey.shape, dtype=np.uint8)
        cv2.ellipse(mask, (160, 120), (107, 80), float(rng.uniform(0.0, 180.0)), 0.0, 360.0, (1.0,), -1)
        grey = np.where(mask > 0, patch, grey)
    if k % 5 == 0:
        grey = 128.0 + 0.15 * (grey - 128.0)
    light, noise = _CLUTTER_LIGHT[k % len(_CLUTTER_LIGHT)]
    return np.clip(np.rint(grey * light + noise * rng.normal(size=grey.shape)), 0, 255).astype(np.uint8)


def _cost() -> list[Figure]:
    """Time the search for an expected tag, a first look at a whole frame, and a frame that shows nothing."""
    figures: list[Figure] = []
    for width, height, focal in ((640, 480, 600.0), (1920, 1080, 1400.0)):
        lens = lens_for(width, height, focal)
        shot = random_shot("36h11", Conditions(noise=2.0, blur_px=0.5), 3, lens=lens, edge_px=(90.0, 110.0))
        expected = {tag_id: corners + 3.0 for tag_id, corners in shot.corners.items()}
        rng = np.random.default_rng(5)
        noisy = clutter(width, height, rng) + 2.0 * rng.normal(size=(height, width))
        empty = _frame(np.clip(noisy, 0, 255).astype(np.uint8), lens)
        detector = TagDetector("36h11")
        peer = opencv_detector("36h11")
        gray = np.asarray(cv2.cvtColor(shot.frame.image, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
        theirs = _least_ms(lambda: peer(gray))  # noqa: B023 (called before the next turn)
        jobs = {
            "an expected tag": lambda: detector.search(shot.frame, expected=expected),  # noqa: B023
            "a whole frame with a tag": lambda: detector.detect(shot.frame),  # noqa: B023
            "a whole frame without one, all the budget": lambda: detector.detect(empty),  # noqa: B023
        }
        figures += [
            Figure(
                name=f"CPU time, {name}, {width}x{height}",
                value=_least_ms(job),
                unit="ms",
                note=f"corners and covariance included, one thread; OpenCV's detector on a whole frame {theirs:.1f} ms",
            )
            for name, job in jobs.items()
        ]
    return figures


def _photograph() -> list[Figure]:
    """Compare the tags found in a photograph of tag cubes with the reference that comes with it."""
    folder = Path(os.environ.get("VISION_IK_DATA", "")) / "apriltag_nasa"
    pictures = sorted(folder.glob("*.jpg")) if "VISION_IK_DATA" in os.environ else []
    name = "photograph of tag cubes: reference tags found"
    if not pictures:
        return [Figure(name=name, value=float("nan"), note="not there: VISION_IK_DATA names no folder that holds it")]
    gray = np.asarray(cv2.imread(str(pictures[0]), cv2.IMREAD_GRAYSCALE), dtype=np.uint8)
    text = pictures[0].with_suffix(".txt").read_text(encoding="utf-8")
    numbers = [re.findall(r"[\d.]+", line)[1:] for line in text.splitlines() if line.strip()]
    # The reference was made by the AprilTag library, whose pixel centres lie at (0.5, 0.5).
    reference = [np.array(row, dtype=np.float64).reshape(4, 2) - 0.5 for row in numbers]
    found = _ours(TagDetector("36h11", budget=_EVERYTHING), gray)
    hits = sum(
        any(np.linalg.norm(c.mean(axis=0) - r.mean(axis=0)) < _REFERENCE_PX for _, c in found) for r in reference
    )
    wrong = sum(tag_id != 0 for tag_id, _ in found)
    return [
        Figure(
            name=name,
            value=float(hits),
            target=f"{len(reference)} of {len(reference)}, no other id than 0",
            met=hits == len(reference) and wrong == 0,
            note=f"{len(found)} tags found by default, {wrong} with an id that no cube carries",
        )
    ]


def _ours(detector: TagDetector, gray: Image) -> Found:
    lens = CameraIntrinsics.from_field_of_view(gray.shape[1], gray.shape[0])
    return [(d.tag_id, d.corners) for d in detector.detect(_frame(gray, lens))]


def _frame(gray: Image, lens: CameraIntrinsics) -> Frame:
    image = np.asarray(cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR), dtype=np.uint8)
    return Frame(image=image, timestamp=0.0, index=0, intrinsics=lens)


def _is_there(corners: Floats, truth: Floats) -> bool:
    edge = float(np.linalg.norm(np.roll(truth, -1, axis=0) - truth, axis=1).max())
    return float(np.linalg.norm(corners.mean(axis=0) - truth.mean(axis=0))) < _NEAR * edge


def _least_ms(job: Callable[[], object]) -> float:
    """Return the least CPU time [ms] of seven runs, after one to warm up."""
    job()
    times: list[float] = []
    for _ in range(7):
        start = thread_time()
        job()
        times.append(thread_time() - start)
    return 1e3 * min(times)
