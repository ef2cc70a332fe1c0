"""From the compiled searches to answers: one solution by an objective, or all of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vision_ik.ik import enumeration, task_search
from vision_ik.ik.chain import Chain
from vision_ik.ik.objective import Objective, costs
from vision_ik.ik.search import CONVERGED
from vision_ik.ik.seeds import NO_NET
from vision_ik.ik.task import Goal
from vision_ik.ik.task_search import Arm
from vision_ik.types import Floats

SAMPLES = 64
"""Samples of a self-motion listed unless more are asked for."""
SPACING = 0.3
"""[rad, m] Their distance in joint space."""
_ROOM = 4
"""Samples found for each one listed, so that the listed ones can be spread evenly."""
_BRANCHES = 512
"""Room for isolated solutions."""
_RANDOM = 400
"""Random seeds at most when solutions are listed."""
_PATIENCE = 80
"""Random seeds in a row without a new solution after which no more are expected."""
_PATIENCE_NEAREST = 24
"""The same where the nearest of a continuum is sought: sliding finds it from any sample of its self-motion."""
_TURN = 2.0 * np.pi


class Answer(NamedTuple):
    """One posture and how it was found, as `IkSolution` names it."""

    q: Floats
    status: int
    position_error: float
    rotation_error: float
    kind: int
    steps: int


def solve(arm: Arm, goal: Goal, objective: Objective, matrix: Floats, start: Floats, has_start: bool) -> Answer:
    """Return the solution that ``objective`` wants, or the closest posture with its status."""
    if not goal.mobility.any():
        return _held(arm, goal, matrix, start)
    if objective == "nearest":
        answer = _nearest(arm, goal, matrix, start)
    elif objective == "near":
        answer = None
    else:
        answer = _best(arm, goal, objective, matrix, start)
    if answer is not None:
        return answer
    q = np.empty(start.shape[0])
    status, m, rad, kind, steps = task_search.solve_task(arm, goal, matrix, start, has_start, q)
    return Answer(q, status, m, rad, kind, steps)


def list_all(
    arm: Arm, goal: Goal, matrix: Floats, start: Floats, *, whole_turns: bool, spacing: float, most: int | None
) -> list[Answer] | None:
    """Return distinct solutions, nearest to ``start`` first; None for an invalid target or start."""
    samples = SAMPLES if most is None else most
    room = _ROOM * samples if goal.redundant else _BRANCHES
    q, info = np.empty((room, start.shape[0])), np.empty((room, 4))
    count = enumeration.list_solutions(_patient(arm), goal, matrix, start, spacing, samples, _PATIENCE, q, info)
    if count < 0:
        return None
    weights = _weights(goal)
    rows = np.argsort(np.linalg.norm((q[:count] - start) * weights, axis=1), kind="stable")
    if goal.redundant and count > samples:
        rows = rows[sorted(_spread(arm.chain, q[rows], samples))]
    answers = [_answer(q[k].copy(), info[k]) for k in rows]
    if whole_turns:
        answers = _turned(arm.chain, weights, answers, start, _BRANCHES if most is None else most)
    return answers[:most]


def _held(arm: Arm, goal: Goal, matrix: Floats, start: Floats) -> Answer:
    """Return the only posture there is where every joint is locked; 0 steps tell it."""
    only_start = arm._replace(net=NO_NET, settings=arm.settings._replace(restarts=0))
    q = np.empty(start.shape[0])
    status, m, rad, kind, _ = task_search.solve_task(only_start, goal, matrix, start, True, q)
    return Answer(q, status, m, rad, kind, 0)


def _nearest(arm: Arm, goal: Goal, matrix: Floats, start: Floats) -> Answer | None:
    room = SAMPLES if goal.redundant else _BRANCHES
    q, info = np.empty((room, start.shape[0])), np.empty((room, 4))
    patience = _PATIENCE_NEAREST if goal.redundant else _PATIENCE
    row = enumeration.solve_nearest(_patient(arm), goal, matrix, start, patience, q, info)
    return None if row < 0 else _answer(q[row].copy(), info[row])


def _best(arm: Arm, goal: Goal, objective: Objective, matrix: Floats, start: Floats) -> Answer | None:
    # Whole turns change where the limits are, and perhaps what a user's function says; not what the tool can do.
    whole_turns = objective != "manipulability"
    found = list_all(arm, goal, matrix, start, whole_turns=whole_turns, spacing=SPACING, most=None)
    if not found:
        return None
    values = costs(objective, arm.chain, np.array([answer.q for answer in found]))
    return found[int(np.argmin(values))]


def _patient(arm: Arm) -> Arm:
    return arm._replace(settings=arm.settings._replace(restarts=_RANDOM))


def _answer(q: Floats, info: Floats) -> Answer:
    return Answer(q, CONVERGED, float(info[0]), float(info[1]), int(info[2]), int(info[3]))


def _weights(goal: Goal) -> Floats:
    """Return the joint weights (n,), 0 for locked joints."""
    return np.where(goal.mobility > 0.0, 1.0 / np.sqrt(np.where(goal.mobility > 0.0, goal.mobility, 1.0)), 0.0)


def _spread(chain: Chain, q: Floats, count: int) -> list[int]:
    """Return ``count`` rows of ``q`` (N, n), the first among them, each the farthest from those before it."""
    chosen, distances = [0], np.full(len(q), np.inf)
    while len(chosen) < count:
        d = q - q[chosen[-1]]
        d -= np.where(chain.prismatic, 0.0, _TURN * np.rint(d / _TURN))
        distances = np.minimum(distances, np.linalg.norm(d, axis=1))
        chosen.append(int(np.argmax(distances)))
    return chosen


def _turned(chain: Chain, weights: Floats, answers: list[Answer], start: Floats, most: int) -> list[Answer]:
    """Return the ``most`` nearest postures that differ from ``answers`` by whole turns inside the limits."""
    copies: list[Answer] = []
    distances: list[Floats] = []
    for answer in answers:
        postures, squares = _copies(chain, weights, answer.q, start, most)
        copies += [answer._replace(q=q) for q in postures]
        distances.append(squares)
    order = np.argsort(np.concatenate(distances), kind="stable") if copies else []
    return [copies[k] for k in order[:most]]


def _copies(chain: Chain, weights: Floats, q: Floats, start: Floats, most: int) -> tuple[Floats, Floats]:
    """Return the nearest copies (m, n) of ``q`` and their squared distances (m,).

    Distances are sums over the joints, so that the best partial sums make the best whole ones.
    """
    partial, squares = np.empty((1, 0)), np.zeros(1)
    for i, angle in enumerate(q):
        options, ends = np.array([angle]), np.array([chain.lower[i], chain.upper[i]])
        if weights[i] > 0.0 and not chain.prismatic[i] and np.isfinite(ends).all():
            first, last = np.ceil((ends[0] - angle) / _TURN), np.floor((ends[1] - angle) / _TURN)
            options = angle + _TURN * np.arange(min(first, 0.0), max(last, 0.0) + 1.0)
        partial = np.column_stack([np.repeat(partial, len(options), axis=0), np.tile(options, len(partial))])
        squares = (squares[:, np.newaxis] + (weights[i] * (options - start[i])) ** 2).ravel()
        best = np.argsort(squares, kind="stable")[:most]
        partial, squares = partial[best], squares[best]
    return partial, squares


def solve_many(
    arm: Arm,
    goal: Goal,
    objective: Objective,
    matrices: Floats,
    starts: Floats,
    has_start: bool,
    out: tuple[Floats, NDArray[np.int64], Floats, NDArray[np.int64]],
) -> None:
    """Solve (N, 4, 4) targets one by one; ``out`` (q, status, errors, steps) is written."""
    q, status, errors, steps = out
    if objective == "near" and goal.mobility.any():
        task_search.solve_tasks(arm, goal, matrices, starts, has_start, q, status, errors, steps)
        return
    for k, matrix in enumerate(matrices):
        start = starts[min(k, len(starts) - 1)]
        answer = solve(arm, goal, objective, matrix, start, has_start)
        q[k], status[k], errors[k], steps[k] = answer.q, answer.status, answer[2:4], answer.steps
