"""SE(3) as a group, its exponential, adjoint and covariances: laws over many poses, tiny and half turns included."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import RigidTransform, Rotation

from vision_ik.errors import InvalidPoseError
from vision_ik.transforms import (
    Floats,
    Transform,
    as_transform,
    compose_covariance,
    exp_rotation,
    inverse_covariance_frame,
    log_rotation,
    mean_transform,
    skew,
)

_coordinate = st.floats(-10.0, 10.0)
_axes = st.tuples(*[st.floats(-1.0, 1.0)] * 3).map(np.array).filter(lambda a: float(np.linalg.norm(a)) > 1e-3)
_angles = st.one_of(
    st.floats(0.0, np.pi),
    st.floats(-12.0, -2.0).map(lambda e: 10.0**e),  # tiny
    st.floats(-12.0, -2.0).map(lambda e: np.pi - 10.0**e),  # all but half a turn
    st.sampled_from([0.0, 1e-9, 9.9999e-5, 1.00001e-4, np.pi / 2, np.nextafter(np.pi, 0.0), np.pi]),
)


@st.composite
def _rotation_vectors(draw: st.DrawFn) -> Floats:
    axis = draw(_axes)
    return axis / np.linalg.norm(axis) * draw(_angles)


@st.composite
def _twists(draw: st.DrawFn) -> Floats:
    v = np.array(draw(st.tuples(*[_coordinate] * 3)))
    return np.concatenate([v * draw(st.sampled_from([0.0, 1e-9, 1e-3, 1.0])), draw(_rotation_vectors())])


_transforms = _twists().map(Transform.exp)


def _assert_same(A: Transform, B: Transform, tolerance: float = 1e-12) -> None:
    np.testing.assert_allclose(A.matrix, B.matrix, rtol=0, atol=tolerance * max(1.0, float(np.abs(B.matrix).max())))


def _assert_rigid(T: Transform) -> None:
    np.testing.assert_allclose(T.rotation @ T.rotation.T, np.eye(3), atol=1e-13)
    assert np.linalg.det(T.rotation) == pytest.approx(1.0, abs=1e-13)
    assert T.matrix[3].tolist() == [0.0, 0.0, 0.0, 1.0]


@given(_transforms, _transforms)
def test_the_product_and_the_inverse_of_rigid_transforms_are_rigid(T_a_b: Transform, T_b_c: Transform) -> None:
    _assert_rigid(T_a_b)
    _assert_rigid(T_a_b @ T_b_c)
    _assert_rigid(T_a_b.inv())


@given(_transforms)
def test_the_identity_changes_nothing_from_either_side(T_a_b: Transform) -> None:
    assert Transform.identity() @ T_a_b == T_a_b
    assert T_a_b @ Transform.identity() == T_a_b


@given(_transforms)
def test_the_inverse_undoes_from_either_side(T_a_b: Transform) -> None:
    _assert_same(T_a_b @ T_a_b.inv(), Transform.identity(), 1e-13)
    _assert_same(T_a_b.inv() @ T_a_b, Transform.identity(), 1e-13)
    _assert_same(T_a_b.inv().inv(), T_a_b)


@given(_transforms, _transforms)
def test_the_inverse_of_a_product_is_the_product_of_inverses_turned_round(T_a_b: Transform, T_b_c: Transform) -> None:
    _assert_same((T_a_b @ T_b_c).inv(), T_b_c.inv() @ T_a_b.inv())


@given(_transforms, _transforms, _transforms)
def test_composition_is_associative(T_a_b: Transform, T_b_c: Transform, T_c_d: Transform) -> None:
    _assert_same((T_a_b @ T_b_c) @ T_c_d, T_a_b @ (T_b_c @ T_c_d))


@given(_transforms, _transforms, st.tuples(*[_coordinate] * 3))
def test_applying_a_product_is_applying_its_factors(
    T_a_b: Transform, T_b_c: Transform, point: tuple[float, float, float]
) -> None:
    p_c = np.array(point)
    np.testing.assert_allclose((T_a_b @ T_b_c).apply(p_c), T_a_b.apply(T_b_c.apply(p_c)), atol=1e-12)


def test_points_map_one_by_one_and_in_any_batch_shape(rng: np.random.Generator) -> None:
    T_a_b = Transform.exp([1.0, -2.0, 3.0, 0.3, -0.2, 0.1])
    points_b = rng.normal(size=(4, 5, 3))
    points_a = T_a_b.apply(points_b)
    assert points_a.shape == (4, 5, 3)
    homogeneous = T_a_b.matrix @ np.append(points_b[2, 3], 1.0)
    np.testing.assert_allclose(points_a[2, 3], homogeneous[:3], atol=1e-14)


@given(_twists())
def test_log_undoes_exp_for_every_turn_up_to_half_a_turn(xi: Floats) -> None:
    recovered = Transform.exp(xi).log()
    angle = float(np.linalg.norm(xi[3:]))
    if angle > np.pi - 1e-7:  # at pi the axis may come back mirrored; the transform is the same
        _assert_same(Transform.exp(recovered), Transform.exp(xi), 1e-12)
        assert float(np.linalg.norm(recovered[3:])) == pytest.approx(angle, abs=1e-12)
    else:
        # Relative in the rotation: a tangent of 1e-9 keeps its digits.
        np.testing.assert_allclose(recovered[3:], xi[3:], rtol=1e-8, atol=1e-15)
        np.testing.assert_allclose(recovered[:3], xi[:3], rtol=0, atol=1e-13 * max(1.0, float(np.abs(xi).max())))


@given(_transforms)
def test_exp_undoes_log(T_a_b: Transform) -> None:
    _assert_same(Transform.exp(T_a_b.log()), T_a_b, 1e-12)


@pytest.mark.parametrize("scale", [1e-3, 1e-6, 1e-9, 1e-12])
def test_small_tangents_survive_a_round_trip_to_relative_precision(scale: float) -> None:
    xi = scale * np.array([0.3, -1.0, 0.7, -0.5, 0.2, 0.9])
    np.testing.assert_allclose(Transform.exp(xi).log(), xi, rtol=1e-9, atol=0)


@pytest.mark.parametrize("angle", [9.9e-5, 1.01e-4, 1e-3, 1e-2])
def test_the_small_angle_series_meets_the_closed_form(angle: float) -> None:
    w = angle * np.array([2.0, -1.0, 2.0]) / 3.0
    v = np.array([1.0, 2.0, 3.0])
    W = skew(w)
    term, V = np.eye(3), np.eye(3)
    for k in range(1, 12):  # V = sum W^k / (k+1)!
        term = term @ W / (k + 1)
        V = V + term
    T = Transform.exp([*v, *w])
    np.testing.assert_allclose(T.translation, V @ v, rtol=0, atol=2e-14)
    np.testing.assert_allclose(T.log()[:3], v, rtol=0, atol=2e-14)


@pytest.mark.parametrize("axis", [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.6, 0.8, 0], [-0.6, 0, 0.8], [1, -1, 1]])
def test_a_turn_of_exactly_pi_has_a_finite_log_of_length_pi(axis: list[float]) -> None:
    unit = np.array(axis) / np.linalg.norm(axis)
    R = 2.0 * np.outer(unit, unit) - np.eye(3)
    w = log_rotation(R)
    assert float(np.linalg.norm(w)) == pytest.approx(np.pi, abs=1e-12)
    np.testing.assert_allclose(exp_rotation(w), R, atol=1e-12)


@given(_transforms, _twists())
def test_the_adjoint_carries_a_right_perturbation_to_the_left(T_a_b: Transform, xi_b: Floats) -> None:
    xi_b = 0.1 * xi_b
    carried = T_a_b.adjoint() @ xi_b
    _assert_same(Transform.exp(carried), T_a_b @ Transform.exp(xi_b) @ T_a_b.inv(), 1e-10)


@given(_transforms, _transforms)
def test_the_adjoint_is_a_homomorphism(T_a_b: Transform, T_b_c: Transform) -> None:
    np.testing.assert_allclose((T_a_b @ T_b_c).adjoint(), T_a_b.adjoint() @ T_b_c.adjoint(), atol=1e-11)
    np.testing.assert_allclose(T_a_b.inv().adjoint() @ T_a_b.adjoint(), np.eye(6), atol=1e-11)


@given(_twists())
def test_exp_log_and_quaternion_agree_with_scipy(xi: Floats) -> None:
    T = Transform.exp(xi)
    # SciPy's order is (rotation, translation).
    reference = RigidTransform.from_exp_coords(np.concatenate([xi[3:], xi[:3]]))
    np.testing.assert_allclose(T.matrix, reference.as_matrix(), atol=1e-11)
    np.testing.assert_allclose(T.rotation, Rotation.from_rotvec(xi[3:]).as_matrix(), atol=1e-13)
    assert float(np.linalg.norm(log_rotation(T.rotation))) == pytest.approx(
        Rotation.from_matrix(T.rotation).magnitude(), abs=1e-7
    )
    np.testing.assert_allclose(Rotation.from_quat(T.rotation_xyzw).as_matrix(), T.rotation, atol=1e-13)


@given(_transforms)
def test_a_quaternion_is_a_faithful_way_to_store_a_pose(T_a_b: Transform) -> None:
    q = T_a_b.rotation_xyzw
    assert q[3] >= 0.0
    _assert_same(Transform.from_quaternion(T_a_b.translation, q), T_a_b)


def test_quaternions_have_the_scalar_last() -> None:
    quarter_turn_about_z = Transform.from_quaternion([0, 0, 0], [0, 0, np.sqrt(0.5), np.sqrt(0.5)])
    np.testing.assert_allclose(quarter_turn_about_z.apply([1.0, 0.0, 0.0]), [0.0, 1.0, 0.0], atol=1e-15)


def test_urdf_angles_turn_about_fixed_axes_x_then_y_then_z() -> None:
    roll, pitch, yaw = 0.3, -0.5, 1.1
    T = Transform.from_xyz_rpy([1, 2, 3], [roll, pitch, yaw])
    Rz, Ry, Rx = (exp_rotation(w) for w in ([0, 0, yaw], [0, pitch, 0], [roll, 0, 0]))
    np.testing.assert_allclose(T.rotation, Rz @ Ry @ Rx, atol=1e-15)
    assert T.translation.tolist() == [1.0, 2.0, 3.0]


def _numeric_jacobian(T_a_b: Transform, T_b_c: Transform) -> tuple[Floats, Floats]:
    """Derivative of the right perturbation of the product by those of its factors."""
    T_c_a = (T_a_b @ T_b_c).inv()
    step = 1e-6
    J_ab, J_bc = np.zeros((6, 6)), np.zeros((6, 6))
    for i in range(6):
        xi = np.zeros(6)
        xi[i] = step
        plus, minus = Transform.exp(xi), Transform.exp(-xi)
        J_ab[:, i] = (T_c_a @ T_a_b @ plus @ T_b_c).log() - (T_c_a @ T_a_b @ minus @ T_b_c).log()
        J_bc[:, i] = (T_c_a @ T_a_b @ T_b_c @ plus).log() - (T_c_a @ T_a_b @ T_b_c @ minus).log()
    return J_ab / (2 * step), J_bc / (2 * step)


@given(_transforms, _transforms)
def test_the_covariance_of_a_product_follows_the_numeric_jacobian(T_a_b: Transform, T_b_c: Transform) -> None:
    spread = np.random.default_rng(3).normal(size=(2, 6, 6))
    covariance_ab, covariance_bc = spread[0] @ spread[0].T, spread[1] @ spread[1].T
    J_ab, J_bc = _numeric_jacobian(T_a_b, T_b_c)
    expected = J_ab @ covariance_ab @ J_ab.T + J_bc @ covariance_bc @ J_bc.T
    np.testing.assert_allclose(
        compose_covariance(T_b_c, covariance_ab, covariance_bc), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max()
    )


def test_the_covariance_of_a_product_is_the_scatter_of_sampled_products(rng: np.random.Generator) -> None:
    T_a_b, T_b_c = Transform.exp([0.5, -0.2, 1.0, 0.4, -1.0, 2.0]), Transform.exp([0.1, 0.7, -0.3, -1.2, 0.3, 0.2])
    sigma = 1e-3
    factors = rng.normal(size=(2, 6, 6)) * sigma
    n = 20_000
    xi_ab, xi_bc = (rng.normal(size=(n, 6)) @ L.T for L in factors)
    T_c_a = (T_a_b @ T_b_c).inv()
    samples = np.array(
        [(T_c_a @ T_a_b @ Transform.exp(a) @ T_b_c @ Transform.exp(b)).log() for a, b in zip(xi_ab, xi_bc, strict=True)]
    )
    predicted = compose_covariance(T_b_c, factors[0] @ factors[0].T, factors[1] @ factors[1].T)
    # Whitened by the prediction, the samples are a unit Gaussian: scatter within 5 sigma of Wishart noise.
    white = np.linalg.solve(np.linalg.cholesky(predicted), samples.T)
    np.testing.assert_allclose(white @ white.T / n, np.eye(6), atol=5 * np.sqrt(2 / n))


@given(_transforms)
def test_the_covariance_of_an_inverse_follows_the_perturbation_to_the_other_frame(T_a_b: Transform) -> None:
    spread = np.random.default_rng(4).normal(size=(6, 6))
    J = np.zeros((6, 6))
    step = 1e-6
    for i in range(6):
        xi = np.zeros(6)
        xi[i] = step
        # T_b_a = (T_a_b exp(xi))^-1 = T_b_a_mean exp(eta)
        J[:, i] = (T_a_b @ (T_a_b @ Transform.exp(xi)).inv()).log() - (T_a_b @ (T_a_b @ Transform.exp(-xi)).inv()).log()
    J /= 2 * step
    expected = J @ spread @ spread.T @ J.T
    np.testing.assert_allclose(
        inverse_covariance_frame(T_a_b, spread @ spread.T), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max()
    )


def test_the_mean_of_scattered_poses_lies_at_their_centre(rng: np.random.Generator) -> None:
    T = Transform.exp([1.0, 2.0, 3.0, 0.5, -2.0, 1.0])
    offsets = rng.normal(size=(20, 6)) * 0.01
    scattered = [T @ Transform.exp(xi) for xi in (*offsets, *-offsets)]
    distance, angle = mean_transform(scattered).distance_to(T)
    assert distance < 1e-4
    assert angle < 1e-4


@given(_transforms, _transforms)
def test_distance_is_symmetric_and_measures_metres_and_radians(T_w_a: Transform, T_w_b: Transform) -> None:
    distance, angle = T_w_a.distance_to(T_w_b)
    assert (distance, angle) == pytest.approx(T_w_b.distance_to(T_w_a), abs=1e-12)
    assert distance == pytest.approx(float(np.linalg.norm(T_w_a.translation - T_w_b.translation)))
    assert 0.0 <= angle <= np.pi + 1e-12


def test_a_slightly_unorthonormal_matrix_from_a_file_is_made_exact() -> None:
    written = np.round(Transform.exp([0.1, 0.2, 0.3, 1.0, -0.5, 0.7]).matrix, 7)
    _assert_rigid(Transform(written))
    np.testing.assert_allclose(Transform(written).matrix, written, atol=2e-7)


_SCALED = np.diag([2.0, 2.0, 2.0, 1.0])
_MIRRORED = np.diag([1.0, 1.0, -1.0, 1.0])
_NAN = np.full((4, 4), np.nan)
_WRONG_ROW = np.eye(4) + np.array([[0.0] * 4] * 3 + [[0.1, 0, 0, 0]])


@pytest.mark.parametrize(
    ("matrix", "said"),
    [
        (_SCALED, "not a rigid transform"),
        (_MIRRORED, "not a rigid transform"),
        (_WRONG_ROW, "last row"),
        (_NAN, "NaN"),
        (np.eye(3), r"shape \(4, 4\)"),
        ("nonsense", "array of numbers"),
        ([[1.0], [2.0, 3.0]], "array of numbers"),
    ],
)
def test_what_is_no_pose_is_refused_with_a_reason_and_a_remedy(matrix: object, said: str) -> None:
    with pytest.raises(InvalidPoseError, match=said) as caught:
        as_transform(matrix)  # pyright: ignore[reportArgumentType]
    assert isinstance(caught.value, ValueError)
    assert caught.value.remedy


@pytest.mark.parametrize("quaternion", [[0, 0, 0, 0], [0, 0, 0, 2], [0, 0, 1], [np.nan, 0, 0, 1]])
def test_what_is_no_unit_quaternion_is_refused(quaternion: list[float]) -> None:
    with pytest.raises(InvalidPoseError, match="not a unit quaternion"):
        Transform.from_quaternion([0, 0, 0], quaternion)


@pytest.mark.parametrize("twist", [[0, 0, 0, 0, 0], [0, 0, 0, 0, 0, np.nan], [[0] * 6]])
def test_what_is_no_twist_is_refused(twist: list[float]) -> None:
    with pytest.raises(InvalidPoseError, match="six finite numbers"):
        Transform.exp(twist)


def test_parts_of_the_wrong_shape_are_refused() -> None:
    with pytest.raises(InvalidPoseError, match=r"\(3, 3\) rotation"):
        Transform.from_parts(np.eye(2), [0, 0, 0])
    with pytest.raises(InvalidPoseError, match="NaN"):
        Transform.from_translation([0, np.nan, 0])


def test_a_transform_cannot_be_changed_through_any_of_its_views() -> None:
    T = Transform.exp([1, 2, 3, 0.1, 0.2, 0.3])
    for view in (T.matrix, T.rotation, T.translation, T.inv().matrix, (T @ T).matrix):
        with pytest.raises(ValueError, match="read-only"):
            view[0] = 7.0
    with pytest.raises(AttributeError):
        T.matrix = np.eye(4)  # pyright: ignore[reportAttributeAccessIssue]


def test_a_transform_does_not_share_memory_with_the_array_it_came_from() -> None:
    source = np.eye(4)
    T = Transform(source)
    source[0, 3] = 5.0
    assert T.translation[0] == 0.0
    np.asarray(T)[0, 3] = 5.0
    assert T.translation[0] == 0.0


def test_equal_transforms_hash_alike_and_travel_through_pickle_and_copy() -> None:
    T = Transform.exp([1, 2, 3, 0.1, 0.2, 0.3])
    assert {T, Transform(T.matrix)} == {T}
    assert pickle.loads(pickle.dumps(T)) == T
    assert copy.deepcopy(T) == T
    assert T != Transform.identity()
    assert T != "no transform"


def test_a_product_with_a_bare_array_is_the_matrix_product_and_with_anything_else_an_error() -> None:
    T = Transform.exp([1, 2, 3, 0.1, 0.2, 0.3])
    np.testing.assert_array_equal(T.matrix @ T, (T @ T).matrix)
    with pytest.raises(TypeError):
        T @ "pose"  # pyright: ignore[reportOperatorIssue, reportUnusedExpression]


def test_a_transform_passes_unchanged_where_an_array_would_be_converted() -> None:
    T = Transform.exp([1, 2, 3, 0.1, 0.2, 0.3])
    assert as_transform(T) is T
    assert as_transform(T.matrix.tolist()) == T
    assert "translation=[" in repr(T)
    assert "rotation_xyzw=[" in repr(T)
