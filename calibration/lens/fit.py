"""One least-squares fit of a lens, and what each view contributed to it.

Levenberg-Marquardt over the lens and all poses at once, the poses taken out by Schur's complement
(Triggs et al., Bundle adjustment: a modern synthesis, 2000, section 6). It agrees with OpenCV's
calibrateCamera where that converges, takes every lens model alike, and keeps the contribution of
each view, which is what an honest uncertainty needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from calibration import batch
from calibration.lens.terms import BENDS, Terms, View, lens_of, start_pose, terms
from vision_ik.errors import CalibrationError
from vision_ik.types import CameraIntrinsics, Floats, LensModel

_ITERATIONS = 60
_CONVERGED = 1e-10
"""Relative decrease of the squares that ends the fit."""
_FOCALS: dict[str, tuple[float, ...]] = {"pinhole": (0.6, 0.9, 1.3, 2.2), "fisheye": (0.3, 0.4, 0.55, 0.8, 1.3)}
"""Focal lengths to start from, as shares of the longer side."""
_CLEAR = 1.0
"""[px] Residual, without any distortion, at which no other focal length needs to be tried."""
_WIDEST = 1.9
"""[rad] Off the axis; a fisheye start that puts a corner beyond is none."""
_LARGEST_CONDITION = 1e13
_MORE = "Add views with the board tilted by 20 to 45 degrees in several directions."


@dataclass(frozen=True, slots=True, eq=False)
class LensFit:
    """A fitted lens."""

    intrinsics: CameraIntrinsics
    bend: Floats
    """(3,) [m], or (0,) where the board was taken as flat."""
    poses: Floats
    """(N, 6) Rodrigues vector and translation of T_camera_board per view."""
    scores: Floats
    """(N, q) of each view: derivative of half its squares by the shared unknowns, its pose taken out; they sum to 0."""
    information: Floats
    """(N, q, q) of each view on the shared unknowns, for corner noise of 1 px."""
    variance: float
    """[px^2] Of a corner's coordinate, if corner errors were independent."""
    view_rms: Floats
    """(N,) [px] Distance between corners and their projection."""
    counts: Floats
    """(N,) corners per view."""

    @property
    def parameters(self) -> Floats:
        """(p,) fx, fy, cx, cy, distortion."""
        return parameters(self.intrinsics)

    @property
    def shared(self) -> Floats:
        """(q,) lens, then bend."""
        return np.concatenate([self.parameters, self.bend])

    def part(self, rows: Sequence[int]) -> LensFit:
        """Return the fit with the poses of some views only: a start for fitting those."""
        kept = list(rows)
        return replace(self, poses=self.poses[kept], scores=self.scores[kept], information=self.information[kept])

    @property
    def covariance(self) -> Floats:
        """(q, q) of the shared unknowns, if corner errors were independent."""
        return batch.inverse(self.information.sum(axis=0)) * self.variance


def parameters(lens: CameraIntrinsics) -> Floats:
    """Return (fx, fy, cx, cy, distortion...)."""
    return np.concatenate([[lens.K[0, 0], lens.K[1, 1], lens.K[0, 2], lens.K[1, 2]], lens.distortion])


def fit_lens(
    views: Sequence[View],
    image_size: tuple[int, int],
    model: LensModel,
    coefficients: int,
    *,
    start: LensFit | None = None,
    bend: bool = False,
    iterations: int = _ITERATIONS,
) -> LensFit:
    """Fit a lens and the board's poses to all corners by least squares.

    Args:
        views: Of one board, prepared together.
        image_size: Width and height [px].
        model: Lens model.
        coefficients: Of the distortion.
        start: A fit of the same model to the same views.
        bend: Also find how the board is bent.
        iterations: At most.

    Raises:
        CalibrationError: The optimisation fails, or the views leave a parameter undetermined.
    """
    bends = BENDS if bend else 0
    problem = _Problem(list(views), image_size, model, 4 if model == "fisheye" else coefficients, bends)
    try:
        state = problem.begin() if start is None else problem.resume(start)
        if state is None:
            raise ValueError("no start explains the views")
        shared, poses = problem.minimise(*state, free=np.ones(problem.count, dtype=bool), iterations=iterations)
        return problem.summarise(shared, poses)
    except (cv2.error, ValueError, np.linalg.LinAlgError) as error:
        raise CalibrationError(
            f"The lens could not be fitted to these {len(views)} views: {str(error).splitlines()[-1].strip()}.",
            "Add views with the board tilted by 20 to 45 degrees, and check the board's layout.",
        ) from error


