"""What is refused before any fit, with the numbers that say why."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.spatial import KDTree

from calibration import batch
from calibration.hand_eye.chain import ChainState, derivatives
from calibration.hand_eye.noise_levels import Variances
from vision_ik.errors import CalibrationError
from vision_ik.rig import Mount
from vision_ik.types import BoardDetection, Floats

MIN_VIEWS = 3
MIN_CORNERS = 4
_LONGEST_ARM = 10.0
"""[m] Flange positions beyond are surely millimetres."""
_BOARDS = (2e-3, 5.0)
"""[m] Boards smaller or larger than this are surely in other units."""
_USUAL_BOARD, _USUAL_SPACING = (0.02, 2.0), (3e-3, 0.2)
"""[m] Width of usual boards, and distance between their neighbouring corners."""
_UNITS = {"millimetres": 1000, "centimetres": 100}
_FARTHEST_BOARD = 20.0
"""[m] Boards farther from the camera are surely in other units."""
_SMALLEST_TURN = np.deg2rad(1.0)
"""Rotation about the second axis (RMS over pairs of views) below which nothing useful is left."""
_ONE_PLACE = 5e-3
"""[m] Flange positions all this near to each other are one place."""
_KNOWN = 1.0
"""[m], [rad] What is known of a camera before any view."""
_FLAT = 1e-3
"""Second over first extent of the corners on the board below which they are a line."""


def check_units(Ts_base_flange: Floats) -> None:
    """Refuse flange positions that cannot be metres.

    Raises:
        CalibrationError: They look like millimetres.
    """
    far = float(np.median(np.linalg.norm(Ts_base_flange[:, :3, 3], axis=1)))
    if far > _LONGEST_ARM:
        raise CalibrationError(
            f"The flange stands {far:.0f} m from the base in the median view: these look like millimetres.",
            "Give lengths in metres (divide by 1000).",
            median_distance=far,
        )


def misplaced(Ts_base_flange: Floats) -> dict[int, str]:
    """Return the views whose flange stands farther from the base than an arm reaches, the others' not, and a word."""
    far: Floats = np.linalg.norm(Ts_base_flange[:, :3, 3], axis=1)
    if float(np.median(far)) > _LONGEST_ARM:
        return {}
    words = "has a flange {:.3g} m from the base: millimetres among metres, or a broken record"
    return {i: words.format(far[i]) for i in np.flatnonzero(far > _LONGEST_ARM).tolist()}


def check_sights(Ts_camera_board: Floats) -> None:
    """Refuse poses of the board before the camera that cannot be in metres.

    Raises:
        CalibrationError: They look like millimetres.
    """
    far = float(np.median(np.linalg.norm(Ts_camera_board[:, :3, 3], axis=1)))
    if far > _FARTHEST_BOARD:
        raise CalibrationError(
            f"The board stands {far:.0f} m from the camera in the median view: these poses look like millimetres "
            "or centimetres.",
            "Give lengths in metres.",
            median_distance=far,
        )


def check_detection(detection: BoardDetection, name: str) -> None:
    """Refuse corners no pose can be computed from.

    Raises:
        CalibrationError: Too few corners, corners on a line, or a board that cannot be in metres.
    """
    check_size(detection, name)
    reason = undetermined(detection)
    if reason:
        raise CalibrationError(f"View {name} {reason}.", "Drop this view, or show more of the board.", view=name)


def undetermined(detection: BoardDetection) -> str:
    """Return why corners determine no pose of the board; empty when they may."""
    board = detection.points_board
    if len(board) < MIN_CORNERS:
        return f"shows {len(board)} corners of the board; {MIN_CORNERS} are needed"
    extent = np.linalg.svd(board - board.mean(axis=0), compute_uv=False)
    if extent[1] < _FLAT * extent[0]:
        return f"shows {len(board)} corners that lie on one line of the board"
    return ""


def check_size(detection: BoardDetection, name: str) -> None:
    """Refuse a board that cannot be in metres.

    Raises:
        CalibrationError: It looks like millimetres or centimetres, or as if metres had been divided once more.
    """
    board = detection.points_board
    size = float(np.ptp(board, axis=0).max()) if len(board) else 0.0
    if size > _BOARDS[1]:
        spacing = float(np.median(KDTree(board).query(board, k=2)[0][:, 1])) if len(board) > 1 else size
        fit = [
            unit
            for unit, n in _UNITS.items()
            if _within(size / n, _USUAL_BOARD) and _within(spacing / n, _USUAL_SPACING)
        ]
        units = fit or ["millimetres"]
        raise CalibrationError(
            f"The board measures {size:.0f} m in view {name}: its points look like {' or '.join(units)}.",
            f"Give board points in metres (divide by {' or '.join(str(_UNITS[unit]) for unit in units)}).",
            view=name,
        )
    if len(board) >= MIN_CORNERS and 0.0 < size < _BOARDS[0]:
        raise CalibrationError(
            f"The board measures {1e3 * size:.2g} mm in view {name}: were metres given for millimetres?",
            "Give --square-mm and the other options in millimetres, and board points in metres.",
            view=name,
        )


