"""Sub-pixel corners of markers: one homography through every edge of the printed pattern, with its covariance.

Corner detectors look at a few pixels of a corner that is no saddle; the edges hold far more,
and where the bits are known those inside the marker hold more than its border. A search along
the normals of the border brings the quad to within a fraction of a pixel. Then each edge of each
cell is fitted to the pixels around it (no interpolation): level, contrast, blur and place of a
step blurred by a Gaussian and by a straight path during the exposure and seen by square pixels,
which for a known blur is the maximum-likelihood estimate. The places, weighted by what the pixels'
own scatter says of each, give the homography; edges that do not fit (covered, in glare, cut by a
shadow) lose their weight.

Where the lens is known its bending of straight lines is added to the homography as a polynomial
over the marker, so that any lens model costs the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vision_ik.tags.corners.kernels import approach, refine_one, stay
from vision_ik.tags.corners.maps import map_square
from vision_ik.tags.projection import project_rays, undistort
from vision_ik.types import CameraIntrinsics, Floats, Image

_DEGREE = 5
"""Of the polynomial (along either axis) by which a lens bends the lines of a marker."""
_NODES = 7


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RefinedCorners:
    """Corners moved onto the edges of their markers, and how well the picture fixes them."""

    corners: Floats
    """(N, 4, 2) [px]; as they were where ``refined`` is false."""
    covariance: Floats
    """(N, 8, 8) [px^2] of (x0, y0, x1, ...); NaN where ``refined`` is false."""
    refined: NDArray[np.bool_]
    """(N,) False where too little of the marker's edges can be followed."""


def refine_corners(gray: Image, quads: Floats, cells: int, intrinsics: CameraIntrinsics | None = None) -> Floats:
    """Return the corners (N, 4, 2) moved onto the border's edges, for markers whose bits are not known.

    Args:
        gray: (H, W) picture.
        quads: (N, 4, 2) corners [px], clockwise in the picture.
        cells: Cells along an edge, border included.
        intrinsics: Lens, or None to take edges as straight in the picture.

    Returns:
        (N, 4, 2) [px]; a marker whose edges cannot be followed keeps its corners.
    """
    return refine_markers(gray, quads, cells, intrinsics).corners


def refine_markers(
    gray: Image,
    quads: Floats,
    cells: int | Sequence[Image],
    intrinsics: CameraIntrinsics | None = None,
) -> RefinedCorners:
    """Move the corners of markers onto their edges and tell how sure they are.

    Args:
        gray: (H, W) picture.
        quads: (N, 4, 2) corners [px], clockwise in the picture, in the order of the cells' corners:
            top-left, top-right, bottom-right, bottom-left of the upright marker where its cells are given.
        cells: Cells along an edge, border included, for markers whose bits are not known (only the
            border is used then, black on white or white on black); or for each marker its (n, n)
            cells with border, see :func:`vision_ik.tags.families.marker_cells`.
        intrinsics: Lens, or None to take edges as straight in the picture.
    """
    quads = np.ascontiguousarray(quads, dtype=np.float64).reshape(-1, 4, 2)
    gray = np.ascontiguousarray(gray)
    count = len(quads)
    if not isinstance(cells, int) and len(cells) != count:
        raise ValueError(f"{count} markers need as many patterns, not {len(cells)}.")
    lens = None if intrinsics is None or _is_straight(intrinsics) else intrinsics
    corners, covariance = quads.copy(), np.full((count, 8, 8), np.nan)
    blur = np.zeros(count)
    for i, bend in enumerate(_bends(quads, lens)):
        if min(gray.shape) > 1 and np.isfinite(quads[i]).all() and np.isfinite(bend).all():
            n = cells if isinstance(cells, int) else len(cells[i])
            blur[i] = approach(gray, corners[i], n, bend)
    corners[blur == 0.0] = quads[blur == 0.0]
    # What a lens does to a marker depends on where the marker is: only now is that known well enough.
    for i, bend in enumerate(_bends(corners, lens)):
        if blur[i] != 0.0 and np.isfinite(bend).all():
            blur[i] *= _refine(
                gray, corners[i], cells if isinstance(cells, int) else cells[i], bend, blur[i], covariance[i]
            )
    refined = blur != 0.0
    corners[~refined], covariance[~refined] = quads[~refined], np.nan
    return RefinedCorners(corners=corners, covariance=covariance, refined=refined)