class _Problem:
    """The views, and which unknowns they share."""

    def __init__(
        self, views: list[View], image_size: tuple[int, int], model: LensModel, coefficients: int, bends: int
    ) -> None:
        self._views, self._size = views, image_size
        self._model: LensModel = model
        self._coefficients, self._bends = coefficients, bends
        self.count = 4 + coefficients + bends

    def begin(self) -> tuple[Floats, Floats] | None:
        """Return the best start of several focal lengths: shared unknowns (q,) and poses (N, 6)."""
        best: tuple[float, Floats, Floats] | None = None
        free = np.zeros(self.count, dtype=bool)
        free[:4] = True
        for focal in self._focals():
            shared = np.zeros(self.count)
            shared[:4] = focal, focal, 0.5 * (self._size[0] - 1), 0.5 * (self._size[1] - 1)
            poses = self._poses(shared)
            if poses is None:
                continue
            shared, poses = self.minimise(shared, poses, free=free, iterations=6)
            squares = sum(t.squares for t in self._terms(shared, poses))
            if best is None or squares < best[0]:
                best = squares, shared, poses
            if squares < _CLEAR**2 * sum(view.count for view in self._views):
                break
        if best is None:
            return None
        free[:6] = True
        shared, poses = self.minimise(best[1], best[2], free=free, iterations=15)
        again = self._poses(shared)  # a view that began with the mirrored pose gets another chance
        return shared, poses if again is None else again

    def resume(self, start: LensFit) -> tuple[Floats, Floats]:
        """Return the unknowns of an earlier fit; a bend it did not have is 0."""
        shared = np.zeros(self.count)
        shared[: 4 + self._coefficients] = start.parameters
        if self._bends and len(start.bend):
            shared[-self._bends :] = start.bend
        return shared, start.poses.copy()

    def minimise(
        self, shared: Floats, poses: Floats, *, free: np.ndarray[tuple[int], np.dtype[np.bool_]], iterations: int
    ) -> tuple[Floats, Floats]:
        """Return the unknowns of least squares, from a start."""
        now = self._terms(shared, poses)
        squares = sum(t.squares for t in now)
        damping = 1e-3
        for _ in range(iterations):
            step, pose_steps = _step(now, free, damping)
            moved, moved_poses = shared + step, poses + pose_steps
            try:
                then = self._terms(moved, moved_poses)
                less = sum(t.squares for t in then)
            except (ValueError, cv2.error):  # no lens any more
                then, less = now, np.inf
            if less < squares and (self._model == "fisheye" or (moved_poses[:, 5] > 0.0).all()):
                done = squares - less <= _CONVERGED * squares
                shared, poses, now, squares = moved, moved_poses, then, less
                damping = max(0.1 * damping, 1e-12)
                if done:
                    break
            else:
                damping *= 20.0
                if damping > 1e8:
                    break
        return shared, poses

    def summarise(self, shared: Floats, poses: Floats) -> LensFit:
        reached = self._terms(shared, poses)
        parts = [reduced(t) for t in reached]
        information, scores = np.stack([A for A, _ in parts]), np.stack([b for _, b in parts])
        counts = np.array([view.count for view in self._views], dtype=np.float64)
        total = information.sum(axis=0)
        scale = np.sqrt(np.maximum(np.diag(total), 0.0))
        dof = 2.0 * float(counts.sum()) - 6.0 * len(poses) - self.count
        if dof < 1.0 or not (scale > 0).all() or np.linalg.cond(total / np.outer(scale, scale)) > _LARGEST_CONDITION:
            raise CalibrationError(f"These {len(poses)} views leave the lens undetermined.", _MORE)
        squares = np.array([t.squares for t in reached])
        plain = [t.residuals / np.repeat(v.weights, 2) for t, v in zip(reached, self._views, strict=True)]
        return LensFit(
            lens_of(shared, self._size, self._model, self._coefficients),
            shared[self.count - self._bends :],
            poses,
            scores,
            information,
            float(squares.sum()) / dof,
            np.sqrt(np.array([float(r @ r) for r in plain]) / counts),
            counts,
        )

    def _terms(self, shared: Floats, poses: Floats) -> list[Terms]:
        lens = lens_of(shared, self._size, self._model, self._coefficients)
        bend = shared[self.count - self._bends :]
        found = [terms(view, pose, lens, bend) for view, pose in zip(self._views, poses, strict=True)]
        if not all(np.isfinite(t.squares) for t in found):
            raise ValueError("a projection is not finite")
        return found

    def _poses(self, shared: Floats) -> Floats | None:
        lens = lens_of(shared, self._size, self._model, self._coefficients)
        poses = [start_pose(view, lens) for view in self._views]
        known = [pose for pose in poses if pose is not None]
        return np.stack(known) if len(known) == len(poses) else None

    def _focals(self) -> list[float]:
        longer = float(max(self._size))
        focals = [share * longer for share in _FOCALS[self._model]]
        if self._model == "fisheye":
            centre = 0.5 * (np.array(self._size) - 1.0)
            reach = max(float(np.linalg.norm(view.pixels - centre, axis=1).max()) for view in self._views)
            return [focal for focal in focals if reach < _WIDEST * focal] or [reach / _WIDEST]
        guess = cv2.initCameraMatrix2D(
            [view.points.astype(np.float32) for view in self._views],
            [view.pixels.astype(np.float32) for view in self._views],
            self._size,
            0,
        )
        planar = float(np.sqrt(abs(guess[0, 0] * guess[1, 1])))
        return [planar, *focals] if 0.2 * longer < planar < 20.0 * longer else focals


