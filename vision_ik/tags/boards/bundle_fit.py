"""Bundle adjustment: all tag poses and all camera poses at once, by robust least squares.

The cameras are eliminated (Schur complement; Triggs et al., "Bundle adjustment: a modern
synthesis", 2000, section 6.1): what is left is one small system in the poses of the tags, whose
inverse is their covariance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vision_ik.tags.projection import project
from vision_ik.transforms import Transform
from vision_ik.types import CameraIntrinsics, Floats, tag_corners

_MAX_STEPS = 60
_CONVERGED = 1e-9
"""Relative decrease of the cost that ends the fit."""
_ROBUST = 3.0
"""Deviation of a tag's corners (rms, in sigmas) from which its weight falls (Cauchy)."""


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """Corners of one tag in one view."""

    view: int
    tag_id: int
    corners: Floats
    """(4, 2) [px]"""
    whitening: Floats
    """(8, 8) that turns errors [px] into standard deviations."""


@dataclass(slots=True, eq=False)
class BundleFit:
    """What the fit arrived at."""

    Ts_bundle_tag: dict[int, Transform]
    Ts_camera_bundle: list[Transform]
    covariances: dict[int, Floats]
    """(6, 6) of T_bundle_tag, tangent at the pose, for errors of one sigma."""
    deviations: Floats
    """(M,) of each sight: rms of its corners' errors in sigmas."""
    errors: Floats
    """(M,) the same in pixels."""


def adjust(
    sights: Sequence[Sight],
    Ts_bundle_tag: Mapping[int, Transform],
    Ts_camera_bundle: Sequence[Transform],
    sizes: Mapping[int, float],
    intrinsics: CameraIntrinsics,
    reference: int,
) -> BundleFit:
    """Return the poses that fit all sights best; the reference tag stays where it is.

    Levenberg-Marquardt on right perturbations of all poses.
    """
    problem = _Problem(sights, sizes, intrinsics, reference)
    tags, cameras = dict(Ts_bundle_tag), list(Ts_camera_bundle)
    damping = 1e-4
    state = problem.linearise(tags, cameras)
    for _ in range(_MAX_STEPS):
        step = problem.step(state, damping)
        moved_tags = {
            i: T if i == reference else T @ Transform.exp(step.tags[problem.column[i]]) for i, T in tags.items()
        }
        moved_cameras = [T @ Transform.exp(xi) for T, xi in zip(cameras, step.cameras, strict=True)]
        moved = problem.linearise(moved_tags, moved_cameras)
        if moved.cost <= state.cost:
            converged = state.cost - moved.cost <= _CONVERGED * state.cost
            tags, cameras, state = moved_tags, moved_cameras, moved
            damping = max(0.2 * damping, 1e-9)
            if converged:
                break
        elif damping > 1e6:
            break
        else:
            damping *= 8.0
    inverse = np.asarray(np.linalg.pinv(problem.reduce(state, 0.0)[0], hermitian=True), dtype=np.float64)
    covariances = {i: np.zeros((6, 6)) for i in tags}
    for tag_id, k in problem.column.items():
        covariances[tag_id] = inverse[6 * k : 6 * k + 6, 6 * k : 6 * k + 6]
    return BundleFit(
        {i: Transform(T.matrix) for i, T in tags.items()}, cameras, covariances, state.deviations, state.errors
    )


@dataclass(slots=True, eq=False)
class _Normal:
    """Normal equations at one estimate."""

    cost: float
    cameras: Floats
    """(V, 6, 6)"""
    camera_gradients: Floats
    """(V, 6)"""
    tags: Floats
    """(T, 6, 6)"""
    tag_gradients: Floats
    """(T, 6)"""
    mixed: Floats
    """(V, 6, 6 T)"""
    deviations: Floats
    errors: Floats


@dataclass(slots=True, eq=False)
class _Step:
    tags: Floats
    cameras: Floats


