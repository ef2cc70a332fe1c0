"""A straight rim along a side of a tag misleads neither the corners nor what is claimed of them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from tags_scene import STRAIGHT, facing, frame_of, pixels, tag_view

from vision_ik.tags import TagDetector
from vision_ik.types import Floats, TagDetection, tag_corners

SIZE = 0.05
T_CAMERA_TAG = facing(0.01, -0.005, 0.25, roll_deg=25, tilt_deg=25)
TRUTH = pixels(tag_corners(SIZE), T_CAMERA_TAG, STRAIGHT)
CELLS = {"36h11": 8, "4x4_50": 6, "6x6_250": 8}


def with_bar(brightness: Floats, cells: int, side: int, depth: float, grey: float) -> Floats:
    """Return the picture with a bar over one side, its inner rim ``depth`` cells inside the border."""
    strip = np.array([[-2.0, -3.0], [cells + 2.0, -3.0], [cells + 2.0, depth], [-2.0, depth]])
    for _ in range(side):
        strip = np.column_stack([cells - strip[:, 1], strip[:, 0]])
    square = np.array([[0, 0], [cells, 0], [cells, cells], [0, cells]], dtype=np.float32)
    H = cv2.getPerspectiveTransform(square, TRUTH.astype(np.float32))
    outline = cv2.perspectiveTransform(strip[None], H)[0]
    mask = np.zeros(brightness.shape, dtype=np.uint8)
    cv2.fillConvexPoly(mask, np.rint(16.0 * outline).astype(np.int32), (255.0,), cv2.LINE_AA, 4)
    alpha = mask / 255.0
    return np.asarray((1.0 - alpha) * brightness + alpha * grey, dtype=np.float64)


def miss(detection: TagDetection) -> Floats:
    """Return the distance of each corner from the truth beyond what is claimed (4,) [px]."""
    assert detection.covariance is not None
    sigma = [
        np.sqrt(np.linalg.eigvalsh(detection.covariance[2 * k : 2 * k + 2, 2 * k : 2 * k + 2])[1]) for k in range(4)
    ]
    return np.asarray(np.linalg.norm(detection.corners - TRUTH, axis=1) - 4.0 * np.array(sigma), dtype=np.float64)


@pytest.mark.parametrize("family", CELLS)
def test_a_bar_along_a_side_leaves_the_corners_where_they_are(family: str) -> None:
    detector = TagDetector(family)
    plain = tag_view(family, 3, SIZE, T_CAMERA_TAG, STRAIGHT)
    found: list[TagDetection] = []
    for side in range(4):
        for depth in (0.3, 0.45, 0.6):
            for grey in (128.0, 235.0):
                frame = frame_of(with_bar(plain, CELLS[family], side, depth, grey), noise=1.5)
                found += detector.detect(frame)
    assert len(found) >= 12
    assert {d.tag_id for d in found} == {3}
    assert max(float(miss(d).max()) for d in found) < 0.5


def test_every_detection_says_how_sure_it_is() -> None:
    detector = TagDetector("36h11")
    faint = 128.0 + 0.05 * (tag_view("36h11", 3, SIZE, T_CAMERA_TAG, STRAIGHT) - 128.0)
    for picture in (faint, with_bar(faint, 8, 1, 0.4, 133.0)):
        for detection in detector.detect(frame_of(picture, noise=1.5)):
            assert detection.covariance is not None
            assert float(miss(detection).max()) < 0.5


def framed(width: int, height: int) -> Floats:
    """Return a bright pane in a dark frame, where number 17 of 4x4_50 has a pane of 40 by 40 px."""
    picture = np.full((240, 320), 210.0)
    picture[60:180, 100:220] = 30.0
    top, left = 100 - height // 2, 160 - width // 2
    picture[top : top + height, left : left + width] = 210.0
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.7), dtype=np.float64)


@pytest.mark.parametrize(("width", "height"), [(34, 46), (46, 46), (52, 40), (32, 42)])
def test_a_window_in_a_broad_frame_is_no_marker(width: int, height: int) -> None:
    detector = TagDetector("4x4_50")
    assert [d.tag_id for d in detector.detect(frame_of(framed(40, 40), noise=1.0))] == [17]
    assert not detector.detect(frame_of(framed(width, height), noise=1.0))
