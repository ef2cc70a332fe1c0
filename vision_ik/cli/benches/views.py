"""Planned views: what ten of them are worth beside ten random ones, and how many an accuracy takes.

The arm is at home, and the guess that views are planned with is wrong by 10 mm and 0.6 degrees per
axis. Random views are of two kinds, both drawn until ten can be reached: as a careful person takes them
(the board 0.35-0.65 m away, tilted by up to 40 degrees, turned by up to 45), and evenly from all that
the planner may choose from. A planned view in which the board turns out not to be all in the picture
counts for nothing.
"""

from __future__ import annotations

import numpy as np

from calibration import (
    Accuracy,
    ArmNoise,
    Enough,
    Goal,
    HandEyeView,
    Workcell,
    calibrate_hand_eye,
    next_view,
    plan_views,
)
from calibration.views.candidates import Candidates
from calibration.views.information import Noise, information
from vision_ik.cli.benches import Figure, Level, Table, tell
from vision_ik.cli.benches._hand_eye_cells import ARMS, LENS, MOUNTS, PIXEL_SIGMA
from vision_ik.cli.benches._views_scenes import GUESS, PRINT, make_scene, see, shows
from vision_ik.errors import CalibrationError
from vision_ik.ik import HybridSolver, load_solver
from vision_ik.rig import Mount
from vision_ik.types import Floats

TITLE = "Planned views: what they are worth beside random ones"

_N = 10
_AT_MOST = 0.55
_CHANCES = 20
"""Random choices of ten, per seed."""
_PATIENCE = 40
"""Views after which an accuracy counts as not reached."""


def run(*, level: Level = Level.NORMAL) -> list[Figure | Table]:
    """Compare planned with random views for both mounts and two arms."""
    seeds = level.pick(quick=3, normal=50, full=100)
    figures: list[Figure | Table] = []
    rows: list[tuple[str | float, ...]] = []
    worst: list[float] = []
    worst_even: list[float] = []
    lost, shown = 0, 0
    for robot in ("panda", "ur5e"):
        solver = load_solver(robot)
        for mount in MOUNTS:
            tell(f"{robot}, {_words(mount)}")
            table, missed = _compare(solver, mount, seeds)
            lost, shown = lost + missed, shown + _N * len(table)
            planned, careful, even, error, error_careful = _rms(table).tolist()
            worst.append(planned / careful)
            worst_even.append(planned / even)
            rows.append(
                (
                    f"{robot}, {_words(mount)}",
                    planned * 1e3,
                    careful * 1e3,
                    even * 1e3,
                    planned / careful,
                    float(np.percentile(table[:, 0] / table[:, 1], 95.0)),
                    planned / even,
                    error * 1e3,
                    error_careful * 1e3,
                )
            )
    for kind, ratios in (("careful", worst), ("even", worst_even)):
        figures.append(
            Figure(
                name=f"{_N} planned views against {_N} random ones ({kind}): ratio of the bounds, worst of four cells",
                value=max(ratios),
                target=f"at most {_AT_MOST}",
                met=max(ratios) <= _AT_MOST,
                note=f"{seeds} seeds a cell; Cramer-Rao bound of the camera's position; {_conditions()}",
            )
        )
    figures.append(
        Figure(
            name="planned views that show all of the board",
            value=100.0 * (1.0 - lost / shown),
            unit="%",
            note=f"of {shown}; the guess is wrong by {GUESS * 1e3:.0f} mm and {np.rad2deg(GUESS):.1f} deg per axis",
        )
    )
    figures.append(
        Table(
            name=f"Error of the camera's position after {_N} views [mm]",
            columns=(
                "arm, mount",
                "bound, planned",
                "bound, random careful",
                "bound, random even",
                "ratio to careful",
                "its p95",
                "ratio to even",
                "our error, planned",
                "our error, random careful",
            ),
            rows=tuple(rows),
            note=f"root mean square over {seeds} seeds; {_conditions()}",
        )
    )
    figures.append(_until(level))
    return figures


def _compare(solver: HybridSolver, mount: Mount, seeds: int) -> tuple[Floats, int]:
    """Return per seed the bounds of planned, careful and even views and our errors with the first two [m].

    Also how many planned views lost the board.
    """
    rows: list[list[float]] = []
    missed = 0
    for seed in range(seeds):
        rng = np.random.default_rng((seed, 7))
        scene = make_scene(solver, mount, rng)
        plan = plan_views(
            solver.robot,
            solver,
            LENS,
            PRINT,
            T_mount_camera=scene.guess.T_mount_camera,
            T_holder_board=scene.guess.T_holder_board,
            guess_covariance=scene.guess.guess_covariance,
            mount=mount,
            n=_N,
            seed=seed,
        )
        flanges = solver.robot.forward(plan.postures)
        seen = shows(scene.truth, flanges)
        missed += int((~seen).sum())
        chosen = rng.choice(len(scene.careful), _N, replace=False)
        rows.append(
            [
                _bound(scene.truth, flanges[seen]),
                _chance(scene.truth, scene.careful, rng),
                _chance(scene.truth, scene.even, rng),
                _error(scene.truth, flanges[seen], ARMS["cobot"], rng),
                _error(scene.truth, scene.careful.Ts_base_flange[chosen], ARMS["cobot"], rng),
            ]
        )
    return np.array(rows), missed