def reduced(t: Terms) -> tuple[Floats, Floats]:
    """Return information (q, q) and score (q,) of a view on the shared unknowns, its pose taken out."""
    coupling = t.by_shared.T @ t.by_pose
    gain = np.linalg.solve(t.by_pose.T @ t.by_pose, coupling.T)
    return t.by_shared.T @ t.by_shared - coupling @ gain, t.by_shared.T @ t.residuals - gain.T @ (
        t.by_pose.T @ t.residuals
    )


def _step(now: list[Terms], free: np.ndarray[tuple[int], np.dtype[np.bool_]], damping: float) -> tuple[Floats, Floats]:
    """Return the damped step of the shared unknowns (q,) and of the poses (N, 6)."""
    H = sum((t.by_shared.T @ t.by_shared for t in now), np.zeros((len(free), len(free))))
    H = H + damping * np.diag(np.diag(H))
    right = sum((t.by_shared.T @ t.residuals for t in now), np.zeros(len(free)))
    parts: list[tuple[Floats, Floats]] = []
    for t in now:
        P = t.by_pose.T @ t.by_pose
        P = P + damping * np.diag(np.diag(P))
        coupling = t.by_shared.T @ t.by_pose
        own = t.by_pose.T @ t.residuals
        solved = np.asarray(np.linalg.solve(P, np.column_stack([coupling.T, own])), dtype=np.float64)
        H = H - coupling @ solved[:, :-1]
        right = right - coupling @ solved[:, -1]
        parts.append((solved[:, :-1], solved[:, -1]))
    step = np.zeros(len(free))
    scale = np.sqrt(np.maximum(np.diag(H)[free], 1e-300))
    step[free] = np.linalg.solve(H[np.ix_(free, free)] / np.outer(scale, scale), right[free] / scale) / scale
    return step, np.stack([alone - gain @ step for gain, alone in parts])
