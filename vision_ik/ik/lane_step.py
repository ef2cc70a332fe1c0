"""One damped step of sixteen lanes, the limits kept by an active set: `vision_ik.ik.kernels.step` over lanes."""

from __future__ import annotations

from numba import njit

from vision_ik.ik.chain import Chain
from vision_ik.ik.kernels import DAMPING, GROWTH, MAX_STEP, MIN_DAMPING, STALL
from vision_ik.ik.lanes import (
    COST,
    COST_N,
    DAMP,
    EN,
    EXCESS,
    FACTOR,
    FIRST,
    FREE,
    FRESH,
    LANES,
    LONGEST,
    METRES,
    METRES_N,
    NEW,
    PER_JOINT,
    QN,
    RADIANS,
    RADIANS_N,
    SEED,
    STALLED,
    STEPS,
    WORST,
    B,
    C,
    E,
    H,
    Q,
    Y,
    fk_jacobian,
    pose_error,
)
from vision_ik.types import Floats

_N = LANES
_FAST = {"contract", "nsz", "reassoc", "arcp"}
_compiled = njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def advance(chain: Chain, s: Floats, joints: Floats, J: Floats, J_trial: Floats) -> bool:
    """Take one step in every lane; return whether ``J_trial`` is now the Jacobian of all lanes, and ``J`` free.

    Inlined before it is compiled, because numba optimises a function again for every level of calls above it.
    """
    n = chain.lower.shape[0]
    begin_step(s)
    normal_matrix(n, s, J)
    for _ in range(n + 1):
        solve6(s)
        if offenders(n, chain.lower, chain.upper, s, joints, J) == 0:
            break
        pin(n, chain.lower, chain.upper, s, joints, J)
    end_step(n, chain.lower, chain.upper, s, joints)
    fk_jacobian(chain.fixed, chain.prismatic, QN, s, joints, J_trial)
    pose_error(s)
    return accept(n, s, joints, J, J_trial)


@_compiled
def normal_matrix(n: int, s: Floats, J: Floats) -> None:
    """Write the lower half of ``J J^T``, with the damping on its diagonal."""
    for l in range(21 * LANES):
        s[H + l] = 0.0
    for l in range(LANES):
        damping = s[DAMP + l]
        s[H + l] = damping
        s[H + 2 * _N + l] = damping
        s[H + 5 * _N + l] = damping
        s[H + 9 * _N + l] = damping
        s[H + 14 * _N + l] = damping
        s[H + 20 * _N + l] = damping
    for i in range(n):
        Ji = J[6 * LANES * i : 6 * LANES * (i + 1)]
        for l in range(LANES):
            a, b, c = Ji[l], Ji[_N + l], Ji[2 * _N + l]
            d, e, g = Ji[3 * _N + l], Ji[4 * _N + l], Ji[5 * _N + l]
            s[H + l] += a * a
            s[H + 1 * _N + l] += b * a
            s[H + 2 * _N + l] += b * b
            s[H + 3 * _N + l] += c * a
            s[H + 4 * _N + l] += c * b
            s[H + 5 * _N + l] += c * c
            s[H + 6 * _N + l] += d * a
            s[H + 7 * _N + l] += d * b
            s[H + 8 * _N + l] += d * c
            s[H + 9 * _N + l] += d * d
            s[H + 10 * _N + l] += e * a
            s[H + 11 * _N + l] += e * b
            s[H + 12 * _N + l] += e * c
            s[H + 13 * _N + l] += e * d
            s[H + 14 * _N + l] += e * e
            s[H + 15 * _N + l] += g * a
            s[H + 16 * _N + l] += g * b
            s[H + 17 * _N + l] += g * c
            s[H + 18 * _N + l] += g * d
            s[H + 19 * _N + l] += g * e
            s[H + 20 * _N + l] += g * g