def _until(level: Level) -> Table:
    """Return how many views it takes until the calibration itself says that an accuracy is reached."""
    seeds = level.pick(quick=1, normal=6, full=50)
    solver = load_solver("panda")
    rows: list[tuple[str | float, ...]] = []
    for arm, wanted in (("cobot", 1.0), ("cobot", 0.5), ("hobby", 2.0)):
        for mount in MOUNTS:
            tell(f"views until {wanted} mm, {arm}, {_words(mount)}")
            goal = Goal(accuracy=Accuracy(translation=wanted * 1e-3, rotation=1.0), fewest=4, most=_PATIENCE)
            found = np.array([_race(solver, mount, arm, goal, seed) for seed in range(seeds)])
            planned, chance = np.median(found[:, :2], axis=0).tolist()
            rows.append((f"{arm}, {_words(mount)}", wanted, planned, chance, *(1e3 * _rms(found[:, 2:])).tolist()))
    return Table(
        name="Views until the calibration states the accuracy asked for (median)",
        columns=("arm, mount", "asked [mm]", "planned one by one", "random careful", "then off by [mm]", "random [mm]"),
        rows=tuple(rows),
        note=f"{seeds} seeds, Panda; both start from the same 3 random views; noise levels estimated; "
        f"not reached counts as {_PATIENCE}",
    )


def _race(solver: HybridSolver, mount: Mount, arm: str, goal: Goal, seed: int) -> list[float]:
    """Return the views it takes planned and at random, and how far off the camera then is in truth [m]."""
    rng = np.random.default_rng((seed, 11))
    scene = make_scene(solver, mount, rng)
    order = rng.permutation(len(scene.careful))
    noise, flanges = ARMS[arm], scene.careful.Ts_base_flange[order]
    start = [see(scene.truth, T, noise, rng) for T in flanges[:3]]

    def fit(views: list[HandEyeView]) -> tuple[float, float]:
        try:
            result = calibrate_hand_eye(views, intrinsics=LENS, mount=mount)
        except CalibrationError:
            return np.inf, np.inf
        return result.sigma_translation, result.T_mount_camera.distance_to(scene.truth.T_mount_camera)[0]

    views, q = list(start), scene.home
    while True:
        result = calibrate_hand_eye(views, intrinsics=LENS, mount=mount)
        visited = np.stack([view.flange.matrix for view in views])
        step = next_view(scene.guess, result, goal, q=q, home=scene.home, visited=visited, samples=1500, seed=seed)
        if isinstance(step, Enough) or len(views) >= goal.most:
            planned, off = len(views), result.T_mount_camera.distance_to(scene.truth.T_mount_camera)[0]
            break
        q = step.q
        if shows(scene.truth, step.T_base_flange[None])[0]:
            views.append(see(scene.truth, step.T_base_flange, noise, rng))
    views = list(start)
    sigma, error = fit(views)
    while len(views) < goal.most and not (len(views) >= goal.fewest and sigma <= goal.accuracy.translation):
        views.append(see(scene.truth, flanges[len(views)], noise, rng))
        sigma, error = fit(views)
    return [planned, len(views), off, error]


def _chance(truth: Workcell, pool: Candidates, rng: np.random.Generator) -> float:
    """Return the root mean square bound of random choices [m]."""
    picks = [rng.choice(len(pool), _N, replace=False) for _ in range(_CHANCES)]
    return float(np.sqrt(np.mean([_bound(truth, pool.Ts_base_flange[pick]) ** 2 for pick in picks])))


def _bound(truth: Workcell, flanges: Floats) -> float:
    """Return the least root mean square error of the camera's position [m], noise levels known."""
    total = information(truth, flanges, Noise(pixel=PIXEL_SIGMA, arm=ARMS["cobot"])).sum(axis=0)
    return Accuracy.of(np.linalg.inv(total)).translation


def _error(truth: Workcell, flanges: Floats, arm: ArmNoise, rng: np.random.Generator) -> float:
    """Return how far off a calibration from these views is [m]."""
    views = [see(truth, T, arm, rng) for T in flanges]
    found = calibrate_hand_eye(views, intrinsics=LENS, mount=truth.mount)
    return found.T_mount_camera.distance_to(truth.T_mount_camera)[0]


def _rms(table: Floats) -> Floats:
    return np.sqrt(np.mean(np.square(table), axis=0))


def _words(mount: Mount) -> str:
    return mount.replace("_", " ")


def _conditions() -> str:
    arm = ARMS["cobot"]
    return f"640x480, {PIXEL_SIGMA} px, {arm.translation * 1e3:g} mm / {np.rad2deg(arm.rotation):g} deg, 6x4 corners"
