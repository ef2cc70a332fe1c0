"""Hand-eye calibration of real set-ups: views held out, and poses that were mixed up.

Where the environment names the folder of the sets (``VISION_IK_DATA``, or a folder beside it, with
``handeye`` in it): ic_charuco (an industrial arm carries a ChArUco board), ic_dots10x10 (a grid of
dots under a camera on the flange), tabb_ds1_even (a chessboard) and moveit_poses (pose pairs alone).

No truth is known of these. The judge is a view that took no part: the camera sees its board in one
place, the chain of calibration and arm puts it in another. Two measures of how far these are apart,
both as mean over all held-out views:

- sideways: every corner's ray is cut with the plane in which the chain puts the board; the distance
  of the cut from the corner. What industrial_calibration calls the 3-D reprojection error.
- in space: the board's centre as seen in the view against where the chain puts it, depth and all.

Everybody gets the same corners, the same lens, which is calibrated from the pictures of the training
views alone, and board poses refined to least squares. A method is judged with the lens and the board
of its own result: OpenCV's keep what they were given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from calibration.batch import inverses
from calibration.hand_eye.board_pose import board_poses
from calibration.hand_eye.chain import arm_poses
from calibration.lens.projection import normalise
from vision_ik.cli.benches import Figure, Level, Table, tell
from vision_ik.cli.benches._hand_eye_answers import Answer, methods_for
from vision_ik.cli.benches._hand_eye_sets import SETS, VARIABLE, RealSet, find_folder, load_set
from vision_ik.errors import CalibrationError
from vision_ik.types import BoardDetection, CameraIntrinsics, Floats

TITLE = "Hand-eye calibration of real set-ups: held-out views, and poses swapped"

_HELD_OUT = 0.3
"""Share of the views that a split holds out."""
_SWAPPED = 0.2
_WITHIN_CHARUCO = 1.15
"""[mm]"""
_WITHIN_SWAPPED = 1.15
_FAILED = 3.0
"""A method fails where views held out are this many times worse than with the poses in order, or it refuses."""


def run(*, level: Level = Level.NORMAL) -> list[Figure | Table]:
    """Hold views out, with the poses in order and with a fifth of them swapped."""
    folder = find_folder()
    if folder is None:
        return [Figure(name="real set-ups", value=float("nan"), note=f"skipped: {VARIABLE} names no folder with them")]
    splits = level.pick(quick=1, normal=10, full=50)
    names = SETS[:1] if level is Level.QUICK else SETS
    figures: list[Figure] = []
    held: list[tuple[str | float, ...]] = []
    swapped: list[tuple[str | float, ...]] = []
    for name in names:
        tell(name)
        real = load_set(folder, name)
        clean, mixed, counts = _judge(real, splits)
        held += [(name, method, *_row(errors)) for method, errors in clean.items()]
        figures += _figures(real, clean, mixed, counts, splits)
        swapped += [(name, method, *_swapped_row(clean[method], errors)) for method, errors in mixed.items()]
    conditions = (
        f"{splits} random splits, {100 * _HELD_OUT:.0f} % of the views held out; lens from the training views' pictures"
    )
    return [
        *figures,
        Table(
            name="views held out",
            columns=("set", "method", "sideways [mm]", "in space [mm]", "in space, median [mm]"),
            rows=tuple(held),
            note=conditions,
        ),
        Table(
            name="a fifth of the training views with each other's poses",
            columns=("set", "method", "failed [%]", "sideways [mm]", "in space [mm]", "against poses in order"),
            rows=tuple(swapped),
            note=f"{conditions}; failed: refused, or {_FAILED:.0f} times worse than with the poses in order",
        ),
    ]


def _judge(
    real: RealSet, splits: int
) -> tuple[dict[str, list[Floats]], dict[str, list[Floats | None]], dict[str, int]]:
    """Return per method the held-out errors (M, 2) [mm] of each split: poses in order, then swapped (None: refused).

    And how many of the views with another's pose were mended, left out, or went unnoticed by our method.
    """
    methods = methods_for(real)
    clean: dict[str, list[Floats]] = {name: [] for name in methods}
    mixed: dict[str, list[Floats | None]] = {name: [] for name in methods}
    counts: dict[str, int] = {"swapped": 0, "mended": 0, "unnoticed": 0}
    for seed in range(splits):
        rng = np.random.default_rng(seed)
        order = rng.permutation(real.count)
        held = round(_HELD_OUT * real.count)
        test, train = order[:held].tolist(), order[held:].tolist()
        partners = _swap(train, rng)
        lens = real.lens(train)
        for name, method in methods.items():
            clean[name].append(_errors(real, test, method(real, train, train, lens)))
            try:
                answer = method(real, train, partners, lens)
            except CalibrationError:
                mixed[name].append(None)
                continue
            mixed[name].append(_errors(real, test, answer))
            if answer.result is not None:
                for view, own, given in zip(answer.result.views, train, partners, strict=True):
                    counts["swapped"] += own != given
                    counts["mended"] += own != given and view.used and view.repair != ""
                    counts["unnoticed"] += own != given and view.used and view.repair == ""
    return clean, mixed, counts


def _swap(train: Sequence[int], rng: np.random.Generator) -> list[int]:
    """Return the training views with a fifth of them, at least two, in each other's places."""
    chosen = rng.choice(len(train), max(2, round(_SWAPPED * len(train))), replace=False)
    partners = list(train)
    for place, source in zip(chosen, np.roll(chosen, 1), strict=True):
        partners[place] = train[source]
    return partners