@_compiled
def solve6(s: Floats) -> None:
    """Solve ``H y = b`` by LDL^T, written out so that it is one loop over the lanes."""
    for l in range(LANES):
        i0 = 1.0 / max(s[H + l], 1e-300)
        h10, h20, h30, h40, h50 = (
            s[H + 1 * _N + l],
            s[H + 3 * _N + l],
            s[H + 6 * _N + l],
            s[H + 10 * _N + l],
            s[H + 15 * _N + l],
        )
        l10, l20, l30, l40, l50 = h10 * i0, h20 * i0, h30 * i0, h40 * i0, h50 * i0
        i1 = 1.0 / max(s[H + 2 * _N + l] - l10 * h10, 1e-300)
        h21 = s[H + 4 * _N + l] - l20 * h10
        h31 = s[H + 7 * _N + l] - l30 * h10
        h41 = s[H + 11 * _N + l] - l40 * h10
        h51 = s[H + 16 * _N + l] - l50 * h10
        l21, l31, l41, l51 = h21 * i1, h31 * i1, h41 * i1, h51 * i1
        i2 = 1.0 / max(s[H + 5 * _N + l] - l20 * h20 - l21 * h21, 1e-300)
        h32 = s[H + 8 * _N + l] - l30 * h20 - l31 * h21
        h42 = s[H + 12 * _N + l] - l40 * h20 - l41 * h21
        h52 = s[H + 17 * _N + l] - l50 * h20 - l51 * h21
        l32, l42, l52 = h32 * i2, h42 * i2, h52 * i2
        i3 = 1.0 / max(s[H + 9 * _N + l] - l30 * h30 - l31 * h31 - l32 * h32, 1e-300)
        h43 = s[H + 13 * _N + l] - l40 * h30 - l41 * h31 - l42 * h32
        h53 = s[H + 18 * _N + l] - l50 * h30 - l51 * h31 - l52 * h32
        l43, l53 = h43 * i3, h53 * i3
        i4 = 1.0 / max(s[H + 14 * _N + l] - l40 * h40 - l41 * h41 - l42 * h42 - l43 * h43, 1e-300)
        h54 = s[H + 19 * _N + l] - l50 * h40 - l51 * h41 - l52 * h42 - l53 * h43
        l54 = h54 * i4
        i5 = 1.0 / max(s[H + 20 * _N + l] - l50 * h50 - l51 * h51 - l52 * h52 - l53 * h53 - l54 * h54, 1e-300)
        y0 = s[B + l]
        y1 = s[B + _N + l] - l10 * y0
        y2 = s[B + 2 * _N + l] - l20 * y0 - l21 * y1
        y3 = s[B + 3 * _N + l] - l30 * y0 - l31 * y1 - l32 * y2
        y4 = s[B + 4 * _N + l] - l40 * y0 - l41 * y1 - l42 * y2 - l43 * y3
        y5 = s[B + 5 * _N + l] - l50 * y0 - l51 * y1 - l52 * y2 - l53 * y3 - l54 * y4
        y5 = y5 * i5
        y4 = y4 * i4 - l54 * y5
        y3 = y3 * i3 - l43 * y4 - l53 * y5
        y2 = y2 * i2 - l32 * y3 - l42 * y4 - l52 * y5
        y1 = y1 * i1 - l21 * y2 - l31 * y3 - l41 * y4 - l51 * y5
        y0 = y0 * i0 - l10 * y1 - l20 * y2 - l30 * y3 - l40 * y4 - l50 * y5
        s[Y + l], s[Y + _N + l], s[Y + 2 * _N + l] = y0, y1, y2
        s[Y + 3 * _N + l], s[Y + 4 * _N + l], s[Y + 5 * _N + l] = y3, y4, y5


@_compiled
def begin_step(s: Floats) -> None:
    """Set the damping and the right-hand side."""
    for l in range(LANES):
        s[DAMP + l] = s[FACTOR + l] * DAMPING * s[COST + l] + MIN_DAMPING
        s[FIRST + l] = 1.0
    for l in range(6 * LANES):
        s[B + l] = s[E + l]


