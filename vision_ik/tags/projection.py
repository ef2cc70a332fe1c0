"""Projection of points, its derivatives and its inverse, for every lens model, on points and exactly.

The models are OpenCV's: the pinhole with 0, 4, 5, 8, 12 or 14 coefficients (k1 k2 p1 p2 k3, k4 k5 k6 of the
rational model, s1..s4 of the thin prism, tau_x tau_y of the tilted sensor) and the fisheye of four (Kannala
and Brandt, "A generic camera model", TPAMI 2006). A lens polynomial is true up to the radius at which it
folds back; beyond that nothing is inverted, so a pixel has its one ray or none.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numba import njit

from vision_ik.transforms import Transform
from vision_ik.types import CameraIntrinsics, Floats

_compiled = njit(cache=True, nogil=True, error_model="numpy")

STRAIGHT, _BENT, _TILTED, FISHEYE = 0.0, 1.0, 2.0, 3.0
"""Kinds of lens: no distortion, distortion, distortion and a tilted sensor, fisheye."""
_COEFFICIENTS, _TILT, _UNTILT, REACH = 6, 20, 29, 38
"""Where a packed lens keeps its parts, after fx, fy, cx, cy, skew and its kind; the last is the radius (a tangent,
or for a fisheye an angle) up to which it does not fold back."""
_WIDEST = 20.0
"""Tangent of the angle from the axis up to which a pinhole lens is searched for its fold."""
_SCAN = 2000
_EXACT = 1e-12
"""Inversion error in normalised coordinates: 1e-9 px for any lens there is."""


@lru_cache(maxsize=64)
def pack_lens(intrinsics: CameraIntrinsics) -> Floats:
    """Return the lens (39,) as the kernels take it."""
    K, given = intrinsics.K, intrinsics.distortion
    lens = np.zeros(39)
    lens[:5] = K[0, 0], K[1, 1], K[0, 2], K[1, 2], K[0, 1]
    lens[_COEFFICIENTS : _COEFFICIENTS + len(given)] = given
    if intrinsics.model == "fisheye":
        lens[5] = FISHEYE
    elif np.any(given):
        lens[5] = _TILTED if np.any(given[12:]) else _BENT
    tilt = _tilt(*given[12:]) if lens[5] == _TILTED else np.eye(3)
    lens[_TILT:_UNTILT] = tilt.ravel()
    lens[_UNTILT:REACH] = np.linalg.inv(tilt).ravel()
    lens[REACH] = _reach(lens)
    lens.setflags(write=False)
    return lens


def project(points: Floats, T_camera_object: Transform, intrinsics: CameraIntrinsics) -> tuple[Floats, Floats]:
    """Project points and differentiate by the pose.

    Args:
        points: (N, 3) [m] in the object's frame.
        T_camera_object: Pose of the object.
        intrinsics: Lens.

    Returns:
        Pixels (N, 2) and their Jacobian (N, 2, 6) by a right perturbation (v, w) of the pose:
        with p_camera = R p + t, the chain rule gives d uv / d xi = (d uv / d p_camera) R [I, -skew(p)].
    """
    objects = np.ascontiguousarray(points, dtype=np.float64).reshape(-1, 3)
    uv, J = np.empty((len(objects), 2)), np.empty((2 * len(objects), 6))
    project_all(objects, T_camera_object.matrix, pack_lens(intrinsics), uv, J)
    return uv, J.reshape(-1, 2, 6)


def undistort(points_image: Floats, intrinsics: CameraIntrinsics) -> Floats:
    """Return the normalised rays (N, 2), x/z and y/z, of pixels (N, 2); NaN where the lens maps none there."""
    rays = bearings(points_image, intrinsics)
    with np.errstate(all="ignore"):
        return np.where(rays[:, 2:] > 1e-3, rays[:, :2] / rays[:, 2:], np.nan)


def bearings(points_image: Floats, intrinsics: CameraIntrinsics) -> Floats:
    """Return the unit directions (N, 3) in the camera frame of pixels (N, 2); NaN where the lens maps none there."""
    pixels = np.ascontiguousarray(points_image, dtype=np.float64).reshape(-1, 2)
    rays = np.empty((len(pixels), 3))
    bearings_all(pixels, pack_lens(intrinsics), rays)
    return rays


def project_rays(rays: Floats, intrinsics: CameraIntrinsics) -> Floats:
    """Return the pixels (N, 2) of normalised rays (N, 2), the inverse of :func:`undistort`; NaN stays NaN."""
    objects = np.column_stack([rays, np.ones(len(rays))])
    return project(objects, Transform.identity(), intrinsics)[0]


@_compiled
def project_all(points: Floats, T: Floats, lens: Floats, uv: Floats, J: Floats) -> None:
    """Write the pixels ``uv`` (N, 2) of object points (N, 3) and their derivatives ``J`` (2N, 6) by the pose ``T``."""
    for i in range(len(points)):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        u, v, ux, uy, uz, vx, vy, vz = project_point(
            lens,
            T[0, 0] * x + T[0, 1] * y + T[0, 2] * z + T[0, 3],
            T[1, 0] * x + T[1, 1] * y + T[1, 2] * z + T[1, 3],
            T[2, 0] * x + T[2, 1] * y + T[2, 2] * z + T[2, 3],
        )
        uv[i, 0], uv[i, 1] = u, v
        for k in range(2):
            dx, dy, dz = (ux, uy, uz) if k == 0 else (vx, vy, vz)
            a = dx * T[0, 0] + dy * T[1, 0] + dz * T[2, 0]
            b = dx * T[0, 1] + dy * T[1, 1] + dz * T[2, 1]
            c = dx * T[0, 2] + dy * T[1, 2] + dz * T[2, 2]
            row = 2 * i + k
            J[row, 0], J[row, 1], J[row, 2] = a, b, c
            # -(a, b, c) skew(p) = p x (a, b, c), as skew(p)' = -skew(p).
            J[row, 3], J[row, 4], J[row, 5] = y * c - z * b, z * a - x * c, x * b - y * a


@_compiled
def project_point(
    lens: Floats, x: float, y: float, z: float
) -> tuple[float, float, float, float, float, float, float, float]:
    """Return u, v [px] of a point [m] of the camera frame, and (u_x, u_y, u_z, v_x, v_y, v_z) [px/m]."""
    if lens[5] == FISHEYE:
        p, px, py, pz, q, qx, qy, qz = _through_fisheye(lens, x, y, z)
    else:
        a, b, w = x / z, y / z, 1.0 / z
        p, q, pa, pb, qa, qb = a, b, 1.0, 0.0, 0.0, 1.0
        if lens[5] != STRAIGHT:
            p, q, pa, pb, qa, qb = _distort(lens, a, b)
        if lens[5] == _TILTED:
            p, q, pa, pb, qa, qb = _turn(lens[_TILT:_UNTILT], p, q, pa, pb, qa, qb)
        px, py, pz = pa * w, pb * w, -(pa * a + pb * b) * w
        qx, qy, qz = qa * w, qb * w, -(qa * a + qb * b) * w
    fx, fy, skew = lens[0], lens[1], lens[4]
    u, v = fx * p + skew * q + lens[2], fy * q + lens[3]
    return u, v, fx * px + skew * qx, fx * py + skew * qy, fx * pz + skew * qz, fy * qx, fy * qy, fy * qz


@_compiled
def _distort(lens: Floats, a: float, b: float) -> tuple[float, float, float, float, float, float]:
    """Return the distorted coordinates of the ray (a, b, 1) and their derivatives (p_a, p_b, q_a, q_b)."""
    k1, k2, p1, p2, k3, k4, k5, k6 = lens[6], lens[7], lens[8], lens[9], lens[10], lens[11], lens[12], lens[13]
    s1, s2, s3, s4 = lens[14], lens[15], lens[16], lens[17]
    r2 = a * a + b * b
    below = 1.0 + r2 * (k4 + r2 * (k5 + r2 * k6))
    g = (1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))) / below
    slope = (k1 + r2 * (2.0 * k2 + 3.0 * k3 * r2) - g * (k4 + r2 * (2.0 * k5 + 3.0 * k6 * r2))) / below
    p = a * g + 2.0 * p1 * a * b + p2 * (r2 + 2.0 * a * a) + r2 * (s1 + s2 * r2)
    q = b * g + p1 * (r2 + 2.0 * b * b) + 2.0 * p2 * a * b + r2 * (s3 + s4 * r2)
    prism_p, prism_q = 2.0 * (s1 + 2.0 * s2 * r2), 2.0 * (s3 + 2.0 * s4 * r2)
    cross = 2.0 * (a * b * slope + p1 * a + p2 * b)
    pa = g + 2.0 * a * a * slope + 2.0 * p1 * b + 6.0 * p2 * a + a * prism_p
    qb = g + 2.0 * b * b * slope + 6.0 * p1 * b + 2.0 * p2 * a + b * prism_q
    return p, q, pa, cross + b * prism_p, cross + a * prism_q, qb


@_compiled
def _turn(
    M: Floats, p: float, q: float, pa: float, pb: float, qa: float, qb: float
) -> tuple[float, float, float, float, float, float]:
    """Apply the homography ``M`` (9,) to a point and to its derivatives."""
    w = 1.0 / (M[6] * p + M[7] * q + M[8])
    s, t = (M[0] * p + M[1] * q + M[2]) * w, (M[3] * p + M[4] * q + M[5]) * w
    sp, sq = (M[0] - s * M[6]) * w, (M[1] - s * M[7]) * w
    tp, tq = (M[3] - t * M[6]) * w, (M[4] - t * M[7]) * w
    return s, t, sp * pa + sq * qa, sp * pb + sq * qb, tp * pa + tq * qa, tp * pb + tq * qb


@_compiled
def _through_fisheye(
    lens: Floats, x: float, y: float, z: float
) -> tuple[float, float, float, float, float, float, float, float]:
    """Return p, p_x, p_y, p_z and q, q_x, q_y, q_z of a point of the camera frame; points behind it are seen too."""
    rho = math.sqrt(x * x + y * y)
    if rho < 1e-9 * z:
        w = 1.0 / z
        return x * w, w, 0.0, -x * w * w, y * w, 0.0, w, -y * w * w
    theta = math.atan2(rho, z)
    bent, slope = _bend(lens, theta)
    s, far2 = bent / rho, rho * rho + z * z
    along = (slope * z / far2 - s) / rho  # of s by rho
    sx, sy, sz = along * x / rho, along * y / rho, -slope / far2
    return x * s, s + x * sx, x * sy, x * sz, y * s, y * sx, s + y * sy, y * sz


@_compiled
def _bend(lens: Floats, theta: float) -> tuple[float, float]:
    """Return the fisheye's radius for the angle ``theta`` [rad] from the axis, and its derivative."""
    t2 = theta * theta
    k1, k2, k3, k4 = lens[6], lens[7], lens[8], lens[9]
    radius = theta * (1.0 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4))))
    return radius, 1.0 + t2 * (3.0 * k1 + t2 * (5.0 * k2 + t2 * (7.0 * k3 + 9.0 * t2 * k4)))


