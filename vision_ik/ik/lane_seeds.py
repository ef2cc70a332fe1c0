"""Learned seeds of thirty-two targets at once: `vision_ik.ik.seeds` laid out over lanes, see `vision_ik.ik.lanes`."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from vision_ik.ik.chain import Chain
from vision_ik.ik.kernels import LENGTH
from vision_ik.ik.lane_net import GROUP, INPUT_BLOCKS, LaneNet
from vision_ik.ik.lanes import LANES, PX, PY, PZ, XX, XY, XZ, YX, YY, YZ, ZX, ZY, ZZ, arctan2, sincos
from vision_ik.ik.search import RIGID_TOLERANCE, inside, shrink
from vision_ik.ik.seeds import Floats32
from vision_ik.types import Floats

_FAST = {"contract", "nsz", "reassoc", "arcp"}
_compiled = njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
_N = GROUP
_TURN = 2.0 * math.pi


class Group(NamedTuple):
    """Work space for the seeds of thirty-two targets; flat rows of `GROUP` numbers."""

    T: Floats
    """12 rows: the targets, columns x, y, z of the rotation, then the origin."""
    M: Floats
    """12 rows: the targets between the ends of the chain, in the same order."""
    F: Floats
    """12 rows: frame reached so far while an outer joint is completed."""
    reference: Floats
    """n rows: postures to stay near."""
    seed: Floats
    """n rows: proposed postures."""
    best: Floats
    """n + 2 rows: the nearest completed posture so far, its squared distance, and that of the present one."""
    x: Floats32
    """(blocks, 4 * GROUP): what the judge sees: the network's input, then the last hidden layer."""
    work: Floats32
    """(blocks, 4 * GROUP): a hidden layer."""
    judged: Floats32
    """(blocks, 4 * GROUP): the judge's hidden layer."""
    logits: Floats32
    """(blocks, 4 * GROUP): log-odds of the heads."""
    outputs: Floats32
    """(blocks, 4 * GROUP): what all heads propose."""
    distance: Floats32
    """heads rows: squared distance of the proposed joints to the reference; infinite for implausible heads."""
    head: Floats32
    """2 rows: the head chosen, and its score."""
    near: Floats
    """1 row: 1 where the reference's pose is near the target."""
    valid: Floats
    """1 row: 1 where target and start are finite, and the target is rigid."""


@_compiled
def make_group(n: int, net: LaneNet) -> Group:
    """Return cleared work space."""
    block = 4 * GROUP
    width, heads = net.hidden.shape[2], net.heads.shape[0]
    return Group(
        np.zeros(12 * _N),
        np.zeros(12 * _N),
        np.zeros(12 * _N),
        np.zeros(n * _N),
        np.zeros(n * _N),
        np.zeros((n + 2) * _N),
        np.zeros((INPUT_BLOCKS + width, block), np.float32),
        np.zeros((width, block), np.float32),
        np.zeros((net.judge.shape[0], block), np.float32),
        np.zeros((net.rank.shape[0], block), np.float32),
        np.zeros((heads, block), np.float32),
        np.zeros((net.rank.shape[0] * 4) * _N, np.float32),
        np.zeros(2 * _N, np.float32),
        np.zeros(_N),
        np.zeros(_N),
    )


