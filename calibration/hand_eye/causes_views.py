"""What may be wrong with a view by itself: its partner, its corners' order, its tilt, an arm on its way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from calibration import batch
from calibration.hand_eye.causes import Case, Cause, Explanation, Repair
from calibration.hand_eye.causes_scoring import mixture
from vision_ik.types import Floats

SURE = float(np.log(100.0))
"""A cause is named where it is so much likelier than none."""
_STEPS = 33
"""Places along a path at which the arm may have been."""
_LATE = 0.3
"""[s] How long before or after its pose a picture may have been taken."""
_BOW = 0.1
"""An arm's way between two postures bows away from the straight one by this share of the distance to the nearer."""
_LONGEST_SHIFT = 5
"""Places by which pictures and poses are ever out of step."""
_TAKEN = float(np.log(10.0))
"""How much likelier a free pose is the partner than one whose own picture fits."""


def explain_views(case: Case) -> dict[int, Explanation]:
    """Return the likeliest cause for each accused view that one explains by itself."""
    found: dict[int, Explanation] = {}
    pairings = {i: _partners(case, i) for i in case.accused if len(case.poses(i)[0])}
    wanted: dict[int, Floats] = {}
    for i, of_partner in pairings.items():
        seen, spread, nothing = case.nearest(i)
        causes = _corner_order(case, i, nothing), _on_the_way(case, i, seen, spread, nothing)
        guesses = [guess for guess in causes if guess]
        best = max(guesses, key=lambda guess: guess.odds, default=None)
        odds = mixture(of_partner[np.isfinite(of_partner)]) - nothing
        if odds > SURE and (best is None or odds > best.odds):
            wanted[i] = of_partner - nothing
        elif best is not None and best.odds > SURE:
            found[i] = best
    return found | _assign(case, wanted)


def _partners(case: Case, i: int) -> Floats:
    """Return (N,) log densities of the picture with each other view's pose; -inf for its own."""
    seen, spread = case.poses(i)
    densities = [
        case.measure.log_density(np.tile(T, (case.count, 1, 1)), np.tile(C, (case.count, 1, 1)), case.flanges)
        for T, C in zip(seen, spread, strict=True)
    ]
    best = np.max(densities, axis=0)
    # A pose that is reported twice would explain the picture no better than its own.
    same = np.linalg.norm(case.flanges - case.flanges[i], axis=(1, 2)) < 1e-12
    return np.where(same, -np.inf, best)


def _assign(case: Case, wanted: dict[int, Floats]) -> dict[int, Explanation]:
    """Give each picture that belongs elsewhere the pose it fits, no pose twice, and say how they are out of step."""
    if not wanted:
        return {}
    pictures = list(wanted)
    free = np.isin(np.arange(case.count), case.accused)
    gain = np.stack([wanted[i] for i in pictures]) - np.where(free, 0.0, _TAKEN)
    rows, columns = linear_sum_assignment(np.maximum(gain, -1e6), maximize=True)
    partner = {pictures[r]: int(c) for r, c in zip(rows, columns, strict=True) if gain[r, c] > SURE}
    shifts = {i: j - i for i, j in partner.items()}
    found: dict[int, Explanation] = {}
    for i, j in partner.items():
        odds = float(wanted[i][j])
        with_pose = f"its picture belongs with the pose of view {case.names[j]}"
        paired = f"paired with the pose of view {case.names[j]}"
        neighbours = [k for k, shift in shifts.items() if shift == shifts[i] and k != i and abs(k - i) <= 2]
        if neighbours and abs(shifts[i]) <= _LONGEST_SHIFT and partner.get(j) != i:
            places = f"{abs(shifts[i])} {'place' if abs(shifts[i]) == 1 else 'places'}"
            way = "ahead of" if shifts[i] > 0 else "behind"
            cause, words = Cause.PAIRING_SHIFTED, f"{with_pose}: pictures run {places} {way} the poses here"
            paired = f"{paired}, {places} {'on' if shifts[i] > 0 else 'back'}"
        elif not free[j]:
            cause = Cause.STALE_PICTURE
            words = f"its picture shows the posture of view {case.names[j]}: an old picture, or an old pose"
        else:
            cause, words = Cause.PAIRING_SWAPPED, with_pose
        repair = Repair(words=paired, partner=j) if free[j] else None
        found[i] = Explanation(cause=cause, sentence=words, odds=odds, repair=repair)
    return found