@_compiled
def _radial(lens: Floats, r: float) -> tuple[float, float]:
    """Return the distorted radius for ``r`` (a tangent, or for a fisheye an angle) and its derivative."""
    if lens[5] == FISHEYE:
        return _bend(lens, r)
    r2 = r * r
    below = 1.0 + r2 * (lens[11] + r2 * (lens[12] + r2 * lens[13]))
    g = (1.0 + r2 * (lens[6] + r2 * (lens[7] + r2 * lens[10]))) / below
    slope = lens[6] + r2 * (2.0 * lens[7] + 3.0 * lens[10] * r2)
    slope -= g * (lens[11] + r2 * (2.0 * lens[12] + 3.0 * lens[13] * r2))
    return r * g, (g + 2.0 * r2 * slope / below) if below > 0.0 else -1.0


@_compiled
def _reach(lens: Floats) -> float:
    """Return the radius up to which the lens does not fold back (a tangent, or for a fisheye an angle [rad])."""
    if lens[5] == STRAIGHT:
        return math.inf
    end = math.pi if lens[5] == FISHEYE else _WIDEST
    for i in range(1, _SCAN + 1):
        if not _radial(lens, end * i / _SCAN)[1] > 0.0:
            low, high = end * (i - 1) / _SCAN, end * i / _SCAN
            for _ in range(60):
                middle = 0.5 * (low + high)
                if _radial(lens, middle)[1] > 0.0:
                    low = middle
                else:
                    high = middle
            return low
    return end