@_compiled
def features(chain: Chain, symmetric: bool, T: Floats, M: Floats, blocks: Floats32) -> None:
    """Write the targets between the ends of the chain to ``M`` and the network's input to ``blocks``."""
    A, Z = chain.ends[0], chain.ends[1]
    for c in range(4):
        t, m = T[3 * c * _N : 3 * (c + 1) * _N], M[3 * c * _N : 3 * (c + 1) * _N]
        shift = 1.0 if c == 3 else 0.0
        for l in range(GROUP):
            a, b, d = t[l], t[_N + l], t[2 * _N + l]
            m[l] = A[0, 0] * a + A[0, 1] * b + A[0, 2] * d + shift * A[0, 3]
            m[_N + l] = A[1, 0] * a + A[1, 1] * b + A[1, 2] * d + shift * A[1, 3]
            m[2 * _N + l] = A[2, 0] * a + A[2, 1] * b + A[2, 2] * d + shift * A[2, 3]
    for r in range(3):
        m = M[r * _N :]
        for l in range(GROUP):
            a, b, d = m[l], m[3 * _N + l], m[6 * _N + l]
            m[9 * _N + l] += a * Z[0, 3] + b * Z[1, 3] + d * Z[2, 3]
            m[l] = a * Z[0, 0] + b * Z[1, 0] + d * Z[2, 0]
            m[3 * _N + l] = a * Z[0, 1] + b * Z[1, 1] + d * Z[2, 1]
            m[6 * _N + l] = a * Z[0, 2] + b * Z[1, 2] + d * Z[2, 2]
    scale = 1.0 / chain.reach
    x = blocks.reshape(-1)
    for l in range(GROUP):
        px, py = M[9 * _N + l], M[10 * _N + l]
        radius = math.sqrt(px * px + py * py)
        turned = symmetric and radius > 1e-9
        inverse = 1.0 / max(radius, 1e-30)
        cos = px * inverse if turned else 1.0
        sin = py * inverse if turned else 0.0
        x[l] = np.float32((cos * px + sin * py) * scale)
        x[_N + l] = np.float32((cos * py - sin * px) * scale)
        x[2 * _N + l] = np.float32(M[11 * _N + l] * scale)
        x[3 * _N + l] = np.float32(cos * M[6 * _N + l] + sin * M[7 * _N + l])
        x[4 * _N + l] = np.float32(cos * M[7 * _N + l] - sin * M[6 * _N + l])
        x[5 * _N + l] = np.float32(M[8 * _N + l])
        x[6 * _N + l] = np.float32(cos * M[l] + sin * M[_N + l])
        x[7 * _N + l] = np.float32(cos * M[_N + l] - sin * M[l])
        x[8 * _N + l] = np.float32(M[2 * _N + l])
        x[9 * _N + l] = np.float32(cos)
        x[10 * _N + l] = np.float32(sin)


@_compiled
def best_head(count: int, blocks: Floats32, head: Floats32) -> None:
    """Write the number of the best-ranked of ``count`` heads and its log-odds."""
    logits = blocks.reshape(-1)
    for l in range(GROUP):
        head[l], head[_N + l] = np.float32(0.0), logits[l]
    for k in range(1, count):
        row, number = logits[k * _N : (k + 1) * _N], np.float32(k)
        for l in range(GROUP):
            better = row[l] > head[_N + l]
            head[l] = number if better else head[l]
            head[_N + l] = row[l] if better else head[_N + l]


@_compiled
def propose(chain: Chain, net: LaneNet, g: Group) -> None:
    """Write to ``g.seed`` what the head of each lane in ``g.head`` proposes, inside the limits."""
    width = net.rows.shape[1] - 1
    first = 1 if net.symmetric else 0
    h, column = g.x[INPUT_BLOCKS:].reshape(-1), np.empty(width, np.float32)
    for l in range(GROUP):
        for k in range(width):
            column[k] = h[k * _N + l]
        head = int(g.head[l])
        for o in range(net.outputs):
            row = net.rows[head * net.outputs + o]
            total = row[width]
            for k in range(width):
                total += row[k] * column[k]
            j = first + o
            g.seed[j * _N + l] = chain.centre[j] + chain.half[j] * total
    complete(chain, net.symmetric, g.M, g.F, g.seed)


@_compiled
def complete(chain: Chain, symmetric: bool, M: Floats, F: Floats, seed: Floats) -> None:
    """Bring the proposed joints in ``seed`` inside the limits and add the outer ones; see `seeds.complete`."""
    n = chain.lower.shape[0]
    first, last = (1, n - 1) if symmetric else (0, n)
    for i in range(first, last):
        _into_limits(chain.lower[i], chain.upper[i], chain.prismatic[i], seed[i * _N : (i + 1) * _N])
    if symmetric:
        _outer_joints(chain, M, F, seed)
        for i in range(0, n, n - 1):
            _into_limits(chain.lower[i], chain.upper[i], False, seed[i * _N : (i + 1) * _N])


@_compiled
def _into_limits(lower: float, upper: float, prismatic: bool, q: Floats) -> None:
    turn = 0.0 if prismatic else _TURN
    for l in range(GROUP):
        angle = q[l]
        turned = angle + turn * np.ceil((lower - angle) / _TURN)  # the least that is not below the lower limit
        nearer = lower if turned - upper > lower - (turned - _TURN) else upper
        clipped = min(max(angle, lower), upper)
        fallback = clipped if prismatic else nearer
        inside = turned if turned <= upper and turned >= lower else fallback
        q[l] = angle if angle >= lower and angle <= upper else inside


