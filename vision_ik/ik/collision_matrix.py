"""Which pairs of an arm's capsules to keep apart, and why the others are left out.

The self-collision matrix of MoveIt's setup assistant (SRDF ``disable_collisions``), with two differences: it is
kept per capsule instead of per link, and a pair counts as never touching only where that is proven by branch
and bound over the joints between, not because no sample touched.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numba import njit
from numpy.typing import NDArray

from vision_ik.errors import RobotError
from vision_ik.ik.collision_kernels import CollisionArrays, axis_distance, place
from vision_ik.robots import RobotModel
from vision_ik.robots.kernels import Bools, fk_frames
from vision_ik.types import Floats

Ints = NDArray[np.int64]

BOXES = 4000
"""Boxes of joint space looked at for one pair before the proof that it never touches is given up."""
_DEEPEST = 256
"""Boxes that wait at most; a search into depth never holds more than a few per joint and halving."""

_compiled = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz"})


class Reason(StrEnum):
    """Why a pair of capsules is kept apart, or left out."""

    CHECKED = "checked"
    """Kept apart."""
    SAME = "same frame"
    """No joint lies between them."""
    ADJACENT = "adjacent"
    """One joint lies between them: neighbours overlap where they are joined."""
    DISABLED = "disabled"
    """Left out by the caller or an SRDF."""
    HOME = "home"
    """They touch at home already."""
    ALWAYS = "always"
    """They touched in every sample."""
    NEVER = "never"
    """Proven not to touch, whatever the joints do inside their limits."""


def reasons_of(
    robot: RobotModel,
    arrays: CollisionArrays,
    links: tuple[str, ...],
    disabled: frozenset[frozenset[str]],
    samples: int,
) -> tuple[tuple[Reason, ...], Ints]:
    """Return the reason for every pair of ``arrays``, and in how many samples each touched (P,).

    Args:
        robot: The arm.
        arrays: Its capsules with all pairs.
        links: Link of each capsule.
        disabled: Pairs of links to leave out.
        samples: Random postures to look at; always the same.
    """
    postures = np.concatenate([robot.home[None], robot.random(np.random.default_rng(0), samples)])
    hits = np.zeros((2, len(arrays.pairs)), dtype=np.int64)
    _count_hits(arrays, robot.fixed, robot.prismatic, postures[:1], hits[0])
    _count_hits(arrays, robot.fixed, robot.prismatic, postures, hits[1])
    lower, upper = _ranges(robot)
    reasons: list[Reason] = []
    for k, (i, j) in enumerate(arrays.pairs.tolist()):
        between = arrays.frames[j] - arrays.frames[i]
        if between == 0:
            reason = Reason.SAME
        elif between == 1:
            reason = Reason.ADJACENT
        elif frozenset((links[i], links[j])) in disabled:
            reason = Reason.DISABLED
        elif hits[1, k] == len(postures):
            reason = Reason.ALWAYS
        elif hits[0, k]:
            reason = Reason.HOME
        elif hits[1, k] == 0 and _never_touch(arrays, robot.fixed, robot.prismatic, lower, upper, i, j, BOXES):
            reason = Reason.NEVER
        else:
            reason = Reason.CHECKED
        reasons.append(reason)
    return tuple(reasons), hits[1]


def _ranges(robot: RobotModel) -> tuple[Floats, Floats]:
    """Return joint ranges that hold every posture once: at most one turn of a revolute joint."""
    lower, upper = np.array(robot.sample_lower), np.array(robot.sample_upper)
    turns = ~robot.prismatic & (upper - lower >= 2.0 * np.pi)
    lower[turns], upper[turns] = -np.pi, np.pi
    return lower, upper


@_compiled
def _count_hits(arrays: CollisionArrays, fixed: Floats, prismatic: Bools, q: Floats, hits: Ints) -> None:
    """Add to ``hits`` (P,) in how many postures of ``q`` (N, n) each pair comes nearer than the margin."""
    shapes, pairs = arrays.shapes, arrays.pairs
    placed = np.empty((shapes.shape[0], 6))
    Ts = np.empty((q.shape[1] + 1, 4, 4))
    for row in range(q.shape[0]):
        fk_frames(fixed, prismatic, q[row], Ts)
        place(arrays, Ts, placed)
        for k in range(pairs.shape[0]):
            i, j = pairs[k, 0], pairs[k, 1]
            squared, _, _ = axis_distance(placed, i, j)
            if math.sqrt(squared) < shapes[i, 6] + shapes[j, 6] + arrays.margin:
                hits[k] += 1


@_compiled
def _never_touch(
    arrays: CollisionArrays,
    fixed: Floats,
    prismatic: Bools,
    lower: Floats,
    upper: Floats,
    i: int,
    j: int,
    budget: int,
) -> bool:
    """Prove by branch and bound that capsules ``i`` and ``j`` stay farther apart than the margin.

    Only the joints between them matter. Within a box of their positions, no point of the second capsule moves
    farther from where it is at the box's middle than the sum over the joints of half the box's width times the
    longest lever arm; the box is clear if the distance at its middle exceeds that, and is halved otherwise.

    Returns:
        False also where ``budget`` boxes did not decide.
    """
    first, last = arrays.frames[i], arrays.frames[j]
    m = last - first
    levers = _levers(arrays, fixed, prismatic, lower, upper, i, j)
    touching = arrays.shapes[i, 6] + arrays.shapes[j, 6] + arrays.margin
    boxes = np.empty((_DEEPEST, 2, m))  # middle and half width
    for k in range(m):
        boxes[0, 0, k] = 0.5 * (lower[first + k] + upper[first + k])
        boxes[0, 1, k] = 0.5 * (upper[first + k] - lower[first + k])
    waiting = 1
    Ts = np.empty((m + 1, 4, 4))
    placed = np.empty((2, 6))
    middle, half = np.empty(m), np.empty(m)
    for _ in range(budget):
        if waiting == 0:
            return True
        waiting -= 1
        reach, widest = 0.0, 0
        for k in range(m):
            middle[k], half[k] = boxes[waiting, 0, k], boxes[waiting, 1, k]
            reach += levers[k] * half[k]
            if levers[k] * half[k] > levers[widest] * half[widest]:
                widest = k
        fk_frames(fixed[first : last + 1], prismatic[first:last], middle, Ts)
        _place_two(arrays, Ts, i, j, placed)
        squared, _, _ = axis_distance(placed, 0, 1)
        distance = math.sqrt(squared)
        if distance < touching or waiting + 2 > _DEEPEST:
            return False
        if distance - reach >= touching:
            continue
        half[widest] *= 0.5
        for side in (-1.0, 1.0):
            for k in range(m):
                boxes[waiting, 0, k], boxes[waiting, 1, k] = middle[k], half[k]
            boxes[waiting, 0, widest] += side * half[widest]
            waiting += 1
    return waiting == 0


@_compiled
def _place_two(arrays: CollisionArrays, Ts: Floats, i: int, j: int, placed: Floats) -> None:
    """Write both capsules (2, 6) in the frame of the first; the last of ``Ts`` is that of the second."""
    shapes, T = arrays.shapes, Ts[Ts.shape[0] - 1]
    for r in range(3):
        placed[0, r], placed[0, r + 3] = shapes[i, r], shapes[i, r + 3]
        placed[1, r], placed[1, r + 3] = T[r, 3], 0.0
        for c in range(3):
            placed[1, r] += T[r, c] * shapes[j, c]
            placed[1, r + 3] += T[r, c] * shapes[j, c + 3]


@_compiled
def _levers(
    arrays: CollisionArrays, fixed: Floats, prismatic: Bools, lower: Floats, upper: Floats, i: int, j: int
) -> Floats:
    """Return how far the axis of capsule ``j`` moves at most per unit of each joint between ``i`` and ``j`` (m,)."""
    first, last = arrays.frames[i], arrays.frames[j]
    levers = np.empty(last - first)
    shapes = arrays.shapes
    arm, reach = 0.0, 0.0  # from the axis, and from the origin, of the joint's own frame
    for side in (-1.0, 1.0):
        x = shapes[j, 0] + side * shapes[j, 3]
        y = shapes[j, 1] + side * shapes[j, 4]
        z = shapes[j, 2] + side * shapes[j, 5]
        arm = max(arm, math.sqrt(x * x + y * y))
        reach = max(reach, math.sqrt(x * x + y * y + z * z))
    for back in range(last - first):
        joint = last - 1 - back
        levers[joint - first] = 1.0 if prismatic[joint] else arm
        # One joint further in, later joints may point the rest anywhere.
        step = fixed[joint]
        slide = max(abs(lower[joint]), abs(upper[joint])) if prismatic[joint] else 0.0
        x, y, z = step[0, 3], step[1, 3], step[2, 3]
        arm = math.sqrt(x * x + y * y) + reach + slide
        reach = math.sqrt(x * x + y * y + z * z) + reach + slide
    return levers


def disabled_links(
    disabled: Iterable[tuple[str, str]] | str | Path, links: tuple[str, ...]
) -> frozenset[frozenset[str]]:
    """Return the pairs of links to leave out, from pairs of names or the path of an SRDF.

    Raises:
        RobotError: A name is no link of the arm (an SRDF may name others: a gripper's), or the SRDF cannot be read.
    """
    if isinstance(disabled, str | Path):
        return frozenset(frozenset(pair) for pair in read_srdf(disabled))
    pairs = [tuple(pair) for pair in disabled]
    for name in (name for pair in pairs for name in pair):
        if name not in links:
            raise RobotError(f"The arm has no link {name!r}.", f"Its links are: {', '.join(links)}.", link=name)
    return frozenset(frozenset(pair) for pair in pairs)


def read_srdf(path: str | Path) -> tuple[tuple[str, str], ...]:
    """Return the pairs of links of the ``disable_collisions`` elements of an SRDF.

    Raises:
        RobotError: The file cannot be read, or is no SRDF.
    """
    file = Path(path)
    try:
        root = ElementTree.fromstring(file.read_bytes())
    except OSError as error:
        raise RobotError(
            f"Could not read {file}: {error.strerror or error}.", "Give the path of an SRDF file.", path=file
        ) from error
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise RobotError(
            f"{file} is not well-formed XML: {error}.", "Mend the line it names, or export the SRDF again.", path=file
        ) from error
    pairs = [(e.get("link1", ""), e.get("link2", "")) for e in root.iter("disable_collisions")]
    if root.tag != "robot" or not all(a and b for a, b in pairs):
        raise RobotError(
            f"{file} is not an SRDF.",
            "Its root is <robot>, and every <disable_collisions> names link1 and link2.",
            path=file,
        )
    return tuple(pairs)