@_compiled
def offenders(n: int, lower: Floats, upper: Floats, s: Floats, joints: Floats, J: Floats) -> int:
    """Write the trial postures, and for each lane the joint farthest outside its limits; return how many have one."""
    for l in range(LANES):
        s[WORST + l], s[EXCESS + l] = -1.0, 0.0
    for i in range(n):
        Ji = J[6 * LANES * i : 6 * LANES * (i + 1)]
        q = joints[PER_JOINT * LANES * i : PER_JOINT * LANES * (i + 1)]
        low, high, number = lower[i], upper[i], float(i)
        for l in range(LANES):
            d = Ji[l] * s[Y + l] + Ji[_N + l] * s[Y + _N + l] + Ji[2 * _N + l] * s[Y + 2 * _N + l]
            d += Ji[3 * _N + l] * s[Y + 3 * _N + l] + Ji[4 * _N + l] * s[Y + 4 * _N + l]
            d += Ji[5 * _N + l] * s[Y + 5 * _N + l]
            pinned = q[FREE + l] + s[FIRST + l] < 0.5
            q[FREE + l] = 0.0 if pinned else 1.0
            trial = q[QN + l] if pinned else q[Q + l] + d
            q[QN + l] = trial
            over = 0.0 if pinned else max(trial - high, low - trial)
            worse = over > s[EXCESS + l]
            s[WORST + l] = number if worse else s[WORST + l]
            s[EXCESS + l] = over if worse else s[EXCESS + l]
    outside = 0.0
    for l in range(LANES):
        s[FIRST + l] = 0.0
        outside += 1.0 if s[EXCESS + l] > 0.0 else 0.0
    return int(outside)


@_compiled
def pin(n: int, lower: Floats, upper: Floats, s: Floats, joints: Floats, J: Floats) -> None:
    """Hold the offending joint of each lane at its limit and take its share out of the system."""
    for l in range(6 * LANES):
        s[C + l] = 0.0
    for i in range(n):
        Ji = J[6 * LANES * i : 6 * LANES * (i + 1)]
        q = joints[PER_JOINT * LANES * i : PER_JOINT * LANES * (i + 1)]
        low, high, number = lower[i], upper[i], float(i)
        for l in range(LANES):
            taken = s[WORST + l] == number
            p = 1.0 if taken else 0.0
            bound = min(max(q[QN + l], low), high)
            d = bound - q[Q + l] if taken else 0.0
            q[QN + l] = bound if taken else q[QN + l]
            q[FREE + l] = 0.0 if taken else q[FREE + l]
            s[B + l] -= Ji[l] * d
            s[B + 1 * _N + l] -= Ji[1 * _N + l] * d
            s[B + 2 * _N + l] -= Ji[2 * _N + l] * d
            s[B + 3 * _N + l] -= Ji[3 * _N + l] * d
            s[B + 4 * _N + l] -= Ji[4 * _N + l] * d
            s[B + 5 * _N + l] -= Ji[5 * _N + l] * d
            s[C + l] += Ji[l] * p
            s[C + 1 * _N + l] += Ji[1 * _N + l] * p
            s[C + 2 * _N + l] += Ji[2 * _N + l] * p
            s[C + 3 * _N + l] += Ji[3 * _N + l] * p
            s[C + 4 * _N + l] += Ji[4 * _N + l] * p
            s[C + 5 * _N + l] += Ji[5 * _N + l] * p
    for l in range(LANES):
        a, b, c = s[C + l], s[C + _N + l], s[C + 2 * _N + l]
        d, e, g = s[C + 3 * _N + l], s[C + 4 * _N + l], s[C + 5 * _N + l]
        s[H + l] -= a * a
        s[H + 1 * _N + l] -= b * a
        s[H + 2 * _N + l] -= b * b
        s[H + 3 * _N + l] -= c * a
        s[H + 4 * _N + l] -= c * b
        s[H + 5 * _N + l] -= c * c
        s[H + 6 * _N + l] -= d * a
        s[H + 7 * _N + l] -= d * b
        s[H + 8 * _N + l] -= d * c
        s[H + 9 * _N + l] -= d * d
        s[H + 10 * _N + l] -= e * a
        s[H + 11 * _N + l] -= e * b
        s[H + 12 * _N + l] -= e * c
        s[H + 13 * _N + l] -= e * d
        s[H + 14 * _N + l] -= e * e
        s[H + 15 * _N + l] -= g * a
        s[H + 16 * _N + l] -= g * b
        s[H + 17 * _N + l] -= g * c
        s[H + 18 * _N + l] -= g * d
        s[H + 19 * _N + l] -= g * e
        s[H + 20 * _N + l] -= g * g


