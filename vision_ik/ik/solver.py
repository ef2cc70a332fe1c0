"""The solver a program holds: learned seeds, exact refinement, one compiled call a target."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import ArrayLike

from vision_ik.errors import InvalidPoseError
from vision_ik.ik import search
from vision_ik.ik.chain import Chain, make_chain
from vision_ik.ik.packed import Packed, pack
from vision_ik.ik.seeds import NO_NET, Net
from vision_ik.ik.variants import LearnedSeeds
from vision_ik.robots import RobotModel
from vision_ik.transforms import Transform, TransformLike
from vision_ik.types import Floats, IkBatch, IkSolution, IkStatus

_STATUS = tuple(IkStatus)
_APART = 1e-3
"""[rad, m] Solutions of a non-redundant arm that differ less are the same."""
_APART_REDUNDANT = 0.3
"""[rad, m] Spacing of the samples on the self-motion of a redundant arm."""
_MOST = 64
"""Distinct solutions listed at most."""
_CHUNK = 256
"""Targets a thread takes at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class HybridSolver:
    """Inverse kinematics of one arm with one tool. Immutable, and safe to share among threads.

    The same call gives the same answer: no state is kept, and random restarts have a fixed seed.
    See `vision_ik.ik.search` for how seeds are ordered and which solution is kept.

    Build it with `load_solver`.
    """

    robot: RobotModel
    T_flange_tool: Transform
    """Pose of the tool on the flange; targets are poses of the tool."""
    settings: search.Settings
    chain: Chain
    net: Net
    """Empty where the solver has no learned seeds."""
    packed: Packed
    """Both again, in few arrays."""
    threads: int = 1
    """Threads a batch may use."""
    seeds: LearnedSeeds | None = None
    """Where ``net`` comes from and what it is worth on this arm; None where seeds are random by choice."""

    @property
    def learned(self) -> bool:
        """Whether seeds come from a trained network."""
        return self.net.rank.shape[1] > 0

    def solve(self, T_base_tool: TransformLike, q_start: ArrayLike | None = None) -> IkSolution:
        """Return joint angles for a pose of the tool, near ``q_start``, or the closest posture with the reason.

        A start whose pose is near the target is followed without a change of posture. Otherwise the
        network's plausible seeds are refined, those nearest to the start first, until one converges; the
        solution is near the start, not proven nearest: `solve_all` lists what there is.

        Args:
            T_base_tool: Target pose of the tool in the base frame.
            q_start: (n,) posture to stay near [rad, m], moved inside the limits first; home if None.

        Raises:
            InvalidPoseError: The target is not a finite rigid transform.
            ValueError: ``q_start`` has another length, or is not finite.
        """
        begin = perf_counter()
        matrix = _matrix(T_base_tool)
        start = np.array(self.robot.home if q_start is None else q_start, dtype=np.float64)
        if start.shape != (self.chain.lower.shape[0],):
            raise ValueError(f"q_start must have shape ({self.robot.n},), not {start.shape}.")
        q, status, m, rad, kind, steps = search.solve_single(
            self.packed, self.settings, matrix, start, q_start is not None
        )
        if status == search.INVALID:
            _complain(matrix, start)
        q.setflags(write=False)
        return _solution(q, _STATUS[status], m, rad, search.SEED_NAMES[kind], steps, perf_counter() - begin)

    def solve_batch(self, Ts_base_tool: ArrayLike, q_start: ArrayLike | None = None) -> IkBatch:
        """Solve (N, 4, 4) poses, each as `solve` would; invalid ones get NaN and ``IkStatus.INVALID``.

        Args:
            Ts_base_tool: Target poses of the tool in the base frame.
            q_start: (n,) for all or (N, n) [rad, m]; home if None.

        Raises:
            ValueError: Shapes do not fit.
        """
        matrices = np.array(Ts_base_tool, dtype=np.float64, order="C")
        if matrices.size == 0:
            matrices = matrices.reshape(0, 4, 4)
        starts = np.atleast_2d(np.array(self.robot.home if q_start is None else q_start, dtype=np.float64, order="C"))
        count, n = len(matrices), self.robot.n
        if matrices.shape[1:] != (4, 4):
            raise ValueError(f"Targets must have shape (N, 4, 4), not {matrices.shape}.")
        if starts.ndim != 2 or starts.shape[1] != n or (len(starts) not in (1, count)):
            raise ValueError(f"q_start must have shape ({n},) or ({count}, {n}), not {starts.shape}.")
        q, errors = np.empty((count, n)), np.empty((count, 2))
        status, steps = np.empty(count, np.int64), np.empty(count, np.int64)

        def work(begin: int) -> None:
            part = slice(begin, begin + size)
            search.solve_many(
                self.chain,
                self.net,
                self.settings,
                matrices[part],
                starts[part] if len(starts) > 1 else starts,
                q_start is not None,
                q[part],
                status[part],
                errors[part],
                steps[part],
            )

        size = _CHUNK if self.threads > 1 else max(count, 1)
        if self.threads > 1 and count > _CHUNK:
            with ThreadPoolExecutor(self.threads) as pool:
                list(pool.map(work, range(0, count, size)))
        elif count:
            size = count
            work(0)
        return IkBatch(q=q, status=status, position_error=errors[:, 0], rotation_error=errors[:, 1], iterations=steps)

    def solve_all(self, T_base_tool: TransformLike, q_start: ArrayLike | None = None) -> list[IkSolution]:
        """Return distinct solutions, nearest to ``q_start`` (home if None) first; empty if there is none.

        Every head and ``settings.restarts`` random postures are refined. Postures that differ by whole turns count
        as one. A redundant arm has a continuum of solutions: samples at least 0.3 rad apart are returned.

        Raises:
            InvalidPoseError: The target is not a finite rigid transform.
            ValueError: ``q_start`` has another length, or is not finite.
        """
        begin = perf_counter()
        matrix = _matrix(T_base_tool)
        start = np.array(self.robot.home if q_start is None else q_start, dtype=np.float64)
        if start.shape != (self.robot.n,) or not np.isfinite(start).all():
            raise ValueError(f"q_start must be ({self.robot.n},) finite numbers, not {start!r}.")
        start = np.clip(start, self.chain.lower, self.chain.upper)
        q, info = np.empty((_MOST, self.robot.n)), np.empty((_MOST, 4))
        apart = _APART if self.robot.n <= 6 else _APART_REDUNDANT
        count = search.solve_distinct(self.chain, self.net, self.settings, matrix, start, apart, q, info)
        if count < 0:
            _complain(matrix, start)
        duration = perf_counter() - begin
        nearest_first = np.argsort(np.linalg.norm(q[:count] - start, axis=1), kind="stable")
        return [
            IkSolution(
                q=q[k],
                status=IkStatus.CONVERGED,
                position_error=float(info[k, 0]),
                rotation_error=float(info[k, 1]),
                seed=search.SEED_NAMES[int(info[k, 2])],
                iterations=int(info[k, 3]),
                duration=duration,
            )
            for k in nearest_first
        ]