def _corner_order(case: Case, i: int, nothing: float) -> Explanation | None:
    """Return how well it explains view i that its corners were counted from elsewhere."""
    if not case.turns:
        return None
    seen, spread = case.poses(i)
    backs = batch.inverses(np.stack([G for G, _ in case.turns]))
    poses = seen[:, None] @ backs[None]
    densities = case.measure.log_density(
        poses.reshape(-1, 4, 4),
        np.repeat(spread, len(backs), axis=0),
        np.tile(case.flanges[i], (len(seen) * len(backs), 1, 1)),
    ).reshape(len(seen), len(backs))
    G, words = case.turns[int(np.argmax(densities.max(axis=0)))]
    return Explanation(
        cause=Cause.CORNER_ORDER,
        sentence=f"its corners were counted {words}",
        odds=mixture(densities.max(axis=0)) - nothing,
        repair=Repair(words=f"corners counted anew: they were listed {words}", turn=G),
    )


def _on_the_way(case: Case, i: int, seen: Floats, spread: Floats, nothing: float) -> Explanation | None:
    """Return how well it explains view i that the arm was on its way when the picture was taken."""
    ways = _ways(case, i)
    best: Explanation | None = None
    for way in ways:
        count = len(way.steps)
        flanges = case.flanges[i] @ batch.exp(way.steps[:, None] * way.twist)
        along = (way.steps[1] - way.steps[0]) * way.twist
        lengths = np.repeat([np.linalg.norm(way.twist[:3]), np.linalg.norm(way.twist[3:])], 3)
        bow = way.bow * np.minimum(way.steps, 1.0 - way.steps)
        loose = np.outer(along, along) + (bow[:, None] * lengths)[:, :, None] ** 2 * np.eye(6)
        densities = case.measure.log_density(
            np.tile(seen, (count, 1, 1)), np.tile(spread, (count, 1, 1)), flanges, loose_flange=loose
        )
        odds = mixture(densities) - nothing - float(np.log(len(ways)))
        if best is None or odds > best.odds:
            words = way.words(float(way.steps[int(np.argmax(densities))]))
            best = Explanation(cause=Cause.ARM_MOVING, sentence=f"the arm was moving: {words}", odds=odds)
    return best


@dataclass(frozen=True, slots=True, eq=False)
class _Way:
    """Where the flange may have been: at ``exp(s twist)`` from where it was reported."""

    twist: Floats
    steps: Floats
    """(S,) the s that are tried."""
    bow: float
    """Share of the distance to the nearer end by which the true way may lie beside."""
    words: Callable[[float], str]
    """What is said of an s."""


def _ways(case: Case, i: int) -> list[_Way]:
    found: list[_Way] = []
    twist = case.twists[i]
    if twist is not None and np.linalg.norm(twist) > 0:

        def in_time(s: float) -> str:
            return f"the picture is {abs(s) * _LATE * 1e3:.0f} ms {'earlier' if s < 0 else 'later'} than the pose"

        found.append(_Way(_LATE * twist, np.linspace(-1.0, 1.0, _STEPS), 0.0, in_time))
    for j, verb in ((i - 1, "it had not arrived from"), (i + 1, "it had left for")):
        if not 0 <= j < case.count:
            continue
        way = batch.log(batch.inverses(case.flanges[i : i + 1]) @ case.flanges[j : j + 1])[0]
        if np.linalg.norm(way) > 0:

            def in_space(s: float, way: Floats = way, verb: str = verb, name: str = case.names[j]) -> str:
                return f"{verb} view {name}, by {s * float(np.linalg.norm(way[:3])) * 1e3:.0f} mm"

            # The far end is the pose of the neighbour: that is a matter of pairing.
            found.append(_Way(way, np.linspace(0.0, 1.0, _STEPS)[1:-1], _BOW, in_space))
    return found
