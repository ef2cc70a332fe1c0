"""The values of seeing: shapes are checked, arrays read-only, pixels counted from the centre of the first one."""

from __future__ import annotations

import dataclasses
from typing import Any

import cv2
import numpy as np
import pytest

from vision_ik.transforms import Transform
from vision_ik.types import CameraIntrinsics, Frame, PoseEstimate, TagDetection, Target

_K = np.array([[500.0, 0, 319.5], [0, 510.0, 239.5], [0, 0, 1]])


def _intrinsics(**changes: Any) -> CameraIntrinsics:
    fields: dict[str, Any] = {"K": _K, "width": 640, "height": 480}
    return CameraIntrinsics(**fields | changes)


def _frame(**changes: Any) -> Frame:
    image = np.zeros((480, 640, 3), dtype=np.uint8)
    fields: dict[str, Any] = {"image": image, "timestamp": 1.0, "index": 0, "intrinsics": _intrinsics()}
    return Frame(**fields | changes)


def _estimate(**changes: Any) -> PoseEstimate:
    fields: dict[str, Any] = {"tag_id": 3, "timestamp": 1.0, "T_camera_tag": Transform.identity()}
    fields |= {"covariance": np.eye(6), "reprojection_error": 0.1}
    return PoseEstimate(**fields | changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"K": np.eye(2)}, r"K must have shape \(3, 3\)"),
        ({"K": np.full((3, 3), np.nan)}, "K must be finite"),
        ({"K": np.diag([-500.0, 500.0, 1.0])}, "positive focal lengths"),
        ({"K": np.diag([500.0, 500.0, 2.0])}, "last row"),
        ({"distortion": np.zeros(3)}, "coefficients, not 3"),
        ({"distortion": np.full(5, np.inf)}, "distortion must be finite"),
        ({"model": "fisheye"}, "coefficients, not 5"),
        ({"model": "spherical"}, "pinhole or fisheye"),
        ({"width": 0}, "positive, not 0x480"),
        ({"covariance": np.eye(4)}, r"covariance must have shape \(9, 9\)"),
        ({"covariance": -np.eye(9)}, "covariance must be symmetric with a diagonal that is not negative"),
        ({"covariance": np.eye(9) + np.eye(9, k=2)}, "covariance must be symmetric"),
    ],
)
def test_a_lens_that_cannot_be_is_refused_with_the_reason(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        _intrinsics(**changes)


@pytest.mark.parametrize("count", [0, 4, 5, 8, 12, 14])
def test_a_pinhole_lens_takes_every_distortion_opencv_takes(count: int) -> None:
    lens = _intrinsics(distortion=np.full((count, 1), 1e-3))
    assert lens.distortion.shape == (count,)
    cv2.projectPoints(np.array([[0.1, 0.2, 1.0]]), np.zeros(3), np.zeros(3), lens.K, lens.distortion)


def test_a_field_of_view_spans_the_picture_from_pixel_edge_to_pixel_edge() -> None:
    lens = CameraIntrinsics.from_field_of_view(640, 480, np.deg2rad(90.0))
    assert lens.approximate
    left_edge = (-0.5 - lens.K[0, 2]) / lens.K[0, 0]
    right_edge = (639.5 - lens.K[0, 2]) / lens.K[0, 0]
    assert np.rad2deg(np.arctan(right_edge) - np.arctan(left_edge)) == pytest.approx(90.0)
    assert lens.K[1, 1] == lens.K[0, 0]
    assert (lens.K[0, 2], lens.K[1, 2]) == (319.5, 239.5)


def test_a_guessed_lens_says_how_far_off_it_may_be() -> None:
    lens = CameraIntrinsics.from_field_of_view(640, 480)
    assert lens.covariance is not None
    sigma = np.sqrt(np.diag(lens.covariance))
    # Webcams span 55 to 80 degrees, and both focal lengths are off together.
    true = CameraIntrinsics.from_field_of_view(640, 480, np.deg2rad(80.0))
    assert abs(lens.K[0, 0] - true.K[0, 0]) < 2.0 * sigma[0] < lens.K[0, 0]
    assert lens.covariance[0, 1] == sigma[0] * sigma[1]
    assert 10.0 < sigma[2] < 30.0
    assert not lens.covariance[4:, 4:].any()


def test_the_uncertainty_of_a_lens_follows_the_size_of_the_picture() -> None:
    factor = np.arange(81.0).reshape(9, 9)
    lens = _intrinsics(covariance=factor @ factor.T)
    assert lens.covariance is not None
    half = lens.scaled(320, 120)
    assert half.covariance is not None
    by = np.array([0.5, 0.25, 0.5, 0.25, 1, 1, 1, 1, 1])
    np.testing.assert_allclose(half.covariance, np.diag(by) @ lens.covariance @ np.diag(by))
    part = lens.part(100.0, -7.0, 50, 40)
    assert part.covariance is not None
    np.testing.assert_array_equal(part.covariance, lens.covariance)


def test_a_cut_out_picture_keeps_its_rays() -> None:
    lens = _intrinsics()
    part = lens.part(100.0, -7.0, 50, 40)
    assert (part.width, part.height) == (50, 40)
    assert (part.K[0, 2], part.K[1, 2]) == (lens.K[0, 2] - 100.0, lens.K[1, 2] + 7.0)


def test_a_resized_picture_keeps_its_rays() -> None:
    # cv2.resize keeps pixel edges, not centres, in place: the middle of the first two pixels becomes pixel 0.
    lens = _intrinsics(distortion=np.array([0.1, -0.05, 1e-3, -1e-3, 0.0]))
    half = lens.scaled(320, 240)
    ray = np.array([[0.2, -0.1, 1.0]])
    (full_pixel,), (half_pixel,) = (
        cv2.projectPoints(ray, np.zeros(3), np.zeros(3), each.K, each.distortion)[0].reshape(-1, 2)
        for each in (lens, half)
    )
    np.testing.assert_allclose(half_pixel, (full_pixel + 0.5) / 2 - 0.5, atol=1e-12)
    assert (half.width, half.height) == (320, 240)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"image": np.zeros((480, 640), dtype=np.uint8)}, "BGR image"),
        ({"image": np.zeros((480, 640, 4), dtype=np.uint8)}, "BGR image"),
        ({"image": np.zeros((480, 640, 3), dtype=np.float32)}, "uint8"),
        ({"image": np.zeros((0, 640, 3), dtype=np.uint8)}, "at least one pixel"),
        ({"depth": np.zeros((240, 320), dtype=np.float32)}, "differ in size"),
        ({"image": np.zeros((640, 480, 3), dtype=np.uint8)}, "measures 480x640, but its lens is for 640x480"),
        ({"image": np.zeros((240, 320, 3), dtype=np.uint8)}, "measures 320x240, but its lens is for 640x480"),
        ({"timestamp": float("nan")}, "time stamp must be finite, not nan"),
        ({"timestamp": -np.inf}, "time stamp must be finite, not -inf"),
    ],
)
def test_a_picture_of_the_wrong_form_is_no_frame(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        _frame(**changes)


@pytest.mark.parametrize(
    ("value", "arrays"),
    [
        (_intrinsics(covariance=np.eye(9)), ("K", "distortion", "covariance")),
        (_frame(), ("image",)),
        (TagDetection(tag_id=1, family="36h11", corners=np.zeros((4, 2)), timestamp=0.0), ("corners",)),
        (_estimate(), ("covariance",)),
        (Target(name="tag 1", timestamp=0.0, T_base_target=Transform.identity()), ("twist", "covariance")),
    ],
    ids=lambda value: type(value).__name__ if dataclasses.is_dataclass(value) else "",
)
def test_a_value_cannot_be_changed_once_it_exists(value: Any, arrays: tuple[str, ...]) -> None:
    for name in arrays:
        with pytest.raises(ValueError, match="read-only"):
            getattr(value, name)[0] = 1
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, name, None)
    assert not hasattr(value, "__dict__")


