"""What may be wrong with a set of views as a whole, so that nothing agrees as it was told.

Each guess changes all poses or the pairing; the closed forms then tell within milliseconds whether
the views agree. A guess is believed where the typical disagreement falls to a third.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from calibration import batch
from calibration.hand_eye.chain import arm_poses
from calibration.hand_eye.closed_form import consensus, discrepancies
from vision_ik.errors import CalibrationError
from vision_ik.rig import Mount
from vision_ik.types import Floats

FEWEST = 6
"""Views from which a set can be told from its faults: a guess always fits three."""
_CLEARLY = 1.0 / 3.0
"""Typical disagreement under a guess over that as told, from which the guess is believed."""
_SHIFTS = 5
_UNITS = {1e-3: "millimetres", 1e-2: "centimetres", 0.0254: "inches", 0.3048: "feet"}
_UNIT_WITHIN = 1.15
"""Factor within which a scale is that of a unit; squares measured badly are off by less."""
_SIZE_WRONG = 1.2
"""Factor by which a board must be off to be named here; less may be the print, and is found by a term of the fit."""
_USUAL_MOTION = (0.01, 3.0)
"""[m] By how much an arm moves its flange between views, from the middle of all."""
_USUAL_DISTANCE = (0.05, 10.0)
"""[m] From a camera to what it is calibrated with."""
_SITS = 1.5
"""How much nearer to the flange one of camera and board must be for the other to stand still."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SetFault:
    """What the set of views is, if not what was told."""

    error: CalibrationError
    """Cause and remedy, in words."""
    disagreement: float
    """Typical disagreement under the guess over that as told."""
    pictures: NDArray[np.int_] | None = None
    """(N,) the picture that belongs with each pose, -1 for none; None where the pairing is not at fault."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Guess:
    arms: Floats
    boards: Floats
    kind: str
    pictures: NDArray[np.int_] | None = None
    words: str = ""


def find_set_fault(
    Ts_base_flange: Floats,
    Ts_camera_board: Floats,
    mount: Mount,
    rng: np.random.Generator,
    *,
    given: bool = False,
) -> SetFault | None:
    """Return the likeliest fault of a set of views that do not agree; None where none helps.

    Args:
        Ts_base_flange: (N, 4, 4) as reported.
        Ts_camera_board: (N, 4, 4) as seen.
        mount: Who carries the camera, as told.
        rng: Chooses the triples of the closed forms.
        given: Whether Ts_camera_board were given as poses, and may be wrong like those of the arm; else they were
            computed from corners.
    """
    known: NDArray[np.bool_] = np.all(np.isfinite(Ts_camera_board), axis=(1, 2))
    if known.sum() < FEWEST:
        return None
    flanges, boards = Ts_base_flange, Ts_camera_board
    _, _, told = _agreement(arm_poses(flanges[known], mount), boards[known], rng)
    best: tuple[float, _Guess, Floats, Floats] | None = None
    for guess in _guesses(flanges, boards, known, mount, rng):
        X, Y, misfit = _agreement(guess.arms, guess.boards, rng)
        if misfit < _CLEARLY * told and (best is None or misfit < best[0]):
            best = misfit, guess, X, Y
    if best is None:
        return None
    misfit, guess, X, Y = best
    return SetFault(
        error=_error(guess, X, Y, mount, told, misfit, given), disagreement=misfit / told, pictures=guess.pictures
    )


def unequal_error(
    Ts_base_flange: Floats, Ts_camera_board: Floats, mount: Mount, rng: np.random.Generator
) -> CalibrationError:
    """Return what is to be said of lists of unequal length: which entries have no partner, where that can be told."""
    cause = f"{len(Ts_base_flange)} flange poses, but {len(Ts_camera_board)} board poses"
    remedy = "Give them in pairs, in the same order."
    missing = _without_partner(Ts_base_flange, Ts_camera_board, mount, rng)
    if missing is None:
        return CalibrationError(f"{cause}.", remedy)
    what = "pose" if len(Ts_base_flange) > len(Ts_camera_board) else "picture"
    whose = f"{what} {missing[0]} (counted from 0) has" if len(missing) == 1 else f"{what}s {missing} have"
    return CalibrationError(
        f"{cause}: {whose} no partner.",
        f"Drop {'it' if len(missing) == 1 else 'them'}, or add the partner.",
        missing=missing,
    )


def _without_partner(
    Ts_base_flange: Floats, Ts_camera_board: Floats, mount: Mount, rng: np.random.Generator
) -> list[int] | None:
    """Return which entries of the longer list have no partner in the shorter one; None where that cannot be told."""
    surplus = len(Ts_base_flange) - len(Ts_camera_board)
    longer, count = abs(surplus), max(len(Ts_base_flange), len(Ts_camera_board))
    if not 0 < longer <= _SHIFTS or count - longer < FEWEST:
        return None
    misfits: list[float] = []
    for start in range(count - longer + 1):
        keep = np.delete(np.arange(count), np.arange(start, start + longer))
        flanges = Ts_base_flange[keep] if surplus > 0 else Ts_base_flange
        boards = Ts_camera_board if surplus > 0 else Ts_camera_board[keep]
        _, _, misfit = _agreement(arm_poses(flanges, mount), boards, rng, all_of=True)
        misfits.append(misfit)
    order = np.argsort(misfits)
    if misfits[order[0]] > _CLEARLY * float(np.median(misfits)):
        return None
    return list(range(int(order[0]), int(order[0]) + longer))


def scale_of(A: Floats, M: Floats, rng: np.random.Generator) -> tuple[float, Floats, Floats, float]:
    """Return by how much lengths of the camera's side must be multiplied to fit those of the arm's.

    Returns:
        The scale, X and Y (4, 4) with it, and the typical disagreement.
    """
    turned_A, turned_M = A.copy(), M.copy()
    turned_A[:, :3, 3] = turned_M[:, :3, 3] = 0.0
    X, Y, agree = consensus(turned_A, turned_M, rng)
    scale, distance = 1.0, np.full(len(A), np.inf)
    for _ in range(3):
        a, m = A[agree], M[agree]
        n = len(a)
        # R_a t_y - t_x - s R_x t_m = -t_a
        rows = np.concatenate(
            [np.tile(-np.eye(3), (n, 1, 1)), a[:, :3, :3], -(X[:3, :3] @ m[:, :3, 3:])], axis=2
        ).reshape(3 * n, 7)
        solution, *_ = np.linalg.lstsq(rows, -a[:, :3, 3].ravel(), rcond=None)
        X[:3, 3], Y[:3, 3], scale = solution[:3], solution[3:6], float(solution[6])
        if not scale > 0:
            return 1.0, X, Y, np.inf
        scaled = M.copy()
        scaled[:, :3, 3] *= scale
        distance = discrepancies(A, scaled, X, Y)
        agree = distance <= 3.0 * np.median(distance) + 1e-9
    return scale, X, Y, _typical(distance)


def _guesses(
    flanges: Floats, boards: Floats, known: NDArray[np.bool_], mount: Mount, rng: np.random.Generator
) -> Iterator[_Guess]:
    arms = arm_poses(flanges, mount)
    yield _Guess(arms=batch.inverses(arms)[known], boards=boards[known], kind="inverse")
    quaternion = Rotation.from_matrix(flanges[:, :3, :3]).as_quat()
    for order, kind in (([1, 2, 3, 0], "w first"), ([3, 0, 1, 2], "w last")):
        reread = flanges.copy()
        reread[:, :3, :3] = Rotation.from_quat(quaternion[:, order]).as_matrix()
        yield _Guess(arms=arm_poses(reread, mount)[known], boards=boards[known], kind=kind)
    scale, _, _, _ = scale_of(arms[known], boards[known], rng)
    if max(scale, 1.0 / scale) > _SIZE_WRONG:
        scaled = boards[known].copy()
        scaled[:, :3, 3] *= scale
        yield _Guess(arms=arms[known], boards=scaled, kind="scale", words=repr(scale))
    for pictures, words in _pairings(len(flanges)):
        paired = (pictures >= 0) & known[pictures]
        if paired.sum() >= FEWEST:
            yield _Guess(
                arms=arms[paired], boards=boards[pictures[paired]], kind="pairing", pictures=pictures, words=words
            )


def _pairings(n: int) -> Iterator[tuple[NDArray[np.int_], str]]:
    """Yield which picture may belong with each of n poses, and how that is told."""
    places = np.arange(n)
    for k in range(1, _SHIFTS + 1):
        for shift in (k, -k):
            pictures = places + shift
            pictures = np.where((pictures >= 0) & (pictures < n), pictures, -1)
            way = "behind" if shift > 0 else "ahead of"
            yield pictures, f"the pictures run {k} {'place' if k == 1 else 'places'} {way} the poses"
    yield places[::-1].copy(), "the pictures are listed backwards"
    for first in (0, 1):
        as_text = np.array(sorted(range(n), key=lambda i: str(i + first)))
        if not np.array_equal(as_text, places):
            # Picture number i of the text order stands at place as_text.index(i).
            yield np.argsort(as_text), "the pictures are sorted as text (1, 10, 2), the poses as numbers"
            yield as_text, "the poses are sorted as text (1, 10, 2), the pictures as numbers"
    for shift in (1, -1, 2, -2):
        for start in range(3, n - 3):
            pictures = np.where(places < start, places, places + shift)
            pictures = np.where(pictures < n, pictures, -1)
            if shift < 0:
                pictures[start : start - shift] = -1
            way = "behind" if shift > 0 else "ahead of"
            yield pictures, f"from place {start} on the pictures run {abs(shift)} {way} the poses"


def _agreement(A: Floats, M: Floats, rng: np.random.Generator, *, all_of: bool = False) -> tuple[Floats, Floats, float]:
    X, Y, _ = consensus(A, M, rng)
    distance = discrepancies(A, M, X, Y)
    return X, Y, float(np.mean(np.minimum(distance, 1e3))) if all_of else _typical(distance)


def _typical(distance: Floats) -> float:
    """Return the upper quartile: of the views beyond the three that any guess fits, most must agree."""
    return float(np.quantile(distance, 0.75)) + 1e-6


def _error(
    guess: _Guess, X: Floats, Y: Floats, mount: Mount, told: float, misfit: float, given: bool
) -> CalibrationError:
    """Return what is to be said of a guess that fits."""
    clearer = f"the views then agree {told / misfit:.0f} times better"
    if guess.kind == "inverse":
        return _inverse_error(X, Y, mount, clearer, given)
    if guess.kind == "scale":
        return _scale_error(float(guess.words), guess, clearer, given)
    if guess.kind in ("w first", "w last"):
        read, meant = ("x y z w", "w x y z") if guess.kind == "w first" else ("w x y z", "x y z w")
        return CalibrationError(
            f"The quaternions of the arm were read as {read}, but are {meant}: {clearer}.",
            f"State the order in the file, or read them as {meant}.",
            fault="quaternion order",
        )
    return CalibrationError(
        f"Pictures and poses are out of step: {guess.words}; {clearer}.",
        "Pair them by time or by name.",
        fault="pairing",
    )


def _inverse_error(X: Floats, Y: Floats, mount: Mount, clearer: str, given: bool) -> CalibrationError:
    """Return which of two faults it is that the poses fit only as their inverse: what sits on the flange is near it."""
    camera, board = float(np.linalg.norm(X[:3, 3])), float(np.linalg.norm(Y[:3, 3]))
    facts = f"({clearer}; camera and board then sit at {camera:.2f} and {board:.2f} m)"
    on_flange = "camera" if camera * _SITS < board else "board" if board * _SITS < camera else ""
    wrong_mount = on_flange == ("camera" if mount == "eye_to_hand" else "board")
    other = "eye_in_hand" if mount == "eye_to_hand" else "eye_to_hand"
    if on_flange and wrong_mount and given:
        # Inverse poses of the camera are inverse poses of the arm with mount and holder exchanged.
        return CalibrationError(
            f"Either the mount is not {mount}, the {on_flange} sitting on the flange, or the camera's poses are given "
            f"in the inverse direction {facts}.",
            f"Give the mount {other}; or T_camera_board, the board in the frame of the camera: invert each of its "
            "poses.",
            fault="wrong mount or camera's poses inverse",
        )
    if on_flange and wrong_mount:
        return CalibrationError(
            f"The mount is not {mount}: the {on_flange} sits on the flange {facts}.",
            f"Give the mount {other}.",
            fault="wrong mount",
        )
    remedy = "Give T_base_flange, the flange in the frame of the base: invert each pose"
    if on_flange:
        return CalibrationError(
            f"The arm's poses are given in the inverse direction, the base in the frame of the flange {facts}.",
            f"{remedy}.",
            fault="poses inverse",
        )
    return CalibrationError(
        f"Either the poses are given in the inverse direction or the mount is not {mount} {facts}.",
        f"{remedy}, or give the mount {other}.",
        fault="poses inverse or wrong mount",
    )


def _scale_error(scale: float, guess: _Guess, clearer: str, given: bool) -> CalibrationError:
    """Return what lengths of the board must have been given in, or how large it is."""
    seen = "poses of the camera" if given else "points of the board"
    facts = f"lengths of the arm are {scale:.3g} times those that the camera sees ({clearer})"
    for factor, unit in _UNITS.items():
        for ratio, whose in ((1.0 / factor, "arm"), (factor, "board")):
            if max(scale / ratio, ratio / scale) >= _UNIT_WITHIN:
                continue
            # The other one in metres already, but divided as if it had not been, explains the ratio as well.
            other = "board" if whose == "arm" else "arm"
            if _usual(guess, scale, whose, factor) or not _usual(guess, scale, other, 1.0 / factor):
                what = "poses of the arm" if whose == "arm" else seen
                return CalibrationError(
                    f"The {what} look like {unit}, not metres: {facts}.",
                    f"Give all lengths in metres: multiply those of the {_whose(whose, given)} by {factor:g}.",
                    fault=unit,
                    scale=scale,
                )
            what = "poses of the arm" if other == "arm" else seen
            return CalibrationError(
                f"The {what} are {1.0 / factor:.4g} times too small, as if metres had been taken for {unit}: {facts}.",
                f"Give all lengths in metres: multiply those of the {_whose(other, given)} by {1.0 / factor:.4g}.",
                fault=f"metres taken for {unit}",
                scale=scale,
            )
    return CalibrationError(
        f"The board is {scale:.3g} times as large as was told ({clearer}).",
        "Measure one edge of its squares and give that.",
        fault="board size",
        scale=scale,
    )


def _whose(whose: str, given: bool) -> str:
    return "camera" if whose == "board" and given else whose


def _usual(guess: _Guess, scale: float, whose: str, factor: float) -> bool:
    """Return whether lengths of the arm, or of the camera's side, are usual ones once multiplied by ``factor``."""
    if whose == "arm":
        places, (least, most) = guess.arms[:, :3, 3], _USUAL_MOTION
        places = places - np.median(places, axis=0)
    else:
        places, (least, most) = guess.boards[:, :3, 3] / scale, _USUAL_DISTANCE
    return bool(least < factor * float(np.median(np.linalg.norm(places, axis=1))) < most)