@_compiled
def bearings_all(pixels: Floats, lens: Floats, rays: Floats) -> None:
    """Write the unit directions ``rays`` (N, 3) of pixels (N, 2); NaN where there is none."""
    for i in range(len(pixels)):
        q = (pixels[i, 1] - lens[3]) / lens[1]
        p = (pixels[i, 0] - lens[2] - lens[4] * q) / lens[0]
        z = 1.0
        if lens[5] == FISHEYE:
            radius = math.sqrt(p * p + q * q)
            theta = _angle(lens, radius)
            share = math.sin(theta) / radius if radius > 1e-12 else 1.0
            p, q, z = p * share, q * share, math.cos(theta)
        elif lens[5] != STRAIGHT:
            p, q = _undistorted(lens, p, q)
        far = 1.0 / math.sqrt(p * p + q * q + z * z)
        rays[i, 0], rays[i, 1], rays[i, 2] = p * far, q * far, z * far


@_compiled
def _angle(lens: Floats, radius: float) -> float:
    """Return the r for which the lens shows ``radius``, the nearest it reaches: Newton inside a bracket."""
    low, high = 0.0, lens[REACH]
    r = min(radius, high)
    for _ in range(60):
        bent, slope = _radial(lens, r)
        miss = bent - radius
        if abs(miss) < 1e-15 + 1e-15 * radius:
            return r
        if miss > 0.0:
            high = r
        else:
            low = r
        r -= miss / slope
        if not low < r < high:
            r = 0.5 * (low + high)
    if lens[5] == FISHEYE and abs(_radial(lens, r)[0] - radius) > _EXACT:
        return math.nan
    return r


