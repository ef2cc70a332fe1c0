"""STag markers: our corners from the library's, and sentences where the library is missing.

The library is an extra. Most tests put a module in its place; those of the real one skip without it.
"""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
from tags_scene import BARREL, FISHEYE, STRAIGHT, facing, frame_of, pixels, view

from vision_ik.errors import TagError
from vision_ik.tags import TagDetector, estimate_pose, list_families, render_marker
from vision_ik.tags.families import find_family
from vision_ik.transforms import Transform
from vision_ik.types import CameraIntrinsics, Floats, Frame, Image, tag_corners

SIZE = 0.05
_EDGE_PX = 480
"""Of a marker's drawing ..."""
_QUIET_PX = 96
"""... and of the paper around it."""
_DOTS = (
    (0.0636, 45.0), (0.149, 26.3), (0.149, 63.7), (0.2258, 11.5), (0.2358, 33.9), (0.2358, 56.1), (0.2258, 78.5),
    (0.3149, 8.35), (0.3148, 24.8), (0.31, 45.0), (0.3148, 65.2), (0.3149, 81.65),
)  # fmt: skip
"""Where a quarter of the bits are: distance from the middle over the marker's edge, and angle from the x axis [deg]."""
MARKERS = {
    "stag_hd21": (1, "000010100100110011110010111110010110110101011011"),
    "stag_hd11": (15634, "100111010000001011110110000000001100010011111101"),
}
"""One marker of two libraries: its id, and its bits by quarters counterclockwise from the upper right one, 1 black."""