class _Problem:
    def __init__(
        self, sights: Sequence[Sight], sizes: Mapping[int, float], intrinsics: CameraIntrinsics, reference: int
    ) -> None:
        self._sights = sights
        self._corners = {i: tag_corners(size) for i, size in sizes.items()}
        self._intrinsics = intrinsics
        free = sorted({s.tag_id for s in sights} - {reference})
        self.column = {tag_id: k for k, tag_id in enumerate(free)}
        """Place of each tag that is free to move among the unknowns."""

    def linearise(self, tags: Mapping[int, Transform], cameras: Sequence[Transform]) -> _Normal:
        n, views = len(self.column), len(cameras)
        normal = _Normal(
            0.0,
            np.zeros((views, 6, 6)),
            np.zeros((views, 6)),
            np.zeros((n, 6, 6)),
            np.zeros((n, 6)),
            np.zeros((views, 6, 6 * n)),
            np.empty(len(self._sights)),
            np.empty(len(self._sights)),
        )
        carry = {i: T.inv().adjoint() for i, T in tags.items()}
        for m, sight in enumerate(self._sights):
            T_camera_tag = cameras[sight.view] @ tags[sight.tag_id]
            uv, J = project(self._corners[sight.tag_id], T_camera_tag, self._intrinsics)
            error = (uv - sight.corners).ravel()
            residual = sight.whitening @ error
            square = float(residual @ residual) / len(residual)
            if not np.isfinite(square):  # behind the camera: such a step is refused
                normal.cost = np.inf
                return normal
            normal.cost += _ROBUST**2 * np.log1p(square / _ROBUST**2)
            normal.deviations[m], normal.errors[m] = np.sqrt(square), np.sqrt(error @ error / 4.0)
            by_tag = sight.whitening @ J.reshape(8, 6)
            by_camera = by_tag @ carry[sight.tag_id]
            weight = 1.0 / (1.0 + square / _ROBUST**2)
            v = sight.view
            normal.cameras[v] += weight * by_camera.T @ by_camera
            normal.camera_gradients[v] += weight * by_camera.T @ residual
            if sight.tag_id in self.column:
                k = self.column[sight.tag_id]
                normal.tags[k] += weight * by_tag.T @ by_tag
                normal.tag_gradients[k] += weight * by_tag.T @ residual
                normal.mixed[v, :, 6 * k : 6 * k + 6] += weight * by_camera.T @ by_tag
        return normal

    def reduce(self, normal: _Normal, damping: float) -> tuple[Floats, Floats, Floats]:
        """Return the system of the tags alone, its right side, and the inverse blocks of the cameras."""
        n = len(self.column)
        blocks = np.asarray(np.linalg.inv(_damped(normal.cameras, damping)), dtype=np.float64)
        S = np.zeros((6 * n, 6 * n))
        for k, block in enumerate(_damped(normal.tags, damping)):
            S[6 * k : 6 * k + 6, 6 * k : 6 * k + 6] = block
        carried = np.einsum("vij,vjk->vik", blocks, normal.mixed)
        S -= np.einsum("vij,vik->jk", normal.mixed, carried)
        g = normal.tag_gradients.ravel() - np.einsum("vij,vi->j", carried, normal.camera_gradients)
        return S, g, blocks

    def step(self, normal: _Normal, damping: float) -> _Step:
        S, g, blocks = self.reduce(normal, damping)
        tags = np.asarray(-np.linalg.lstsq(S, g, rcond=None)[0], dtype=np.float64)
        rest = normal.camera_gradients + normal.mixed @ tags
        cameras = -np.einsum("vij,vj->vi", blocks, rest)
        return _Step(tags.reshape(-1, 6), cameras)


def _damped(blocks: Floats, damping: float) -> Floats:
    """Return blocks (N, 6, 6) with their diagonals raised by ``damping`` (Marquardt), never singular."""
    diagonal = np.einsum("nii->ni", blocks)
    raised = damping * diagonal + 1e-12 * diagonal.sum(axis=1, keepdims=True) + 1e-300
    return blocks + raised[:, :, None] * np.eye(6)