def refine_visible(
    gray: Image,
    quad: Floats,
    cells: Image,
    visible: NDArray[np.bool_],
    blur_px: float,
    intrinsics: CameraIntrinsics | None = None,
) -> tuple[Floats, Floats] | None:
    """Refine one marker of which something is hidden, and whose place is known to a fraction of a cell.

    Args:
        gray: (H, W) picture.
        quad: (4, 2) corners [px] as in :func:`refine_markers`.
        cells: (n, n) cells with border.
        visible: (n, n) which of them are seen; edges beside the others are left out. Or (n + 4, n + 4), with two
            cells of paper around.
        blur_px: Width of the steps at edges [px] (root mean square, squared weights).
        intrinsics: Lens, or None to take edges as straight in the picture.

    Returns:
        Corners (4, 2) [px] and their covariance (8, 8) [px^2]; None where too little can be followed.
    """
    gray = np.ascontiguousarray(gray)
    moved, covariance = np.array(quad, dtype=np.float64), np.empty((8, 8))
    lens = None if intrinsics is None or _is_straight(intrinsics) else intrinsics
    bend = _bends(moved[None], lens)[0]
    if min(gray.shape) < 2 or not (np.isfinite(moved).all() and np.isfinite(bend).all()):
        return None
    blur = stay(gray, moved, len(cells), bend, blur_px)
    hidden = ~visible if len(visible) > len(cells) else np.pad(~visible, 2)
    good = _refine(gray, moved, cells, bend, blur, covariance, hidden=hidden)
    return (moved, covariance) if good else None


def _refine(
    gray: Image,
    quad: Floats,
    cells: int | Image,
    bend: Floats,
    blur: float,
    covariance: Floats,
    *,
    hidden: NDArray[np.bool_] | None = None,
) -> bool:
    known = not isinstance(cells, int)
    n = len(cells) if known else cells
    # Paper around; what is not known is read on the way.
    white = np.ones((n + 4, n + 4), dtype=np.int64)
    white[2:-2, 2:-2] = np.asarray(cells) > 0 if known else 0
    covered = np.zeros((n + 4, n + 4), dtype=np.bool_) if hidden is None else hidden
    return refine_one(gray, quad, n, white, known, covered, bend, blur, covariance)


def _is_straight(intrinsics: CameraIntrinsics) -> bool:
    return intrinsics.model == "pinhole" and not np.any(intrinsics.distortion)


def _bends(quads: Floats, lens: CameraIntrinsics | None) -> Floats:
    """Return the polynomials (N, 6, 6, 2) [px] by which the lens bends the lines of quads, over V and U in [-1, 1]."""
    if lens is None or not len(quads):
        return np.zeros((len(quads), 0, 0, 2))
    square, fit = _nodes()
    rays = undistort(quads.reshape(-1, 2), lens).reshape(-1, 4, 2)
    straight, true = np.empty((2, len(quads), len(square), 2))
    for i in range(len(quads)):
        map_square(quads[i], square, straight[i])
        map_square(rays[i], square, true[i])
    bent = project_rays(true.reshape(-1, 2), lens).reshape(true.shape)
    side = _DEGREE + 1
    return np.ascontiguousarray((fit @ (bent - straight)).reshape(-1, side, side, 2))


@lru_cache(maxsize=1)
def _nodes() -> tuple[Floats, Floats]:
    """Return points (49, 2) over the square and the (36, 49) matrix that fits the polynomial to values there."""
    nodes = -np.cos(np.pi * np.arange(_NODES) / (_NODES - 1))
    V, U = (grid.ravel() for grid in np.meshgrid(nodes, nodes, indexing="ij"))
    powers = np.arange(_DEGREE + 1)
    design = (V[:, None, None] ** powers[:, None] * U[:, None, None] ** powers).reshape(len(U), -1)
    return np.column_stack([U, V]), np.linalg.pinv(design)
