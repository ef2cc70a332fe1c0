"""The solver a program holds: learned seeds, exact refinement, one compiled call a target."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vision_ik.ik import batch, reasons, search, selection, single
from vision_ik.ik.chain import Chain, make_chain
from vision_ik.ik.collision import CollisionModel
from vision_ik.ik.collision_kernels import posture_collides
from vision_ik.ik.lane_net import LaneNet, make_lane_net
from vision_ik.ik.objective import Objective, check_objective
from vision_ik.ik.packed import Packed, pack
from vision_ik.ik.seeds import NO_NET, Net
from vision_ik.ik.task import Goal, IkTask, Locked, Weights, make_goal
from vision_ik.ik.task_search import NO_SHAPE, Arm
from vision_ik.ik.values import complain, read_matrices, read_matrix, solved
from vision_ik.ik.variants import LearnedSeeds
from vision_ik.robots import RobotModel
from vision_ik.transforms import Transform, TransformLike
from vision_ik.types import Floats, IkBatch, IkSolution

if TYPE_CHECKING:
    from vision_ik.ik.cuda import CudaBatch

_CHUNK = 2048
"""Targets taken at a time, by a thread where there are several: what is kept of them fits into the cache."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
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
    """All three again, in few arrays, for single targets."""
    lanes: LaneNet
    """The network again, for many targets."""
    threads: int = 1
    """Threads a batch may use."""
    seeds: LearnedSeeds | None = None
    """Where ``net`` comes from and what it is worth on this arm; None where seeds are random by choice."""
    collision: CollisionModel | None = None
    """Keeps solutions in which the arm touches itself from being given; None if that does not matter."""

    def __repr__(self) -> str:
        return (
            f"HybridSolver(robot={self.robot.name!r}, learned={self.learned}, "
            f"tolerance_m={self.settings.tolerance_m:g}, tolerance_rad={self.settings.tolerance_rad:g}, "
            f"threads={self.threads}, self_collision={self.collision is not None})"
        )

    @property
    def learned(self) -> bool:
        """Whether seeds come from a trained network."""
        return self.net.rank.shape[1] > 0

    def solve(
        self,
        T_base_tool: TransformLike,
        q_start: ArrayLike | None = None,
        *,
        task: IkTask | None = None,
        objective: Objective = "near",
        locked: Locked | None = None,
        joint_weights: Weights | None = None,
    ) -> IkSolution:
        """Return joint angles for a pose of the tool, near ``q_start``, or the closest posture with the reason.

        A start whose pose is near the target is followed without a change of posture; where that cannot be (at a
        singularity, at a limit) the nearest of all solutions is sought, so that no arm leaps farther than it must,
        which takes a millisecond or two. A converged solution may thus lie far from ``q_start``, where
        there is none nearer: whoever moves an arm looks at the difference first. Otherwise the network's plausible
        seeds are refined, those nearest to the start first, until one converges; the solution is near the start, not
        proven nearest: ``objective="nearest"`` looks at every branch, and goes down the self-motion of a redundant
        arm, at some hundred times the cost.

        Args:
            T_base_tool: Target pose of the tool in the base frame.
            q_start: (n,) posture to stay near [rad, m], moved inside the limits first; it is also the first seed. If
                None, solutions are near home, but home itself is not tried first for a whole pose.
            task: What of the pose has to be reached: see `IkTask`. The solution's errors are what is left of
                that, beyond its dead bands.
            objective: Which solution is wanted. ``"near"``: the first one found near the start. ``"nearest"``: the
                one with the smallest distance to it. ``"manipulability"`` or ``"limit_margin"``: the one where it is
                largest; or a function of q (n,): the one where it is smallest. These are the best of what `solve_all`
                lists, and of a continuum that lists samples: not proven optima.
            locked: Joints that must not move: names mapped to where they are held, None for the start's value;
                or names alone.
            joint_weights: By name, or (n,): a joint of weight 2 moves a quarter as readily in a step, and counts
                twice in the distance to the start.

        Raises:
            InvalidPoseError: The target is not a finite rigid transform.
            TypeError: ``task`` is no IkTask.
            ValueError: ``q_start`` has another length, or is not finite; an option makes no sense.
        """
        begin = perf_counter()
        matrix = read_matrix(T_base_tool)
        start = np.array(self.robot.home if q_start is None else q_start, dtype=np.float64)
        if start.shape != (self.chain.lower.shape[0],):
            raise ValueError(f"q_start must have shape ({self.robot.n},), not {start.shape}.")
        if task is None and objective == "near" and locked is None and joint_weights is None:
            q, status, m, rad, kind, steps = self._solve_plain(matrix, start, q_start is not None)
        else:
            goal = make_goal(self.robot, task, locked, joint_weights)
            q, status, m, rad, kind, steps = self._search(matrix, start, q_start is not None, goal, objective)
        if status == search.INVALID:
            complain(matrix, start)
        return solved(q, status, m, rad, kind, steps, perf_counter() - begin)

    def solve_batch(
        self,
        Ts_base_tool: ArrayLike,
        q_start: ArrayLike | None = None,
        *,
        task: IkTask | None = None,
        objective: Objective = "near",
        locked: Locked | None = None,
        joint_weights: Weights | None = None,
    ) -> IkBatch:
        """Solve (N, 4, 4) poses as `solve` does; invalid ones get NaN and ``IkStatus.INVALID``.

        Sixteen poses at a time share the processor's vector lanes. Where a start is far, its solution may be a
        little farther from it than the one that `solve` finds. Size and threads do not change the answers.

        Args:
            Ts_base_tool: Target poses of the tool in the base frame.
            q_start: (n,) for all or (N, n) [rad, m]; home if None.
            task: See `solve`, as for the other options; those but "near" cost a Python call a target.
            objective: See `solve`.
            locked: See `solve`.
            joint_weights: See `solve`.

        Raises:
            InvalidPoseError: The targets are not real numbers.
            TypeError: ``task`` is no IkTask.
            ValueError: Shapes do not fit, or an option makes no sense.
        """
        matrices = read_matrices(Ts_base_tool)
        starts = np.atleast_2d(np.array(self.robot.home if q_start is None else q_start, dtype=np.float64, order="C"))
        count, n = len(matrices), self.robot.n
        if starts.ndim != 2 or starts.shape[1] != n or (len(starts) not in (1, count)):
            raise ValueError(f"q_start must have shape ({n},) or ({count}, {n}), not {starts.shape}.")
        plain = task is None and objective == "near" and locked is None and joint_weights is None
        plain = plain and self.collision is None
        check_objective(objective)
        goal = make_goal(self.robot, task, locked, joint_weights)
        q, errors = np.empty((count, n)), np.empty((count, 2))
        status, steps = np.empty(count, np.int64), np.empty(count, np.int64)

        def work(part: slice) -> None:
            own = starts[part] if len(starts) > 1 else starts
            out = q[part], status[part], errors[part], steps[part]
            if plain:
                if batch.solve_many(
                    self.chain, self.lanes, self.settings, matrices[part], own, q_start is not None, *out
                ):
                    self._finish(matrices[part], own, q_start is not None, *out)
            else:
                selection.solve_many(self._arm, goal, objective, matrices[part], own, q_start is not None, out)

        parts = [slice(begin, begin + _CHUNK) for begin in range(0, count, _CHUNK)]
        if self.threads > 1 and len(parts) > 1:
            with ThreadPoolExecutor(self.threads) as pool:
                list(pool.map(work, parts))
        else:
            for part in parts:
                work(part)
        return IkBatch(q=q, status=status, position_error=errors[:, 0], rotation_error=errors[:, 1], iterations=steps)

    def solve_all(
        self,
        T_base_tool: TransformLike,
        q_start: ArrayLike | None = None,
        *,
        task: IkTask | None = None,
        locked: Locked | None = None,
        joint_weights: Weights | None = None,
        whole_turns: bool = False,
        spacing: float = selection.SPACING,
        most: int | None = None,
    ) -> list[IkSolution]:
        """Return distinct solutions, nearest to ``q_start`` (home if None) first; empty if there is none.

        Where solutions are isolated, each is listed. Where they form a continuum (a redundant arm, a task that leaves
        something free) the self-motions are walked, and samples spread evenly over them are listed.

        Args:
            T_base_tool: Target pose of the tool in the base frame.
            q_start: (n,) posture to measure from [rad, m], moved inside the limits first; home if None.
            task: See `solve`.
            locked: See `solve`.
            joint_weights: See `solve`.
            whole_turns: Whether postures that differ by whole turns of a joint are listed one by one. By default
                the one nearest to the start stands for them: they look alike, and an arm with six joints of two
                turns each has 64 for every branch.
            spacing: Of samples in joint space [rad, m].
            most: Solutions listed at most; if None, 64 samples of self-motions, or all branches (512 with their turns).

        Raises:
            InvalidPoseError: The target is not a finite rigid transform.
            ValueError: ``q_start`` has another length, or is not finite; an option makes no sense.
        """
        begin = perf_counter()
        matrix = read_matrix(T_base_tool)
        start = np.array(self.robot.home if q_start is None else q_start, dtype=np.float64)
        if start.shape != (self.robot.n,) or not np.isfinite(start).all():
            raise ValueError(f"q_start must be ({self.robot.n},) finite numbers, not {start!r}.")
        if not spacing > 0.0 or (most is not None and most < 1):
            raise ValueError(f"spacing ({spacing}) must be positive, and most ({most}) at least 1.")
        found = selection.list_all(
            self._arm,
            make_goal(self.robot, task, locked, joint_weights),
            matrix,
            np.clip(start, self.chain.lower, self.chain.upper),
            whole_turns=whole_turns,
            spacing=spacing,
            most=most,
        )
        if found is None:
            complain(matrix, start)
            return []
        duration = perf_counter() - begin
        return [solved(*answer, duration) for answer in found]

    def on_device(self, device: str = "cuda") -> CudaBatch:
        """Return a solver of batches on a GPU, for whole poses; its kernels compile once on a machine.

        Raises:
            MissingDependencyError: Warp (the extra ``cuda``) is not installed, or there is no such device.
        """
        from vision_ik.ik.cuda import CudaBatch

        return CudaBatch(self.chain, self.net, self.settings, device)

    def warm_up(self) -> None:
        """Compile, or load from the cache on disk, what `solve` of a whole pose may need, ahead of a loop.

        A task, a batch or a listing compiles at its own first call.
        """
        home = self.robot.home
        T = self.robot.forward(home) @ self.T_flange_tool.matrix
        beyond = T.copy()
        beyond[:3, 3] += 10.0 * self.chain.reach
        for start in (None, home):
            self.solve(T, start)
            self.solve(beyond, start)
        self.solve(T, home, objective="nearest")
        if self.collision is not None:  # what follows a solution that collides
            self._search(T, home.copy(), True, make_goal(self.robot))

    def explain(self, solution: IkSolution) -> str:
        """Return one sentence on how a solve ended: what is missing, and which joints or touching links are to blame.

        Raises:
            TypeError: ``solution`` is no IkSolution.
        """
        return reasons.explain(self.robot, solution, self.collision)

    @property
    def _arm(self) -> Arm:
        return Arm(self.chain, self.net, self.settings, NO_SHAPE if self.collision is None else self.collision.arrays)

    def _collides(self, q: Floats) -> bool:
        return self.collision is not None and posture_collides(
            self.collision.arrays, self.chain.fixed, self.chain.prismatic, q
        )

    def _solve_plain(
        self, matrix: Floats, start: Floats, has_start: bool
    ) -> tuple[Floats, int, float, float, int, int]:
        """Solve for the whole pose, near the start."""
        answer = single.solve_single(*self.packed, matrix, start, has_start)
        *_, ended, m, rad, kind, steps, leaps = answer.tolist()
        q, status = answer[:-6], int(ended)
        if status == search.CONVERGED:
            if leaps:
                return self._search(matrix, start, True, make_goal(self.robot), "nearest")
            if self.collision is not None and self._collides(q):
                return self._search(matrix, start, has_start, make_goal(self.robot))
        elif status != search.INVALID:
            status = reasons.classify(self.chain, make_goal(self.robot), matrix, q)
        return q, status, m, rad, int(kind), int(steps)

    def _finish(
        self,
        matrices: Floats,
        starts: Floats,
        has_start: bool,
        q: Floats,
        status: NDArray[np.int64],
        errors: Floats,
        steps: NDArray[np.int64],
    ) -> None:
        """Solve one by one what the lanes have left."""
        for k in np.flatnonzero(status == batch.PENDING):
            start = starts[min(int(k), len(starts) - 1)]
            q[k], status[k], errors[k, 0], errors[k, 1], _, more = self._solve_plain(matrices[k], start, has_start)
            steps[k] += more

    def _search(
        self, matrix: Floats, start: Floats, has_start: bool, goal: Goal, objective: Objective = "near"
    ) -> selection.Answer:
        check_objective(objective)
        return selection.solve(self._arm, goal, objective, matrix, start, has_start)


