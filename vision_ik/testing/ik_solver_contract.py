"""What every IK solver must keep."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vision_ik.robots import RobotModel
from vision_ik.testing.contract import Check, require, require_raises
from vision_ik.transforms import Transform
from vision_ik.types import Floats, IkSolution, IkSolver, IkStatus


def ik_solver_contract(
    make: Callable[[], IkSolver],
    robot: RobotModel,
    *,
    targets: int = 20,
    position_tolerance: float = 1e-5,
    rotation_tolerance: float = 1e-5,
) -> list[Check]:
    """Return the checks for a solver of the robot's flange (no tool).

    Args:
        make: Builds the solver.
        robot: Whose poses it solves.
        targets: Random reachable poses tried.
        position_tolerance: Of a solution that calls itself converged [m].
        rotation_tolerance: [rad]
    """
    solver = make()
    postures = _postures(robot, targets)
    Ts = np.stack([robot.forward(q) for q in postures])

    def converged_solutions_are_exact() -> None:
        for T in Ts:
            solution = solver.solve(T)
            if solution.converged:
                _require_reached(robot, solution, T, position_tolerance, rotation_tolerance)

    def most_reachable_poses_are_solved() -> None:
        solved = sum(solver.solve(T).converged for T in Ts)
        require(solved >= 0.9 * targets, f"Only {solved} of {targets} reachable poses were solved.")

    def solutions_stay_inside_the_limits() -> None:
        for T in Ts:
            q = solver.solve(T).q
            require(bool((q >= robot.lower).all() and (q <= robot.upper).all()), f"{q.tolist()} is outside.")

    def a_start_at_the_solution_is_kept() -> None:
        for q, T in zip(postures, Ts, strict=True):
            found = solver.solve(T, q_start=q).q
            require(float(np.abs(found - q).max()) < 1e-3, "Another posture was returned than the one given.")

    def unreachable_poses_are_told_not_raised() -> None:
        far = Transform.from_translation((50.0, 0.0, 0.0))
        solution = solver.solve(far)
        require(solution.status == IkStatus.UNREACHABLE, f"50 m away the status is {solution.status!r}.")
        require(solution.position_error > 10.0, f"50 m away the stated error is {solution.position_error} m.")
        require(bool((solution.q >= robot.lower).all() and (solution.q <= robot.upper).all()), "q is outside.")

    def the_same_call_gives_the_same_answer() -> None:
        for solved in (solver, make()):
            again = solved.solve(Ts[0], q_start=postures[-1]).q
            first = solver.solve(Ts[0], q_start=postures[-1]).q
            require(bool((again == first).all()), f"One call gave {first.tolist()}, the same one {again.tolist()}.")

    def a_pose_that_is_not_finite_is_refused() -> None:
        require_raises(ValueError, lambda: solver.solve(np.full((4, 4), np.nan)))

    def a_batch_has_one_row_per_pose() -> None:
        bad = np.concatenate([Ts, np.full((1, 4, 4), np.nan)])
        batch = solver.solve_batch(bad)
        n = targets + 1
        shapes = batch.q.shape, batch.status.shape, batch.position_error.shape, batch.rotation_error.shape
        require(shapes == ((n, robot.n), (n,), (n,), (n,)), f"The shapes are {shapes}.")
        require(int(batch.status[-1]) == IkStatus.INVALID, "A NaN pose is not INVALID in the batch.")
        require(bool(batch.converged[:-1].mean() >= 0.9), "Fewer than 90 % of the batch converged.")

    def all_solutions_are_distinct_and_nearest_first() -> None:
        q_start, T = postures[0], Ts[0]
        found = solver.solve_all(T, q_start=q_start)
        require(len(found) >= 1, "No solution was listed.")
        distances: list[float] = []
        for solution in found:
            _require_reached(robot, solution, T, position_tolerance, rotation_tolerance)
            distances.append(float(np.linalg.norm(solution.q - q_start)))
        require(bool((np.diff(distances) >= -1e-6).all()), "The order is not by distance from the start.")

    return [
        Check("A solution that calls itself converged reaches its pose.", converged_solutions_are_exact),
        Check("Nine of ten reachable poses are solved.", most_reachable_poses_are_solved),
        Check("Solutions stay inside the joint limits.", solutions_stay_inside_the_limits),
        Check("A start that already reaches the pose is kept.", a_start_at_the_solution_is_kept),
        Check("A pose out of reach is told by status and error.", unreachable_poses_are_told_not_raised),
        Check("The same call gives the same answer, of another such solver too.", the_same_call_gives_the_same_answer),
        Check("A pose with NaN raises ValueError.", a_pose_that_is_not_finite_is_refused),
        Check("A batch has one row per pose and marks invalid ones.", a_batch_has_one_row_per_pose),
        Check("All solutions: exact, nearest to the start first.", all_solutions_are_distinct_and_nearest_first),
    ]


def _postures(robot: RobotModel, count: int) -> Floats:
    """Return (count, n) random postures in the middle 80 % of the range."""
    rng = np.random.default_rng(0)
    middle = 0.5 * (robot.sample_lower + robot.sample_upper)
    half = 0.4 * (robot.sample_upper - robot.sample_lower)
    return middle + half * rng.uniform(-1.0, 1.0, (count, robot.n))


def _require_reached(robot: RobotModel, solution: IkSolution, T: Floats, metres: float, radians: float) -> None:
    m, rad = Transform(robot.forward(solution.q)).distance_to(Transform(T))
    require(m <= metres and rad <= radians, f"It is {m:.2g} m and {rad:.2g} rad away.")