@_compiled
def _outer_joints(chain: Chain, M: Floats, F: Floats, q: Floats) -> None:
    """Write the first and the last joint in closed form; see `seeds.outer_joints`."""
    n = chain.lower.shape[0]
    A = chain.fixed[1]
    for l in range(GROUP):
        F[l], F[1 * _N + l], F[2 * _N + l] = A[0, 0], A[1, 0], A[2, 0]
        F[3 * _N + l], F[4 * _N + l], F[5 * _N + l] = A[0, 1], A[1, 1], A[2, 1]
        F[6 * _N + l], F[7 * _N + l], F[8 * _N + l] = A[0, 2], A[1, 2], A[2, 2]
        F[9 * _N + l], F[10 * _N + l] = A[0, 3], A[1, 3]
    for i in range(1, n - 1):
        A, angle = chain.fixed[i + 1], q[i * _N : (i + 1) * _N]
        a00, a01, a02, a03 = A[0, 0], A[0, 1], A[0, 2], A[0, 3]
        a10, a11, a12, a13 = A[1, 0], A[1, 1], A[1, 2], A[1, 3]
        a20, a21, a22, a23 = A[2, 0], A[2, 1], A[2, 2], A[2, 3]
        turns = 0.0 if chain.prismatic[i] else 1.0
        slides = 1.0 - turns
        for l in range(GROUP):
            s, c = sincos(turns * angle[l])
            shift = slides * angle[l]
            xx, xy, xz = F[l], F[1 * _N + l], F[2 * _N + l]
            yx, yy, yz = F[3 * _N + l], F[4 * _N + l], F[5 * _N + l]
            zx, zy, zz = F[6 * _N + l], F[7 * _N + l], F[8 * _N + l]
            ux, uy, uz = c * xx + s * yx, c * xy + s * yy, c * xz + s * yz
            vx, vy, vz = c * yx - s * xx, c * yy - s * xy, c * yz - s * xz
            F[9 * _N + l] += shift * zx + a03 * ux + a13 * vx + a23 * zx
            F[10 * _N + l] += shift * zy + a03 * uy + a13 * vy + a23 * zy
            F[l] = a00 * ux + a10 * vx + a20 * zx
            F[1 * _N + l] = a00 * uy + a10 * vy + a20 * zy
            F[2 * _N + l] = a00 * uz + a10 * vz + a20 * zz
            F[3 * _N + l] = a01 * ux + a11 * vx + a21 * zx
            F[4 * _N + l] = a01 * uy + a11 * vy + a21 * zy
            F[5 * _N + l] = a01 * uz + a11 * vz + a21 * zz
            F[6 * _N + l] = a02 * ux + a12 * vx + a22 * zx
            F[7 * _N + l] = a02 * uy + a12 * vy + a22 * zy
            F[8 * _N + l] = a02 * uz + a12 * vz + a22 * zz
    first, last = q[:_N], q[(n - 1) * _N : n * _N]
    for l in range(GROUP):
        px, py, mx, my = F[9 * _N + l], F[10 * _N + l], M[9 * _N + l], M[10 * _N + l]
        turn = arctan2(px * my - py * mx, px * mx + py * my)
        s, c = sincos(turn)
        tx, ty, tz = c * M[l] + s * M[_N + l], c * M[_N + l] - s * M[l], M[2 * _N + l]
        ux, uy, uz = c * M[3 * _N + l] + s * M[4 * _N + l], c * M[4 * _N + l] - s * M[3 * _N + l], M[5 * _N + l]
        same = F[l] * tx + F[1 * _N + l] * ty + F[2 * _N + l] * tz
        same += F[3 * _N + l] * ux + F[4 * _N + l] * uy + F[5 * _N + l] * uz
        cross = F[3 * _N + l] * tx + F[4 * _N + l] * ty + F[5 * _N + l] * tz
        cross -= F[l] * ux + F[1 * _N + l] * uy + F[2 * _N + l] * uz
        first[l] = turn
        last[l] = arctan2(cross, same)