def _errors(real: RealSet, test: Sequence[int], answer: Answer) -> Floats:
    """Return (M, 2) sideways and in space [mm] of views that took no part."""
    A = arm_poses(real.Ts_base_flange[list(test)], real.mount)
    expected = inverses(answer.X[None]) @ A @ answer.Y
    if answer.lens is None:
        apart = np.linalg.norm(expected[:, :3, 3] - real.boards(None)[list(test), :3, 3], axis=1)
        return 1e3 * np.column_stack([np.full(len(test), np.nan), apart])
    rows: list[tuple[float, float]] = []
    for i, T in zip(test, expected, strict=True):
        detection = real.detections[i]
        seen = detection if answer.sees is None else answer.sees(detection, answer.lens)
        rows.append((_sideways(seen, T, answer.lens), _in_space(seen, T, answer.lens)))
    return 1e3 * np.array(rows)


def _sideways(detection: BoardDetection, T: Floats, lens: CameraIntrinsics) -> float:
    points = detection.points_board @ T[:3, :3].T + T[:3, 3]
    uv = normalise(detection.points_image, lens)
    rays = np.column_stack([uv, np.ones(len(uv))])
    cut = rays * ((T[:3, 2] @ T[:3, 3]) / (rays @ T[:3, 2]))[:, None]
    return float(np.mean(np.linalg.norm(cut - points, axis=1)))


def _in_space(detection: BoardDetection, T: Floats, lens: CameraIntrinsics) -> float:
    poses = board_poses(detection, lens)
    centre = np.append(detection.points_board.mean(axis=0), 1.0)
    turned = [np.linalg.norm(pose[:3, :3] - T[:3, :3]) for pose in poses]
    return float(np.linalg.norm(((poses[int(np.argmin(turned))] - T) @ centre)[:3]))


def _row(errors: Sequence[Floats]) -> tuple[float, float, float]:
    all_views = np.concatenate(list(errors))
    return float(all_views[:, 0].mean()), float(all_views[:, 1].mean()), float(np.median(all_views[:, 1]))


def _swapped_row(clean: Sequence[Floats], mixed: Sequence[Floats | None]) -> tuple[float, float, float, float]:
    """Return the share that failed [%], the mean errors of the rest and their ratio to those with poses in order."""
    kept = [(a, b) for a, b in zip(clean, mixed, strict=True) if b is not None]
    if not kept:
        return 100.0, float("nan"), float("nan"), float("nan")
    failed = len(clean) - sum(_level(b) <= _FAILED * _level(a) for a, b in kept)
    sideways, in_space, _ = _row([b for _, b in kept])
    ratio = _level(np.concatenate([b for _, b in kept])) / _level(np.concatenate([a for a, _ in kept]))
    return 100.0 * failed / len(clean), sideways, in_space, ratio


def _level(errors: Floats) -> float:
    """Return the mean error in space."""
    return float(errors[:, 1].mean())


def _figures(
    real: RealSet,
    clean: Mapping[str, list[Floats]],
    mixed: Mapping[str, list[Floats | None]],
    counts: Mapping[str, int],
    splits: int,
) -> list[Figure]:
    figures: list[Figure] = []
    if real.name == "ic_charuco":
        sideways, in_space, _ = _row(clean["ours"])
        peers = sorted(_row(errors)[1] for name, errors in clean.items() if name.startswith("OpenCV"))
        figures.append(
            Figure(
                name="ic_charuco, views held out, in space",
                value=in_space,
                unit="mm",
                target=f"at most {_WITHIN_CHARUCO}",
                met=in_space <= _WITHIN_CHARUCO,
                note=f"{splits} splits, sideways {sideways:.2f}; OpenCV's methods in space "
                + ", ".join(f"{p:.2f}" for p in peers),
            )
        )
    failed, _, _, ratio = _swapped_row(clean["ours"], mixed["ours"])
    figures += [
        Figure(
            name=f"{real.name}, a fifth of the poses swapped: failures",
            value=failed,
            unit="%",
            target="0",
            met=failed == 0,
            note=f"{splits} splits of {real.count} views; of {counts['swapped']} views with another's pose "
            f"{counts['mended']} were mended, {counts['unnoticed']} went unnoticed",
        ),
        Figure(
            name=f"{real.name}, a fifth of the poses swapped: error against poses in order",
            value=ratio,
            target=f"at most {_WITHIN_SWAPPED}",
            met=ratio <= _WITHIN_SWAPPED,
        ),
    ]
    return figures