def make_solver(
    robot: RobotModel,
    *,
    net: Net = NO_NET,
    seeds: LearnedSeeds | None = None,
    T_flange_tool: Transform | None = None,
    tolerance_m: float = 1e-6,
    tolerance_rad: float = 1e-6,
    restarts: int = 100,
    seed: int = 0,
    threads: int = 1,
    self_collision: bool | CollisionModel = False,
) -> HybridSolver:
    """Return a solver for ``robot`` with the seeds of ``net``.

    Raises:
        RobotError: ``self_collision`` is True, and the shape of some link is unknown.
        ValueError: A tolerance is below what doubles can reach, or a count is negative.
    """
    if not (tolerance_m >= 1e-12 and tolerance_rad >= 1e-12):
        raise ValueError(f"Tolerances must be at least 1e-12, not {tolerance_m} m and {tolerance_rad} rad.")
    if restarts < 0 or threads < 1:
        raise ValueError(f"restarts ({restarts}) must not be negative, and threads ({threads}) at least 1.")
    chain = make_chain(robot, T_flange_tool)
    settings = search.Settings(
        tolerance_m=float(tolerance_m),
        tolerance_rad=float(tolerance_rad),
        iterations=30,
        heads=12,
        restarts=int(restarts),
        seed=int(seed),
    )
    return HybridSolver(
        robot=robot,
        T_flange_tool=Transform.identity() if T_flange_tool is None else T_flange_tool,
        settings=settings,
        chain=chain,
        net=net,
        packed=pack(chain, net, settings),
        lanes=make_lane_net(net),
        threads=threads,
        seeds=seeds,
        collision=CollisionModel.from_whole_robot(robot) if self_collision is True else self_collision or None,
    )
