from __future__ import annotations

import numpy as np
import pytest

from vision_ik.transforms import Transform
from vision_ik.types import CameraIntrinsics, Floats, Image, PoseEstimate, TagDetection, tag_corners
from vision_ik.view import OverlayStatus, draw_overlay, palette
from vision_ik.view.overlay import Level
from vision_ik.view.palette import bgr
from vision_ik.view.projection import project

GREY = 128
TILT = Transform.from_xyz_rpy([0.03, -0.02, 0.6], [2.7, 0.4, 0.3])


def blank(width: int = 640, height: int = 480) -> Image:
    return np.full((height, width, 3), GREY, np.uint8)


def lens(width: int = 640, height: int = 480, model: str = "pinhole", distortion: object = ()) -> CameraIntrinsics:
    f = 0.8 * width
    return CameraIntrinsics(
        K=np.array([[f, 0, 0.5 * width - 3.0], [0, 1.02 * f, 0.5 * height + 5.0], [0, 0, 1.0]]),
        distortion=np.array(distortion, dtype=np.float64),
        width=width,
        height=height,
        model="fisheye" if model == "fisheye" else "pinhole",
    )


def pose(T_camera_tag: Transform, tag_id: int = 3) -> PoseEstimate:
    return PoseEstimate(
        tag_id=tag_id, timestamp=0.0, T_camera_tag=T_camera_tag, covariance=np.eye(6), reprojection_error=0.1
    )


def tag(corners: Floats, tag_id: int = 3) -> TagDetection:
    return TagDetection(tag_id=tag_id, family="36h11", corners=corners, timestamp=0.0)


def pixels_of(image: Image, colour: str) -> Floats:
    """Return the (N, 2) pixels that are exactly this colour."""
    rows, columns = np.nonzero((image == np.array(bgr(colour), np.uint8)).all(axis=2))
    return np.column_stack([columns, rows]).astype(np.float64)


def by_hand(point: Floats, intrinsics: CameraIntrinsics) -> Floats:
    """Project one point by the textbook: radial pinhole (k1, k2) or Kannala-Brandt fisheye."""
    x, y = point[:2] / point[2]
    r = float(np.hypot(x, y))
    k = intrinsics.distortion
    if intrinsics.model == "fisheye":
        theta = np.arctan(r)
        scale = theta * (1 + k[0] * theta**2 + k[1] * theta**4 + k[2] * theta**6 + k[3] * theta**8) / r
    else:
        scale = 1.0 if len(k) == 0 else 1 + k[0] * r**2 + k[1] * r**4
    return np.array([scale * x, scale * y]) * intrinsics.K[[0, 1], [0, 1]] + intrinsics.K[:2, 2]


LENSES = pytest.mark.parametrize(
    "intrinsics",
    [
        lens(),
        lens(distortion=[-0.3, 0.1, 0, 0, 0]),
        lens(model="fisheye", distortion=[0.05, -0.02, 0.01, 0.0]),
        lens(1280, 960),
    ],
    ids=["pinhole", "barrel", "fisheye", "1280x960"],
)


@LENSES
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_each_axis_ends_where_the_lens_puts_its_tip(intrinsics: CameraIntrinsics, axis: int) -> None:
    size = 0.12
    picture = draw_overlay(
        blank(intrinsics.width, intrinsics.height), intrinsics=intrinsics, poses=[pose(TILT)], tag_sizes={3: size}
    )
    origin = by_hand(TILT.translation, intrinsics)
    tip = by_hand(TILT.apply(0.5 * size * np.eye(3)[axis]), intrinsics)
    drawn = pixels_of(picture, palette.AXES[axis])
    direction = (tip - origin) / np.linalg.norm(tip - origin)
    reach = float(((drawn - origin) @ direction).max())
    across = np.abs((drawn - origin) @ np.array([-direction[1], direction[0]]))
    half_line = 3.0 * intrinsics.width / 640
    assert reach == pytest.approx(float(np.linalg.norm(tip - origin)), abs=half_line)
    assert float(across.max()) <= half_line


@LENSES
def test_drawing_projects_like_the_textbook(intrinsics: CameraIntrinsics, rng: np.random.Generator) -> None:
    points = rng.uniform([-0.2, -0.2, 0.5], [0.2, 0.2, 1.5], (20, 3))
    expected = np.array([by_hand(point, intrinsics) for point in points])
    np.testing.assert_allclose(project(points, intrinsics), expected, atol=1e-6)


def test_the_picture_given_is_left_alone_and_may_be_read_only() -> None:
    image = blank()
    image.setflags(write=False)
    status = OverlayStatus(state="tracking")
    picture = draw_overlay(image, intrinsics=lens(), poses=[pose(TILT)], status=status, approximate=True, lines=["a"])
    assert (image == GREY).all()
    assert picture is not image
    assert picture.flags.writeable
    assert (picture != GREY).any()


def test_the_outline_runs_through_the_corners_and_the_first_is_marked() -> None:
    corners = np.array([[200.0, 150.0], [300.0, 160.0], [290.0, 260.0], [190.0, 250.0]])
    picture = draw_overlay(blank(), intrinsics=lens(), detections=[tag(corners)])
    marked = pixels_of(picture, palette.FIRST_CORNER)
    np.testing.assert_allclose(marked.mean(axis=0), corners[0], atol=0.5)
    outline = pixels_of(picture, palette.TAG)
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        middle = 0.5 * (start + end)
        assert float(np.linalg.norm(outline - middle, axis=1).min()) < 1.0