def test_a_value_does_not_follow_later_changes_of_the_array_it_was_made_from() -> None:
    corners = np.zeros((4, 2))
    detection = TagDetection(tag_id=1, family="36h11", corners=corners, timestamp=0.0)
    corners[0, 0] = 9.0
    assert detection.corners[0, 0] == 0.0


def test_making_a_frame_leaves_the_callers_image_writable() -> None:
    image = np.zeros((480, 640, 3), dtype=np.uint8)
    frame = _frame(image=image)
    image[0, 0, 0] = 1
    assert not frame.image.flags.writeable


@pytest.mark.parametrize("corners", [np.zeros((4, 3)), np.zeros((3, 2)), np.full((4, 2), np.nan)])
def test_a_detection_has_four_finite_corners(corners: np.ndarray) -> None:
    with pytest.raises(ValueError, match="corners must"):
        TagDetection(tag_id=1, family="36h11", corners=corners, timestamp=0.0)


@pytest.mark.parametrize("covariance", [-np.eye(8), np.eye(8) + 3.0 * np.eye(8, k=5)])
def test_a_detection_refuses_what_is_no_covariance(covariance: np.ndarray) -> None:
    with pytest.raises(ValueError, match="covariance must be symmetric with a diagonal that is not negative"):
        TagDetection(tag_id=1, family="36h11", corners=np.zeros((4, 2)), timestamp=0.0, covariance=covariance)


def test_detections_and_poses_have_a_time() -> None:
    with pytest.raises(ValueError, match="time stamp must be finite"):
        TagDetection(tag_id=1, family="36h11", corners=np.zeros((4, 2)), timestamp=float("nan"))
    with pytest.raises(ValueError, match="time stamp must be finite"):
        _estimate(timestamp=float("nan"))


@pytest.mark.parametrize("name", ["covariance", "alternative_covariance", "lens_covariance"])
def test_a_pose_refuses_what_is_no_covariance(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be symmetric"):
        _estimate(**{name: np.eye(6) + np.eye(6, k=1)})


@pytest.mark.parametrize("covariance", [np.eye(3), np.full((6, 6), np.nan)])
def test_a_pose_has_a_finite_six_by_six_covariance(covariance: np.ndarray) -> None:
    with pytest.raises(ValueError, match="covariance must"):
        _estimate(covariance=covariance)


def test_a_target_that_was_never_measured_twice_stands_still() -> None:
    target = Target(name="tag 1", timestamp=0.0, T_base_target=Transform.identity())
    assert target.twist.tolist() == [0.0] * 6
    with pytest.raises(ValueError, match="twist must have shape"):
        Target(name="tag 1", timestamp=0.0, T_base_target=Transform.identity(), twist=np.zeros(3))


def test_values_are_built_by_keyword_only() -> None:
    with pytest.raises(TypeError):
        TagDetection(1, "36h11", np.zeros((4, 2)), 0.0)  # pyright: ignore[reportCallIssue]