def check_count(views: int) -> None:
    """Refuse too few views.

    Raises:
        CalibrationError: There are fewer than ``MIN_VIEWS``.
    """
    if views < MIN_VIEWS:
        raise CalibrationError(
            f"Only {views} usable {'view' if views == 1 else 'views'}; at least {MIN_VIEWS} are needed.",
            "Add views from other postures; 10 to 15 well-spread ones give about a millimetre.",
            views=views,
        )


def check_motion(Ts_base_flange: Floats, predict: Callable[[], float] | None = None) -> list[str]:
    """Refuse views whose flange orientations cannot tell the two unknown transforms apart.

    Args:
        Ts_base_flange: (N, 4, 4).
        predict: Returns how well the camera's position would be known [m], one standard deviation.

    Returns:
        Warnings about motion that is enough, but poor.

    Raises:
        CalibrationError: Too few views, no rotation, or rotation about one axis only.
    """
    n = len(Ts_base_flange)
    check_count(n)
    i, j = np.triu_indices(n, 1)
    R = Ts_base_flange[:, :3, :3]
    turns = batch.rotation_vectors(np.swapaxes(R[i], 1, 2) @ R[j])
    largest = float(np.rad2deg(np.linalg.norm(turns, axis=1).max()))
    extents = np.linalg.svd(turns, compute_uv=False) / np.sqrt(len(turns))
    first, second = float(np.rad2deg(extents[0])), float(np.rad2deg(extents[1]))
    if extents[0] < _SMALLEST_TURN:
        places = Ts_base_flange[:, :3, 3]
        one_place = float(np.linalg.norm(places - places.mean(axis=0), axis=1).max()) < _ONE_PLACE
        where = f"All {n} views were taken from one place, and the" if one_place else "The"
        sigma = _predicted(predict)
        raise CalibrationError(
            f"{where} flange hardly turns between the {n} views: {largest:.2f} degrees at most{_known_to(sigma)}.",
            "Add views that turn it by 20 degrees and more about at least two axes.",
            largest_turn_deg=largest,
            predicted_sigma=sigma,
        )
    if extents[1] < _SMALLEST_TURN:
        sigma = _predicted(predict)
        raise CalibrationError(
            f"All {n} views turn the flange about one axis only: {first:.1f} deg RMS about it, {second:.2f} across"
            f"{_known_to(sigma)}.",
            "Add views that turn it about a second axis by 20 degrees and more: along the first axis "
            "the camera's position cannot be told.",
            first_axis_deg=first,
            second_axis_deg=second,
            predicted_sigma=sigma,
        )
    if second < 8.0:
        return [
            f"The views turn the flange little about a second axis ({second:.1f} degrees RMS): "
            "turns of 20 degrees and more would make the result several times surer."
        ]
    return []


def predicted_sigma(state: ChainState, Ts_base_flange: Floats, mount: Mount, spread: Floats, start: Variances) -> float:
    """Return how well views would tell the camera's position [m], one standard deviation, at the noise of ``start``.

    No more than about a metre: that much is known of any camera.

    Args:
        state: Mount and holder, roughly, and no arm errors.
        Ts_base_flange: (N, 4, 4).
        mount: Which chain.
        spread: (N, 6, 6) covariance of the board poses seen, for 1 px.
        start: Noise levels.
    """
    D, A = derivatives(state, Ts_base_flange, mount)
    arm = np.array([start.translation] * 3 + [start.rotation] * 3)
    V = start.sight * spread + A * arm @ np.swapaxes(A, 1, 2)
    information = np.sum(np.swapaxes(D, 1, 2) @ np.linalg.solve(V, D), axis=0)
    covariance = np.linalg.inv(information + np.eye(12) / _KNOWN**2)
    return float(np.sqrt(np.trace(covariance[:3, :3])))


def _within(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= value <= limits[1]


def _predicted(predict: Callable[[], float] | None) -> float:
    return float("nan") if predict is None else predict()


def _known_to(sigma: float) -> str:
    if not np.isfinite(sigma):
        return ""
    return f"; where the camera is would be known to {sigma * 1e3:.0f} mm"


def duplicates(Ts_base_flange: Floats, detections: Sequence[BoardDetection | None]) -> list[int]:
    """Return the views that repeat an earlier one exactly; their noise is not independent."""
    flat = Ts_base_flange.reshape(len(Ts_base_flange), 16)
    pairs = np.argwhere(np.tril((flat[:, None] == flat[None]).all(axis=2), -1))
    return sorted({i for i, j in pairs.tolist() if _same(detections[i], detections[j])})


def _same(a: BoardDetection | None, b: BoardDetection | None) -> bool:
    return a is None or b is None or np.array_equal(a.points_image, b.points_image)