@_compiled
def end_step(n: int, lower: Floats, upper: Floats, s: Floats, joints: Floats) -> None:
    """Shorten the steps that are too long, and put in the seeds of lanes that were just filled."""
    for l in range(LANES):
        s[LONGEST + l] = MAX_STEP
    for i in range(n):
        q = joints[PER_JOINT * LANES * i : PER_JOINT * LANES * (i + 1)]
        for l in range(LANES):
            s[LONGEST + l] = max(s[LONGEST + l], abs(q[QN + l] - q[Q + l]))
    for i in range(n):
        q = joints[PER_JOINT * LANES * i : PER_JOINT * LANES * (i + 1)]
        low, high = lower[i], upper[i]
        for l in range(LANES):
            shrink = MAX_STEP / s[LONGEST + l]
            trial = min(max(q[Q + l] + shrink * (q[QN + l] - q[Q + l]), low), high)
            # A lane that was just filled has no posture to step from yet: its seed is its first trial.
            q[QN + l] = q[SEED + l] if s[NEW + l] > 0.5 else trial


@_compiled
def accept(n: int, s: Floats, joints: Floats, J: Floats, J_trial: Floats) -> bool:
    """Take over the trial postures that cost less; return whether all did, their Jacobians left to the caller."""
    kept = 0.0
    for l in range(LANES):
        new = s[NEW + l] > 0.5
        fresh = s[COST_N + l] < s[COST + l]
        fresh = True if new else fresh
        stalls = s[COST_N + l] > STALL * s[COST + l]
        grown = s[STALLED + l] + 1.0
        stalled = grown if stalls else 0.0
        s[STALLED + l] = 0.0 if new else stalled
        factor = max(1.0, s[FACTOR + l] / GROWTH) if fresh else s[FACTOR + l] * GROWTH
        s[FACTOR + l] = 1.0 if new else factor
        s[STEPS + l] = 0.0 if new else s[STEPS + l] + 1.0
        s[NEW + l] = 0.0
        s[FRESH + l] = 1.0 if fresh else 0.0
        s[COST + l] = s[COST_N + l] if fresh else s[COST + l]
        s[METRES + l] = s[METRES_N + l] if fresh else s[METRES + l]
        s[RADIANS + l] = s[RADIANS_N + l] if fresh else s[RADIANS + l]
        kept += 0.0 if fresh else 1.0
    for l in range(LANES):
        fresh = s[FRESH + l] > 0.5
        s[E + l] = s[EN + l] if fresh else s[E + l]
        s[E + 1 * _N + l] = s[EN + 1 * _N + l] if fresh else s[E + 1 * _N + l]
        s[E + 2 * _N + l] = s[EN + 2 * _N + l] if fresh else s[E + 2 * _N + l]
        s[E + 3 * _N + l] = s[EN + 3 * _N + l] if fresh else s[E + 3 * _N + l]
        s[E + 4 * _N + l] = s[EN + 4 * _N + l] if fresh else s[E + 4 * _N + l]
        s[E + 5 * _N + l] = s[EN + 5 * _N + l] if fresh else s[E + 5 * _N + l]
    for i in range(n):
        q = joints[PER_JOINT * LANES * i : PER_JOINT * LANES * (i + 1)]
        for l in range(LANES):
            q[Q + l] = q[QN + l] if s[FRESH + l] > 0.5 else q[Q + l]
    if kept == 0.0:
        return True
    for i in range(n):
        a, b = J[6 * LANES * i : 6 * LANES * (i + 1)], J_trial[6 * LANES * i : 6 * LANES * (i + 1)]
        for l in range(LANES):
            fresh = s[FRESH + l] > 0.5
            a[l] = b[l] if fresh else a[l]
            a[1 * _N + l] = b[1 * _N + l] if fresh else a[1 * _N + l]
            a[2 * _N + l] = b[2 * _N + l] if fresh else a[2 * _N + l]
            a[3 * _N + l] = b[3 * _N + l] if fresh else a[3 * _N + l]
            a[4 * _N + l] = b[4 * _N + l] if fresh else a[4 * _N + l]
            a[5 * _N + l] = b[5 * _N + l] if fresh else a[5 * _N + l]
    return False
