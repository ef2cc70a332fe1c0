"""Rigid transforms in SE(3), named by frames.

``T_<to>_<from>`` maps coordinates in *from* to *to*; it is the pose of *from* in *to*.
Products cancel: ``T_base_tag = T_base_camera @ T_camera_tag``.

Tangents are twists ``(v, w)``: translation part first [m], rotation part second [rad].
Perturbations act on the right, so a covariance of ``T_a_b`` lives in the tangent at the
pose and is expressed in frame *b*: ``T_a_b = T_a_b_mean @ Transform.exp(xi)``.

Closed forms: Solà, Deray, Atchuthan, "A micro Lie theory for state estimation in
robotics", 2018, eqs. (143)-(146), (163), (172)-(180).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from vision_ik.errors import InvalidPoseError

Floats: TypeAlias = NDArray[np.float64]

_ORTHONORMAL_TOLERANCE = 1e-6
"""Largest accepted deviation of R @ R.T from the identity, and of the last row; files often keep 7 digits."""
_LAST_ROW = np.array([0.0, 0.0, 0.0, 1.0])
_SMALL_ANGLE = 1e-4
"""[rad] Below this the Taylor series (to fourth order) is exact in double precision."""


class Transform:
    """A rigid transform: an immutable 4x4 matrix with the operations of SE(3).

    Args:
        matrix: (4, 4) homogeneous transform; rotation orthonormal within 1e-6. It is
            re-orthonormalised, so long products of parsed files stay exact.

    Raises:
        InvalidPoseError: The matrix has another shape, is not finite, or is not rigid.
    """

    __slots__ = ("_matrix",)

    def __init__(self, matrix: ArrayLike) -> None:
        self._matrix = _read_only(_checked(matrix))

    # -- constructors ---------------------------------------------------------

    @classmethod
    def identity(cls) -> Transform:
        """Return the transform that changes nothing."""
        return _trusted(np.eye(4))

    @classmethod
    def from_parts(cls, rotation: ArrayLike, translation: ArrayLike) -> Transform:
        """Return the transform with this (3, 3) rotation and (3,) translation [m]."""
        matrix = np.eye(4)
        try:
            matrix[:3, :3] = rotation
            matrix[:3, 3] = translation
        except ValueError as error:
            raise InvalidPoseError(
                f"A pose needs a (3, 3) rotation and a (3,) translation: {error}.",
                "Check the shapes of both.",
            ) from error
        return cls(matrix)

    @classmethod
    def from_translation(cls, translation: ArrayLike) -> Transform:
        """Return a pure translation by (3,) [m]."""
        return cls.from_parts(np.eye(3), translation)

    @classmethod
    def from_quaternion(cls, translation: ArrayLike, rotation_xyzw: ArrayLike) -> Transform:
        """Return the transform of a translation [m] and a unit quaternion, scalar last."""
        quaternion = np.asarray(rotation_xyzw, dtype=np.float64)
        if quaternion.shape != (4,) or not abs(float(np.linalg.norm(quaternion)) - 1.0) < 1e-3:
            raise InvalidPoseError(
                f"{quaternion.tolist()} is not a unit quaternion.",
                "Give rotation_xyzw as four numbers of norm 1, scalar last.",
            )
        return cls.from_parts(Rotation.from_quat(quaternion).as_matrix(), translation)

    @classmethod
    def from_xyz_rpy(cls, xyz: ArrayLike, rpy: ArrayLike) -> Transform:
        """Return the transform of a URDF origin: translation [m], then fixed-axis x-y-z angles [rad]."""
        return cls.from_parts(Rotation.from_euler("xyz", np.asarray(rpy)).as_matrix(), xyz)

    @classmethod
    def exp(cls, twist: ArrayLike) -> Transform:
        """Return the transform reached by a unit-time twist (6,), (v, w) [m, rad]."""
        xi = np.asarray(twist, dtype=np.float64)
        if xi.shape != (6,) or not np.isfinite(xi).all():
            raise InvalidPoseError(f"A twist must be six finite numbers, not {xi!r}.", "Pass (v, w) with shape (6,).")
        v, w = xi[:3], xi[3:]
        angle = float(np.linalg.norm(w))
        a, b, c = _series(angle)
        W = skew(w)
        matrix = np.eye(4)
        WW = W @ W
        matrix[:3, :3] += a * W + b * WW
        matrix[:3, 3] = v + b * (W @ v) + c * (WW @ v)
        return _trusted(matrix)

    # -- parts ----------------------------------------------------------------

    @property
    def matrix(self) -> Floats:
        """(4, 4) homogeneous matrix, read-only."""
        return self._matrix

    @property
    def rotation(self) -> Floats:
        """(3, 3) rotation, read-only."""
        return self._matrix[:3, :3]

    @property
    def translation(self) -> Floats:
        """(3,) translation [m], read-only."""
        return self._matrix[:3, 3]

    @property
    def rotation_xyzw(self) -> Floats:
        """(4,) unit quaternion, scalar last and not negative."""
        return Rotation.from_matrix(self.rotation).as_quat(canonical=True)

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> NDArray[np.floating]:
        """Let NumPy read the (4, 4) matrix."""
        return np.array(self._matrix, dtype=dtype, copy=True if copy is None else copy)

    # -- group ----------------------------------------------------------------

    def __matmul__(self, other: Transform) -> Transform:
        """Compose: ``T_a_b @ T_b_c`` is ``T_a_c``."""
        if not isinstance(other, Transform):  # pyright: ignore[reportUnnecessaryIsInstance]
            return NotImplemented
        return _trusted(self._matrix @ other._matrix)

    def inv(self) -> Transform:
        """Return the inverse: ``T_a_b.inv()`` is ``T_b_a``."""
        matrix = np.eye(4)
        R_inverse = self.rotation.T
        matrix[:3, :3] = R_inverse
        matrix[:3, 3] = -R_inverse @ self.translation
        return _trusted(matrix)

    def apply(self, points: ArrayLike) -> Floats:
        """Map points (..., 3) [m] from the *from* frame to the *to* frame."""
        return np.asarray(points, dtype=np.float64) @ self.rotation.T + self.translation

    def log(self) -> Floats:
        """Return the twist (6,), (v, w) [m, rad], with |w| at most pi and ``exp(log()) == self``."""
        w = log_rotation(self.rotation)
        angle = float(np.linalg.norm(w))
        W = skew(w)
        # V^-1 = I - W/2 + k W^2 with k = (1 - a / (2 b)) / angle^2, a and b as in exp.
        if angle < _SMALL_ANGLE:
            k = 1.0 / 12.0 + angle * angle / 720.0
        else:
            half = 0.5 * angle
            k = (1.0 - half / np.tan(half)) / (angle * angle)
        t = self.translation
        v = t - 0.5 * (W @ t) + k * (W @ (W @ t))
        return np.concatenate([v, w])

    def adjoint(self) -> Floats:
        """Return the (6, 6) matrix that maps twists of frame b to frame a, for ``T_a_b``."""
        R = self.rotation
        Ad = np.zeros((6, 6))
        Ad[:3, :3] = R
        Ad[3:, 3:] = R
        Ad[:3, 3:] = skew(self.translation) @ R
        return Ad

    # -- comparison -----------------------------------------------------------

    def distance_to(self, other: Transform) -> tuple[float, float]:
        """Return the distance of the origins [m] and the angle between the rotations [rad]."""
        angle = float(np.linalg.norm(log_rotation(self.rotation.T @ other.rotation)))
        return float(np.linalg.norm(self.translation - other.translation)), angle

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Transform) and np.array_equal(self._matrix, other._matrix)

    def __hash__(self) -> int:
        return hash(self._matrix.tobytes())

    def __reduce__(self) -> tuple[type[Transform], tuple[Floats]]:
        return Transform, (np.array(self._matrix),)

    def __repr__(self) -> str:
        xyz = ", ".join(f"{x:.6g}" for x in self.translation)
        xyzw = ", ".join(f"{x:.6g}" for x in self.rotation_xyzw)
        return f"Transform(translation=[{xyz}], rotation_xyzw=[{xyzw}])"


TransformLike: TypeAlias = Transform | ArrayLike
"""What every transform argument accepts: a Transform or a (4, 4) array."""


def as_transform(value: TransformLike) -> Transform:
    """Return ``value`` as a Transform, checked if it was an array."""
    return value if isinstance(value, Transform) else Transform(value)


def compose_covariance(T_b_c: Transform, covariance_ab: Floats, covariance_bc: Floats) -> Floats:
    """Return the (6, 6) covariance of ``T_a_b @ T_b_c`` for independent factors, to first order.

    Right perturbations: the one of ``T_a_b`` is carried to frame c by ``Ad(T_c_b)``.
    """
    Ad_c_b = T_b_c.inv().adjoint()
    return Ad_c_b @ covariance_ab @ Ad_c_b.T + covariance_bc


def inverse_covariance_frame(T_a_b: Transform, covariance_ab: Floats) -> Floats:
    """Return the (6, 6) covariance of ``T_b_a`` from the one of ``T_a_b``, to first order."""
    Ad_a_b = T_a_b.adjoint()
    return Ad_a_b @ covariance_ab @ Ad_a_b.T


def mean_transform(transforms: Sequence[Transform]) -> Transform:
    """Return the mean of at least one transform: mean translation and chordal mean rotation."""
    rotations = Rotation.from_matrix(np.stack([T.rotation for T in transforms]))
    translation = np.mean([T.translation for T in transforms], axis=0)
    return Transform.from_parts(rotations.mean().as_matrix(), translation)


def skew(w: Floats) -> Floats:
    """Return the (3, 3) matrix with ``skew(w) @ p == cross(w, p)``."""
    return np.array([[0.0, -w[2], w[1]], [w[2], 0.0, -w[0]], [-w[1], w[0], 0.0]])


def exp_rotation(w: ArrayLike) -> Floats:
    """Return the (3, 3) rotation of a rotation vector (3,) [rad]."""
    vector = np.asarray(w, dtype=np.float64)
    a, b, _ = _series(float(np.linalg.norm(vector)))
    W = skew(vector)
    return np.eye(3) + a * W + b * (W @ W)


def log_rotation(R: Floats) -> Floats:
    """Return the rotation vector (3,) [rad] of a (3, 3) rotation, of norm at most pi.

    Through the quaternion with the largest component, which is exact near 0 and near pi.
    """
    trace = R[0, 0] + R[1, 1] + R[2, 2]
    i = int(np.argmax([R[0, 0], R[1, 1], R[2, 2], trace]))
    q = np.empty(4)  # x, y, z, w, not normalised
    if i == 3:
        q[:] = (R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1], 1.0 + trace)
    else:
        j, k = (i + 1) % 3, (i + 2) % 3
        q[i] = 1.0 + 2.0 * R[i, i] - trace
        q[j] = R[j, i] + R[i, j]
        q[k] = R[k, i] + R[i, k]
        q[3] = R[k, j] - R[j, k]
    if q[3] < 0.0:
        q = -q
    norm = float(np.linalg.norm(q[:3]))
    if norm < 1e-300:
        return np.zeros(3)
    return q[:3] * (2.0 * float(np.arctan2(norm, q[3])) / norm)


def _series(angle: float) -> tuple[float, float, float]:
    """Return sin(x)/x, (1-cos(x))/x^2 and (x-sin(x))/x^3."""
    if angle < _SMALL_ANGLE:
        x2 = angle * angle
        return 1.0 - x2 / 6.0, 0.5 - x2 / 24.0, 1.0 / 6.0 - x2 / 120.0
    s = float(np.sin(angle))
    half = float(np.sin(0.5 * angle)) / angle
    return s / angle, 2.0 * half * half, (angle - s) / angle**3


def _checked(matrix: ArrayLike) -> Floats:
    try:
        m = np.array(matrix, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidPoseError(
            f"A pose must be a (4, 4) array of numbers: {error}.", "Pass a Transform or a 4x4 array."
        ) from error
    if m.shape != (4, 4):
        raise InvalidPoseError(f"A pose must have shape (4, 4), not {m.shape}.", "Pass a Transform or a 4x4 array.")
    if not np.isfinite(m).all():
        raise InvalidPoseError(
            "The pose holds NaN or infinity.", "Drop this measurement, or check the code that made it."
        )
    R = m[:3, :3]
    with np.errstate(over="ignore", invalid="ignore"):
        deviation = float(np.abs(R @ R.T - np.eye(3)).max())
        determinant = float(np.linalg.det(R))
    skew = float(np.abs(m[3] - _LAST_ROW).max())
    if not (deviation <= _ORTHONORMAL_TOLERANCE and determinant > 0.0 and skew <= _ORTHONORMAL_TOLERANCE):
        raise InvalidPoseError(
            f"The matrix is not a rigid transform: R @ R.T is off the identity by {deviation:.2g}, "
            f"det(R) is {determinant:.6g}, the last row is {m[3].tolist()}.",
            "Check for a scaled or transposed matrix, a mirrored axis, or a left-handed frame.",
            deviation=deviation,
        )
    if deviation > 1e-14:
        u, _, vt = np.linalg.svd(R)
        m[:3, :3] = u @ vt
    m[3] = (0.0, 0.0, 0.0, 1.0)
    return m


def _trusted(matrix: Floats) -> Transform:
    """Wrap a matrix that is rigid by construction, without checking it."""
    T = Transform.__new__(Transform)
    T._matrix = _read_only(matrix)  # pyright: ignore[reportPrivateUsage]
    return T


def _read_only(array: Floats) -> Floats:
    array.setflags(write=False)
    return array