@_compiled
def near_distances(chain: Chain, net: LaneNet, least: float, g: Group) -> None:
    """Write each head's squared distance to the reference in the joints it proposes; infinite below ``least`` odds.

    The best head of a lane always counts; ``g.head`` holds it.
    """
    outputs = net.outputs
    first = 1 if net.symmetric else 0
    limit, all_logits, all_outputs = np.float32(least), g.logits.reshape(-1), g.outputs.reshape(-1)
    for k in range(net.n_heads):
        total = g.distance[k * _N : (k + 1) * _N]
        logits = all_logits[k * _N : (k + 1) * _N]
        for l in range(GROUP):
            plausible = logits[l] >= min(g.head[_N + l], limit)
            total[l] = np.float32(0.0) if plausible else np.float32(np.inf)
        for o in range(outputs):
            j = first + o
            out = all_outputs[(k * outputs + o) * _N : (k * outputs + o + 1) * _N]
            reference = g.reference[j * _N : (j + 1) * _N]
            centre, half = chain.centre[j], chain.half[j]
            turn = 0.0 if chain.prismatic[j] else _TURN
            for l in range(GROUP):
                d = centre + half * out[l] - reference[l]
                d -= turn * np.rint(d * (1.0 / _TURN))
                total[l] += np.float32(d * d)


@_compiled
def take_nearest(chain: Chain, net: LaneNet, g: Group) -> None:
    """Choose in each lane the head with the least distance left, and write what it proposes to ``g.seed``."""
    first, outputs = 1 if net.symmetric else 0, g.outputs.reshape(-1)
    head = g.head
    for l in range(GROUP):
        head[_N + l] = np.float32(np.inf)
    for k in range(net.n_heads):
        row, number = g.distance[k * _N : (k + 1) * _N], np.float32(k)
        for l in range(GROUP):
            better = row[l] < head[_N + l]
            head[l] = number if better else head[l]
            head[_N + l] = row[l] if better else head[_N + l]
    for l in range(GROUP):
        k = int(head[l])
        g.distance[k * _N + l] = np.float32(np.inf)
        for o in range(net.outputs):
            j = first + o
            g.seed[j * _N + l] = chain.centre[j] + chain.half[j] * outputs[(k * net.outputs + o) * _N + l]
    complete(chain, net.symmetric, g.M, g.F, g.seed)


@_compiled
def unwind(chain: Chain, reference: Floats, q: Floats, distance: Floats) -> None:
    """Turn postures by whole turns toward the reference where limits allow; write the squared distances left."""
    for l in range(GROUP):
        distance[l] = 0.0
    for i in range(chain.lower.shape[0]):
        row, goal = q[i * _N : (i + 1) * _N], reference[i * _N : (i + 1) * _N]
        lower, upper = chain.lower[i], chain.upper[i]
        turn = 0.0 if chain.prismatic[i] else _TURN
        for l in range(GROUP):
            turns = np.rint((goal[l] - row[l]) * (1.0 / _TURN))
            once = row[l] + turn * turns
            back = turns - 1.0 if turns > 0.0 else turns + 1.0
            less = row[l] + turn * (0.0 if turns == 0.0 else back)
            inside = less if less >= lower and less <= upper else row[l]
            row[l] = once if once >= lower and once <= upper else inside
            distance[l] += (row[l] - goal[l]) * (row[l] - goal[l])


@_compiled
def keep_nearer(chain: Chain, g: Group, begin: bool) -> None:
    """Turn ``g.seed`` by whole turns toward the reference and keep it in ``g.best`` where it is nearer than that."""
    n = chain.lower.shape[0]
    kept, present = g.best[n * _N : (n + 1) * _N], g.best[(n + 1) * _N :]
    unwind(chain, g.reference, g.seed, present)
    # A lane without a plausible head left has proposed nothing new.
    for l in range(GROUP):
        kept[l] = np.inf if begin else kept[l]
        present[l] = present[l] if begin or g.head[_N + l] < np.float32(np.inf) else np.inf
    for i in range(n):
        q, best = g.seed[i * _N : (i + 1) * _N], g.best[i * _N : (i + 1) * _N]
        for l in range(GROUP):
            best[l] = q[l] if present[l] < kept[l] else best[l]
    for l in range(GROUP):
        kept[l] = min(kept[l], present[l])