@_compiled
def _undistorted(lens: Floats, p: float, q: float) -> tuple[float, float]:
    """Return the ray (a, b, 1) seen at the normalised coordinates (p, q), NaN when there is none: Newton's method."""
    if lens[5] == _TILTED:
        p, q, _, _, _, _ = _turn(lens[_UNTILT:REACH], p, q, 1.0, 0.0, 0.0, 1.0)
    radius = math.sqrt(p * p + q * q)
    share = _angle(lens, radius) / radius if radius > 1e-12 else 1.0
    a, b = p * share, q * share
    for _ in range(20):
        s, t, pa, pb, qa, qb = _distort(lens, a, b)
        s, t = s - p, t - q
        determinant = pa * qb - pb * qa
        if not determinant > 0.0 or a * a + b * b > lens[REACH] ** 2 * (1.0 + 1e-12):
            break
        if abs(s) + abs(t) < _EXACT * (1.0 + radius):
            return a, b
        a -= (qb * s - pb * t) / determinant
        b -= (pa * t - qa * s) / determinant
    return math.nan, math.nan


def _tilt(tau_x: float, tau_y: float) -> Floats:
    """Return the homography (3, 3) onto a tilted sensor (Scheimpflug) from a plane before it, as OpenCV has it."""
    cx, sx, cy, sy = math.cos(tau_x), math.sin(tau_x), math.cos(tau_y), math.sin(tau_y)
    about_x = np.array([[1.0, 0.0, 0.0], [0.0, cx, sx], [0.0, -sx, cx]])
    about_y = np.array([[cy, 0.0, -sy], [0.0, 1.0, 0.0], [sy, 0.0, cy]])
    R = about_y @ about_x
    onto = np.array([[R[2, 2], 0.0, -R[0, 2]], [0.0, R[2, 2], -R[1, 2]], [0.0, 0.0, 1.0]])
    return onto @ R