def test_a_pixel_centre_is_at_whole_coordinates() -> None:
    corner = np.array([320.0, 240.0])
    corners = corner + np.array([[0.0, 0.0], [60.0, 0.0], [60.0, 60.0], [0.0, 60.0]])
    marked = pixels_of(draw_overlay(blank(), intrinsics=lens(), detections=[tag(corners)]), palette.FIRST_CORNER)
    np.testing.assert_allclose(marked.mean(axis=0), corner, atol=1e-9)


def test_the_goal_is_ringed_at_its_pixel_with_the_centre_left_free() -> None:
    intrinsics = lens()
    picture = draw_overlay(blank(), intrinsics=intrinsics, T_camera_target=TILT)
    centre = by_hand(TILT.translation, intrinsics)
    ring = pixels_of(picture, palette.TARGET)
    np.testing.assert_allclose(ring.mean(axis=0), centre, atol=0.7)
    assert float(np.linalg.norm(ring - centre, axis=1).min()) > 3.0


def test_the_tool_is_a_dot_at_its_pixel() -> None:
    intrinsics = lens()
    picture = draw_overlay(blank(), intrinsics=intrinsics, T_camera_tool=TILT)
    dot = pixels_of(picture, palette.TOOL)
    np.testing.assert_allclose(dot.mean(axis=0), by_hand(TILT.translation, intrinsics), atol=0.5)


@pytest.mark.parametrize(
    "translation", [[0.0, 0.0, -0.5], [0.0, 0.0, 0.0], [50.0, 0.0, 0.1]], ids=["behind", "at", "far beside"]
)
def test_what_the_camera_cannot_see_is_not_drawn(translation: list[float]) -> None:
    T = Transform.from_translation(translation)
    intrinsics = lens(distortion=[-0.4, 0.15, 0, 0, -0.02])
    picture = draw_overlay(
        blank(), intrinsics=intrinsics, poses=[pose(T)], tag_sizes=1e-4, T_camera_target=T, T_camera_tool=T
    )
    assert (picture == GREY).all()


@pytest.mark.parametrize("value", [1e12, -1e12])
def test_corners_far_outside_do_not_stop_the_drawing(value: float) -> None:
    corners = np.array([[value, 10.0], [60.0, 10.0], [60.0, value], [10.0, 60.0]])
    status = OverlayStatus(state="tracking")
    picture = draw_overlay(blank(), intrinsics=lens(), detections=[tag(corners)], status=status)
    assert (picture[-4:] < 100).any()


def test_board_points_are_dots_and_those_without_a_pixel_are_left_out() -> None:
    points = np.array([[100.0, 100.0], [np.nan, 5.0], [np.inf, 5.0], [1e12, 5.0]])
    dots = pixels_of(draw_overlay(blank(), intrinsics=lens(), points=points), palette.TAG)
    np.testing.assert_allclose(dots.mean(axis=0), points[0], atol=1e-9)


def test_intrinsics_of_a_larger_picture_are_scaled_down() -> None:
    small = draw_overlay(blank(), intrinsics=lens(1280, 960), T_camera_tool=TILT)
    expected = by_hand(TILT.translation, lens(1280, 960).scaled(640, 480))
    np.testing.assert_allclose(pixels_of(small, palette.TOOL).mean(axis=0), expected, atol=0.5)


def test_approximate_pictures_say_so_and_others_do_not() -> None:
    exact = draw_overlay(blank(), intrinsics=lens())
    approximate = draw_overlay(blank(), intrinsics=lens(), approximate=True)
    assert (exact == GREY).all()
    changed = np.argwhere((approximate != GREY).any(axis=2))
    assert changed[:, 0].max() < 48
    assert changed[:, 1].min() > 320


@pytest.mark.parametrize(("width", "height"), [(640, 480), (1280, 960)])
def test_the_status_bar_grows_with_the_picture(width: int, height: int) -> None:
    status = OverlayStatus(state="tracking", reason="tag 3", error=0.0012, timestamp=1.5)
    picture = draw_overlay(blank(width, height), intrinsics=lens(width, height), status=status)
    rows = np.flatnonzero((picture != GREY).any(axis=(1, 2)))
    assert rows[-1] == height - 1
    assert 0.05 * height < len(rows) < 0.09 * height


@pytest.mark.parametrize(
    ("level", "colour"), [("good", palette.GOOD), ("waiting", palette.WAITING), ("bad", palette.BAD)]
)
def test_the_state_has_the_colour_of_its_level(level: Level, colour: str) -> None:
    picture = draw_overlay(blank(), intrinsics=lens(), status=OverlayStatus(state="state", level=level))
    assert len(pixels_of(picture, colour)) > 20


@pytest.mark.parametrize(("width", "height"), [(16, 12), (3, 400), (400, 3), (1, 1)])
def test_tiny_pictures_are_drawn_on_without_harm(width: int, height: int) -> None:
    picture = draw_overlay(
        blank(width, height),
        intrinsics=lens(),
        detections=[tag(project(TILT.apply(tag_corners(0.1)), lens()))],
        poses=[pose(TILT)],
        status=OverlayStatus(state="stopped", reason="a long reason", level="bad", error=1.0, timestamp=2.0),
        lines=["a line", ""],
        approximate=True,
    )
    assert picture.shape == (height, width, 3)


def test_a_long_reason_never_runs_into_the_error() -> None:
    status = OverlayStatus(state="stopped", reason="word " * 60, level="bad", error=0.5, timestamp=9.0)
    long = draw_overlay(blank(), intrinsics=lens(), status=status)
    short = draw_overlay(
        blank(), intrinsics=lens(), status=OverlayStatus(state="stopped", level="bad", error=0.5, timestamp=9.0)
    )
    np.testing.assert_array_equal(long[:, -160:], short[:, -160:])