@_compiled
def near_targets(s: Floats, begin: int, most: float, g: Group) -> None:
    """Write to ``g.near`` where the frames in ``s`` are within a weighted squared pose error of the targets.

    ``s`` holds `LANES` frames, those of the targets from ``begin`` on. The angle comes from the trace alone:
    half its sine squared is (3 - trace) / 4.
    """
    weight = 1.0 / (LENGTH * LENGTH)
    t, near = g.T[begin:], g.near[begin : begin + LANES]
    for l in range(LANES):
        trace = s[XX + l] * t[l] + s[XY + l] * t[_N + l] + s[XZ + l] * t[2 * _N + l]
        trace += s[YX + l] * t[3 * _N + l] + s[YY + l] * t[4 * _N + l] + s[YZ + l] * t[5 * _N + l]
        trace += s[ZX + l] * t[6 * _N + l] + s[ZY + l] * t[7 * _N + l] + s[ZZ + l] * t[8 * _N + l]
        half = min(max(0.25 * (3.0 - trace), 0.0), 1.0)
        angle = 2.0 * arctan2(math.sqrt(half), math.sqrt(1.0 - half))
        ex, ey, ez = t[9 * _N + l] - s[PX + l], t[10 * _N + l] - s[PY + l], t[11 * _N + l] - s[PZ + l]
        cost = weight * (ex * ex + ey * ey + ez * ez) + angle * angle
        near[l] = 1.0 if cost < most else 0.0


@_compiled
def read_targets(chain: Chain, matrices: Floats, starts: Floats, begin: int, g: Group) -> None:
    """Load the next targets, and the starts as seeds, the last repeated; ``g.valid`` is 0 where one is unusable.

    Rotations are brought to the nearest one by a Newton step toward the polar factor, R (3 - R^T R) / 2.
    """
    n = chain.lower.shape[0]
    for l in range(GROUP):
        k = min(begin + l, matrices.shape[0] - 1)
        matrix, start = matrices[k], starts[min(k, starts.shape[0] - 1)]
        for c in range(4):
            for r in range(3):
                g.T[(3 * c + r) * _N + l] = matrix[r, c]
        factor = (
            shrink(matrix)
            if math.isfinite(matrix[0, 3]) and math.isfinite(matrix[1, 3]) and math.isfinite(matrix[2, 3])
            else 1.0
        )
        for r in range(9, 12):
            g.T[r * _N + l] *= factor
        last = abs(matrix[3, 0]) + abs(matrix[3, 1]) + abs(matrix[3, 2]) + abs(matrix[3, 3] - 1.0)
        for i in range(n):
            last += 0.0 * start[i]
            g.reference[i * _N + l] = inside(chain, i, start[i])
            g.seed[i * _N + l] = g.reference[i * _N + l]
        g.valid[l], g.near[l] = last, 0.0
    t = g.T
    for l in range(GROUP):
        a, b, c = t[l], t[_N + l], t[2 * _N + l]
        d, e, f = t[3 * _N + l], t[4 * _N + l], t[5 * _N + l]
        u, v, w = t[6 * _N + l], t[7 * _N + l], t[8 * _N + l]
        s00, s11, s22 = a * a + b * b + c * c, d * d + e * e + f * f, u * u + v * v + w * w
        s01, s02, s12 = a * d + b * e + c * f, a * u + b * v + c * w, d * u + e * v + f * w
        worst = max(max(abs(s00 - 1.0), abs(s11 - 1.0)), abs(s22 - 1.0))
        worst = max(max(worst, abs(s01)), max(abs(s02), abs(s12)))
        finite = 0.0 * (t[9 * _N + l] + t[10 * _N + l] + t[11 * _N + l] + s00 + s11 + s22)
        determinant = u * (b * f - c * e) + v * (c * d - a * f) + w * (a * e - b * d)
        bad = max(worst, g.valid[l])
        good = bad <= RIGID_TOLERANCE and determinant > 0.0 and finite == 0.0 and g.valid[l] == g.valid[l]
        g.valid[l] = 1.0 if good else 0.0
        h0, h1, h2 = 0.5 * (3.0 - s00), 0.5 * (3.0 - s11), 0.5 * (3.0 - s22)
        m01, m02, m12 = -0.5 * s01, -0.5 * s02, -0.5 * s12
        t[l], t[_N + l], t[2 * _N + l] = (
            a * h0 + d * m01 + u * m02,
            b * h0 + e * m01 + v * m02,
            c * h0 + f * m01 + w * m02,
        )
        t[3 * _N + l] = a * m01 + d * h1 + u * m12
        t[4 * _N + l] = b * m01 + e * h1 + v * m12
        t[5 * _N + l] = c * m01 + f * h1 + w * m12
        t[6 * _N + l] = a * m02 + d * m12 + u * h2
        t[7 * _N + l] = b * m02 + e * m12 + v * h2
        t[8 * _N + l] = c * m02 + f * m12 + w * h2
