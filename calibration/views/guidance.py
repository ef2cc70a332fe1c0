"""Telling a person how to move an arm by hand: from where the board is seen to where it is wanted.

Everything is said in the camera's terms, as the person sees them on the screen: right and left, up and
down in the picture, closer and farther; with the outline of the board where it is wanted, to be drawn
over the picture. Views need not be hit exactly: whatever tells nearly as much is taken as it comes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibration import batch
from calibration.hand_eye.values import HandEyeResult
from calibration.lens.projection import project
from calibration.views.candidates import Workcell
from calibration.views.information import Accuracy, Noise, cost, information, knowledge
from calibration.views.next_view import Goal, NextView, apart
from calibration.views.sights import outline, seen_well, turned_about_centre
from vision_ik.rig import Mount
from vision_ik.transforms import Transform, TransformLike, as_transform
from vision_ik.types import Board, CameraIntrinsics, Floats

_NEAR = (0.04, np.deg2rad(8.0))
"""[m], [rad] Nearer than this to the wanted view is near enough: a person cannot do better at ease."""
_WORDS = (0.02, np.deg2rad(4.0))
"""[m], [rad] What is less than this is not worth saying."""
_AT_ONCE = 3
"""Instructions that a person follows at a time; the picture shows the rest, and the next sentence."""
_ENOUGH = 0.6
"""Share of what the wanted view would tell that makes another one worth taking."""
_OPENING = np.deg2rad(25.0)
"""Tilts of the first views, before anything is known."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Guidance:
    """How to get from a sighting to the wanted view."""

    sentence: str
    """What to do, or that it is near enough."""
    near: bool
    """Whether the sighting is as good as the wanted view."""
    distance: float
    """[m] Of the board's centre from where it is wanted, in the camera frame."""
    angle: float
    """[rad]"""
    ghost: Floats
    """(4, 2) [px] outline of the board where it is wanted, in order around it: to be drawn."""
    now: Floats
    """(4, 2) [px] outline of the board where it is seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """What a view would add as it is."""

    share: float
    """Of what the wanted view would add; more than 1 when it tells more."""
    sigma_after: Accuracy
    """Predicted with it."""
    take: bool
    """Whether it is worth taking as it is."""


def guide(
    T_camera_board: TransformLike,
    wanted: TransformLike,
    *,
    board: Board,
    intrinsics: CameraIntrinsics,
    mount: Mount = "eye_to_hand",
) -> Guidance:
    """Say how to move the arm so that the board is seen as wanted.

    Args:
        T_camera_board: Where it is seen now.
        wanted: T_camera_board to be reached, such as ``NextView.T_camera_board``.
        board: The board's layout.
        intrinsics: The lens.
        mount: Who carries the camera: a person moves the board (eye to hand) or the camera (eye in hand).
    """
    now, there = as_transform(T_camera_board), as_transform(wanted)
    middle = outline(board).mean(axis=0)
    distance = float(np.linalg.norm(there.apply(middle) - now.apply(middle)))
    angle = float(np.linalg.norm(batch.rotation_vectors((there.rotation @ now.rotation.T)[None])[0]))
    near = distance < _NEAR[0] and angle < _NEAR[1]
    if near:
        sentence = "Near enough: hold still."
    elif mount == "eye_to_hand":
        sentence = _for_board(now, there, middle)
    else:
        sentence = _for_camera(now @ there.inv())
    ghost, seen = (project(T.apply(outline(board)), intrinsics)[0] for T in (there, now))
    return Guidance(sentence=sentence, near=near, distance=distance, angle=angle, ghost=ghost, now=seen)


def worth(
    workcell: Workcell,
    result: HandEyeResult,
    goal: Goal,
    wanted: NextView,
    T_base_flange: TransformLike,
    *,
    visited: Floats | None = None,
) -> Worth:
    """Say what a view of the board from where the arm is now would add.

    Args:
        workcell: Who can see what from where.
        result: The fit of the views so far.
        goal: What is wanted of the calibration.
        wanted: The view that was asked for.
        T_base_flange: Where the arm is.
        visited: (M, 4, 4) Ts_base_flange of the views so far: the same again tells nothing new.
    """
    cell, noise = workcell.updated(result), Noise.of(result)
    flange = as_transform(T_base_flange).matrix
    known = knowledge(result.joint_covariance)
    here, there = information(cell, np.stack([flange, wanted.T_base_flange]), noise)
    costs = cost(np.stack([known, known + here, known + there]), goal.accuracy, goal.criterion)
    share = float((costs[0] - costs[1]) / (costs[0] - costs[2]))
    fresh = bool(apart(flange[None], visited)[0])
    return Worth(
        share=share,
        sigma_after=Accuracy.of(batch.inverse(known + here)),
        take=fresh and share >= _ENOUGH,
    )


def opening_views(T_camera_board: TransformLike, *, board: Board, intrinsics: CameraIntrinsics) -> Floats:
    """Return (N, 4, 4) Ts_camera_board that tell enough to plan by, for a start before anything is known.

    The board is tilted and turned about where it is seen now; views that would lose it are left out.
    """
    a = _OPENING
    turns = np.array([[a, 0, 0], [-a, 0, 0], [0, a, 0], [0, -a, 0], [0, 0, 1.5 * a], [0, 0, -1.5 * a]])
    views = turned_about_centre(as_transform(T_camera_board).matrix, turns, board)
    return views[seen_well(views, board, intrinsics, (1e-3, np.inf))]


def _for_board(now: Transform, there: Transform, middle: Floats) -> str:
    """Return what to do with the board that the arm carries."""
    x, y, z = (there.apply(middle) - now.apply(middle)).tolist()
    tilt, roll = _tilt_and_roll(there.rotation @ now.rotation.T)
    steps = [
        _step("turn it", roll, "clockwise", "counter-clockwise", " in the picture", angle=True),
        _step("move it", x, "to the right", "to the left", ""),
        _step("move it", y, "down", "up", " in the picture"),
        _step("move it", z, "away from the camera", "closer to the camera", ""),
        # Forward is z: a turn about x (right) takes what is below away, one about y (down) what is on the left.
        _step("tilt", tilt[0], "its lower edge", "its upper edge", " away", angle=True),
        _step("tilt", tilt[1], "its left edge", "its right edge", " away", angle=True),
    ]
    return _sentence("board", steps)


def _for_camera(T_now_then: Transform) -> str:
    """Return what to do with the camera that the arm carries, from its pose to come in its frame of now."""
    x, y, z = T_now_then.translation.tolist()
    tilt, roll = _tilt_and_roll(T_now_then.rotation)
    steps = [
        _step("move it", x, "to its right", "to its left", ""),
        _step("move it", y, "down", "up", " as it sees it"),
        _step("move it", z, "forward", "back", ""),
        _step("turn it", tilt[1], "to look right", "to look left", "", angle=True),
        _step("turn it", tilt[0], "to look up", "to look down", "", angle=True),
        _step("roll it", roll, "clockwise", "counter-clockwise", "", angle=True),
    ]
    return _sentence("camera", steps)


def _step(verb: str, amount: float, plus: str, minus: str, tail: str, *, angle: bool = False) -> tuple[float, str]:
    """Return how much an instruction matters, and its words; none when it is too little to say."""
    size = abs(amount) / _WORDS[angle]
    where = plus if amount > 0.0 else minus
    much = f"{5 * round(np.rad2deg(abs(amount)) / 5) or 5} degrees" if angle else f"{abs(amount) * 100:.0f} cm"
    if verb == "tilt":
        return size, f"tilt {where} {much}{tail}"
    return size, f"{verb} {much} {where}{tail}"


def _sentence(what: str, steps: list[tuple[float, str]]) -> str:
    """Return the instructions that matter most, in order, about a thing named once."""
    least = max(sorted((size for size, _ in steps), reverse=True)[_AT_ONCE - 1], 1.0)
    said = [words for size, words in steps if size >= least] or [max(steps)[1]]
    first, *rest = said
    first = (
        first.replace(" it ", f" the {what} ", 1) if " it " in first else first.replace(" its ", f" the {what}'s ", 1)
    )
    return f"{first[0].upper()}{first[1:]}{''.join(f', {words}' for words in rest)}."


def _tilt_and_roll(R: Floats) -> tuple[Floats, float]:
    """Split a rotation (3, 3) into a roll about z and, after it, a tilt about an axis across; both [rad]."""
    roll = float(np.arctan2(R[1, 0] - R[0, 1], R[0, 0] + R[1, 1]))
    c, s = np.cos(roll), np.sin(roll)
    swing = R @ np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])
    return batch.rotation_vectors(swing[None])[0][:2], roll