def make_solver(
    robot: RobotModel,
    *,
    net: Net = NO_NET,
    seeds: LearnedSeeds | None = None,
    T_flange_tool: Transform | None = None,
    tolerance_m: float = 1e-6,
    tolerance_rad: float = 1e-6,
    restarts: int = 40,
    seed: int = 0,
    threads: int = 1,
) -> HybridSolver:
    """Return a solver for ``robot`` with the seeds of ``net``.

    Raises:
        ValueError: A tolerance is below what doubles can reach, or a count is negative.
    """
    if not (tolerance_m >= 1e-12 and tolerance_rad >= 1e-12):
        raise ValueError(f"Tolerances must be at least 1e-12, not {tolerance_m} m and {tolerance_rad} rad.")
    if restarts < 0 or threads < 1:
        raise ValueError(f"restarts ({restarts}) must not be negative, and threads ({threads}) at least 1.")
    chain = make_chain(robot, T_flange_tool)
    return HybridSolver(
        robot=robot,
        T_flange_tool=Transform.identity() if T_flange_tool is None else T_flange_tool,
        settings=search.Settings(
            tolerance_m=float(tolerance_m),
            tolerance_rad=float(tolerance_rad),
            iterations=30,
            collect=1,
            heads=12,
            restarts=int(restarts),
            seed=int(seed),
        ),
        chain=chain,
        net=net,
        packed=pack(chain, net),
        threads=threads,
        seeds=seeds,
    )


_SET = tuple(
    IkSolution.__dict__[name].__set__
    for name in ("q", "status", "position_error", "rotation_error", "seed", "iterations", "duration")
)


def _solution(*values: object) -> IkSolution:
    """Return an IkSolution of values in field order that need no checking.

    Its constructor copies and checks ``q``, which costs 3 us: as much as the solve itself.
    """
    solution = IkSolution.__new__(IkSolution)
    for put, value in zip(_SET, values, strict=True):
        put(solution, value)
    return solution


def _matrix(pose: TransformLike) -> Floats:
    """Return the (4, 4) array of a pose without checking its values: the compiled solver does."""
    if isinstance(pose, Transform):
        return pose.matrix.copy()
    try:
        matrix = np.array(pose, dtype=np.float64, order="C")
    except (TypeError, ValueError) as error:
        raise InvalidPoseError(
            f"A pose must be a (4, 4) array: {error}.", "Pass a Transform or a 4x4 array."
        ) from error
    if matrix.shape != (4, 4):
        raise InvalidPoseError(
            f"A pose must have shape (4, 4), not {matrix.shape}.", "Pass a Transform or a 4x4 array."
        )
    return matrix


def _complain(matrix: Floats, start: Floats) -> None:
    """Raise for what the compiled solver refused."""
    if not np.isfinite(start).all():
        raise ValueError(f"q_start must be finite, not {start.tolist()}.")
    Transform(matrix)
    raise InvalidPoseError(
        "The target is not a rigid transform within 1e-6.",
        "Check its rotation, or pass it through Transform.",
        matrix=matrix,
    )