def drawing(bits: str) -> Image:
    """Return an upright marker with paper around it."""
    grid = (np.arange(_EDGE_PX) + 0.5) / _EDGE_PX - 0.5
    x, y = np.meshgrid(grid, -grid)
    white = x**2 + y**2 < 0.4**2
    for k, bit in enumerate(bits):
        radius, angle = _DOTS[k % 12][0], np.deg2rad(_DOTS[k % 12][1] + 90 * (k // 12))
        if bit == "1":
            white &= (x - radius * np.cos(angle)) ** 2 + (y - radius * np.sin(angle)) ** 2 > 0.042**2
    return np.pad(np.where(white, 255, 0).astype(np.uint8), _QUIET_PX, constant_values=255)


def seen(bits: str, T_camera_tag: Transform, lens: CameraIntrinsics, noise: float = 0.0) -> Frame:
    half = 0.5 * SIZE * (1 + 2 * _QUIET_PX / _EDGE_PX)
    outline = np.array([[-half, half, 0], [half, half, 0], [half, -half, 0], [-half, -half, 0]])
    return frame_of(view(drawing(bits), outline, T_camera_tag, lens), lens, noise=noise)


class FakeStag(ModuleType):
    """Stands in for the module: finds one marker where it is told to."""

    def __init__(self, quad: Floats, tag_id: int = 1) -> None:
        super().__init__("stag")
        self.quad = quad
        self.tag_id = tag_id
        self.asked: list[tuple[Image, int, int]] = []

    def detectMarkers(self, image: Image, libraryHD: int, errorCorrection: int = -1) -> tuple[object, ...]:
        self.asked.append((image, libraryHD, errorCorrection))
        scale = image.shape[1] / STRAIGHT.width
        quad = ((self.quad + 0.5) * scale - 0.5).astype(np.float32)
        return (quad[None],), np.array([[self.tag_id]], dtype=np.int32), ()


@pytest.fixture
def truth() -> Floats:
    return pixels(tag_corners(SIZE), POSE, STRAIGHT)


POSE = facing(0.01, -0.005, 0.2, roll_deg=20, tilt_deg=30)
BITS = MARKERS["stag_hd21"][1]


def detected(monkeypatch: pytest.MonkeyPatch, quad: Floats, *, decimate: float = 1.0) -> tuple[TagDetector, FakeStag]:
    fake = FakeStag(quad)
    monkeypatch.setitem(sys.modules, "stag", fake)
    return TagDetector("stag_hd21", decimate=decimate), fake


@pytest.mark.parametrize("decimate", [1.0, 2.0])
def test_rough_corners_are_moved_onto_the_markers_rim(
    decimate: float, truth: Floats, monkeypatch: pytest.MonkeyPatch
) -> None:
    rough = truth + np.array([[0.4, -0.3], [-0.3, 0.5], [0.2, 0.3], [-0.4, -0.2]])
    detector, _ = detected(monkeypatch, rough, decimate=decimate)
    (found,) = detector.detect(seen(BITS, POSE, STRAIGHT))
    assert (found.tag_id, found.family, found.timestamp, found.hamming) == (1, "stag_hd21", 4.25, 0)
    np.testing.assert_allclose(found.corners, truth, atol=0.05)
    assert found.covariance is not None


def test_corners_that_have_no_rim_beside_them_stay_and_claim_no_covariance(
    truth: Floats, monkeypatch: pytest.MonkeyPatch
) -> None:
    astray = truth + 0.15 * (truth - truth.mean(axis=0))
    detector, _ = detected(monkeypatch, astray)
    (found,) = detector.detect(seen(BITS, POSE, STRAIGHT))
    np.testing.assert_allclose(found.corners, astray, atol=1e-4)
    assert found.covariance is None


def test_the_library_gets_whole_pictures_and_few_bits_to_correct(
    truth: Floats, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector, fake = detected(monkeypatch, truth)
    frame = seen(BITS, POSE, STRAIGHT)
    detector.search(frame, expected={1: truth})
    ((image, distance, correction),) = fake.asked
    assert image.flags.c_contiguous, "it reads wrong rows of a picture that is part of another one"
    assert image.size < frame.image[..., 0].size
    assert (distance, correction) == (21, find_family("stag_hd21").max_hamming)
    for asked, given in ((0, 0), (7, 7), (99, 10)):
        TagDetector("stag_hd21", max_hamming=asked).detect(frame)
        assert fake.asked[-1][2] == given, "more than (21 - 1) / 2 the library refuses"


@pytest.mark.parametrize("module", [None, ModuleType("stag")], ids=["missing", "another"])
def test_without_the_library_the_error_names_the_extra(
    module: ModuleType | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "stag", module)
    with pytest.raises(TagError, match="stag-python") as caught:
        TagDetector("stag_hd15")
    assert caught.value.remedy == "Install it: pip install 'vision-ik[stag]'."


def test_all_libraries_are_listed_and_correct_fewer_bits_than_could_be() -> None:
    distances = [11, 13, 15, 17, 19, 21, 23]
    assert [name for name in list_families() if "stag" in name] == [f"stag_hd{d}" for d in distances]
    limits = [find_family(f"stag_hd{d}").max_hamming for d in distances]
    assert all(2 < limit < (d - 1) / 2 for d, limit in zip(distances, limits, strict=True))
    with pytest.raises(TagError, match="stag_hd12"):
        find_family("stag_hd12")


def test_the_other_back_ends_and_the_printer_say_that_they_cannot() -> None:
    with pytest.raises(TagError, match="soft back end cannot read stag_hd21"):
        TagDetector("stag_hd21", backend="soft")
    with pytest.raises(TagError, match="stag back end cannot read 36h11"):
        TagDetector("36h11", backend="stag")
    with pytest.raises(TagError, match="no square cells"):
        render_marker("stag_hd21", 1)


class TestTheLibrary:
    """What the real one does."""

    @pytest.fixture(autouse=True)
    def _needs_it(self) -> None:
        pytest.importorskip("stag", reason="STag markers need the extra [stag]")

    @pytest.mark.parametrize("family", MARKERS)
    @pytest.mark.parametrize("lens", [STRAIGHT, BARREL, FISHEYE], ids=["straight", "barrel", "fisheye"])
    @pytest.mark.parametrize("roll_deg", [10.0, 100.0, 190.0, 280.0])
    def test_corners_are_those_of_the_upright_marker(
        self, family: str, lens: CameraIntrinsics, roll_deg: float
    ) -> None:
        tag_id, bits = MARKERS[family]
        T_camera_tag = facing(0.01, -0.005, 0.15, roll_deg=roll_deg, tilt_deg=30)
        (found,) = TagDetector(family).detect(seen(bits, T_camera_tag, lens, noise=2.0))
        assert (found.tag_id, found.family) == (tag_id, family)
        corners = pixels(tag_corners(SIZE), T_camera_tag, lens)
        np.testing.assert_allclose(found.corners, corners, atol=0.15)
        assert np.abs((found.corners - corners).mean(axis=0)).max() < 0.05
        assert found.covariance is not None
        metres, angle = estimate_pose(found, SIZE, lens).T_camera_tag.distance_to(T_camera_tag)
        assert metres < 5e-4
        assert angle < 0.02

    def test_the_ids_of_another_library_are_not_read(self) -> None:
        frame = seen(MARKERS["stag_hd11"][1], POSE, STRAIGHT)
        assert TagDetector("stag_hd21").detect(frame) == []

    def test_blank_discs_noise_and_tiny_pictures_show_nothing(self) -> None:
        detector = TagDetector("stag_hd11")
        for bits in ("0" * 48, "1" * 48):
            assert detector.detect(seen(bits, POSE, STRAIGHT)) == []
        rng = np.random.default_rng(0)
        for shape in ((1, 1), (3, 200), (200, 300)):
            lens = CameraIntrinsics.from_field_of_view(*shape[::-1])
            assert detector.detect(frame_of(rng.uniform(0, 255, shape), lens)) == []

    def test_a_marker_is_found_where_it_is_expected(self, truth: Floats) -> None:
        result = TagDetector("stag_hd21").search(seen(BITS, POSE, STRAIGHT), expected={1: truth + 2.0})
        assert (result.complete, result.passes) == (True, 1)
        np.testing.assert_allclose(result.detections[0].corners, truth, atol=0.1)
