"""Both back ends find the same corners, in the same order, where the truth has them."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tags_scene import BARREL, FISHEYE, STRAIGHT, facing, frame_of, library_image, pixels, tag_view

from vision_ik.errors import TagError
from vision_ik.tags import TagDetector, list_families, render_marker
from vision_ik.tags.detection.detector import Backend
from vision_ik.tags.pictures import noise_level
from vision_ik.testing import detector_contract
from vision_ik.types import CameraIntrinsics, Floats, tag_corners

SIZE = 0.05
BACKENDS: list[tuple[str, Backend]] = [
    ("36h11", "apriltag"),
    ("36h11", "opencv"),
    ("36h11", "soft"),
    ("25h9", "apriltag"),
    ("25h9", "opencv"),
    ("16h5", "apriltag"),
    ("16h5", "opencv"),
    ("16h5", "soft"),
    ("36h10", "opencv"),
    ("36h10", "soft"),
    ("4x4_50", "opencv"),
    ("4x4_50", "soft"),
    ("5x5_1000", "opencv"),
    ("5x5_1000", "soft"),
    ("6x6_250", "soft"),
    ("7x7_50", "soft"),
    ("aruco_original", "opencv"),
    ("aruco_original", "soft"),
    ("mip_36h12", "soft"),
    ("mip_25h7_sample", "soft"),
]
APRILTAG_36H11: list[Backend] = ["apriltag", "opencv", "soft"]


@pytest.mark.parametrize(("family", "backend"), BACKENDS)
@pytest.mark.parametrize("roll_deg", [0.0, 100.0, 190.0, 280.0])
def test_corners_are_those_of_the_upright_tag(family: str, backend: Backend, roll_deg: float) -> None:
    T_camera_tag = facing(0.01, -0.005, 0.22, roll_deg=roll_deg, tilt_deg=35)
    detector = TagDetector(family, backend=backend)
    found = detector.detect(frame_of(tag_view(family, 2, SIZE, T_camera_tag, STRAIGHT)))
    assert [(d.tag_id, d.family, d.timestamp) for d in found] == [(2, family, 4.25)]
    truth = pixels(tag_corners(SIZE), T_camera_tag, STRAIGHT)
    np.testing.assert_allclose(found[0].corners, truth, atol=0.15)
    # A shared offset would be a convention of pixel centres gone wrong.
    assert np.abs((found[0].corners - truth).mean(axis=0)).max() < 0.06


@pytest.mark.parametrize(("family", "rim"), [("standard41h12", 2), ("circle21h7", 2)])
@pytest.mark.parametrize("turns", range(4))
def test_families_with_bits_outside_the_border_are_found(family: str, rim: int, turns: int) -> None:
    """These keep the library's own corners: its half pixel and its corner order must be turned into ours."""
    cells = library_image(f"tag{family[0].upper()}{family[1:]}", 3)
    drawn = np.kron(np.rot90(cells, -turns), np.ones((16, 16)))
    scene = np.pad(drawn.astype(np.float64), 30, constant_values=255)
    found = TagDetector(family).detect(frame_of(scene, CameraIntrinsics.from_field_of_view(*scene.shape)))
    assert [d.tag_id for d in found] == [3]
    near, far = 30 + 16 * rim - 0.5, 30 + 16 * (len(cells) - rim) - 0.5
    square = np.array([[near, near], [far, near], [far, far], [near, far]])
    np.testing.assert_allclose(found[0].corners, np.roll(square, -turns, axis=0), atol=0.1)


@pytest.mark.parametrize("clause", range(5))
@pytest.mark.parametrize(("family", "backend"), [("36h11", "apriltag"), ("36h11", "opencv"), ("5x5_1000", "soft")])
def test_it_keeps_the_detector_contract(family: str, backend: Backend, clause: int) -> None:
    detector_contract(lambda: TagDetector(family, backend=backend), family=family, tolerance_px=0.2)[clause]()


@pytest.mark.parametrize("backend", APRILTAG_36H11)
@pytest.mark.parametrize("lens", [BARREL, FISHEYE], ids=["barrel", "fisheye"])
def test_bent_edges_do_not_move_the_corners(backend: Backend, lens: CameraIntrinsics) -> None:
    """Where lines were fitted in the picture, these corners would be off by up to a pixel."""
    worst = 0.0
    for x, y in ((-0.05, -0.03), (0.055, 0.03)):
        T_camera_tag = facing(x, y, 0.1, roll_deg=20, tilt_deg=15)
        found = TagDetector("36h11", backend=backend).detect(
            frame_of(tag_view("36h11", 5, SIZE, T_camera_tag, lens), lens)
        )
        assert [d.tag_id for d in found] == [5]
        truth = pixels(tag_corners(SIZE), T_camera_tag, lens)
        worst = max(worst, float(np.linalg.norm(found[0].corners - truth, axis=1).max()))
    assert worst < 0.15


@pytest.mark.parametrize(("family", "backend"), [*BACKENDS[:3], ("4x4_50", "opencv"), ("4x4_50", "soft")])
@pytest.mark.parametrize(("contrast", "noise"), [(0.09, 1.0), (1.0, 8.0)], ids=["faint", "noisy"])
def test_faint_and_noisy_tags_are_found(family: str, backend: Backend, contrast: float, noise: float) -> None:
    T_camera_tag = facing(0.01, 0.0, 0.25, roll_deg=15, tilt_deg=25)
    brightness: Floats = 40.0 + contrast * 0.8 * tag_view(family, 3, SIZE, T_camera_tag, STRAIGHT)
    found = TagDetector(family, backend=backend).detect(frame_of(brightness, noise=noise))
    assert [d.tag_id for d in found] == [3]
    truth = pixels(tag_corners(SIZE), T_camera_tag, STRAIGHT)
    assert np.linalg.norm(found[0].corners - truth, axis=1).mean() < 0.3


@pytest.mark.parametrize(("family", "backend"), BACKENDS)
def test_clutter_holds_no_tags(family: str, backend: Backend) -> None:
    rng = np.random.default_rng(3)
    blocks = np.kron(rng.integers(0, 2, (30, 40)) * 200.0 + 25, np.ones((8, 8)))
    detector = TagDetector(family, backend=backend)
    assert detector.detect(frame_of(blocks)) == []
    assert detector.detect(frame_of(rng.uniform(0, 255, (240, 320)))) == []


def test_an_id_seen_twice_is_reported_twice_and_ids_increase() -> None:
    left = tag_view("36h11", 7, 0.03, facing(-0.05, 0, 0.25), STRAIGHT)
    right = tag_view("36h11", 7, 0.03, facing(0.05, 0, 0.25), STRAIGHT)
    top = tag_view("36h11", 1, 0.03, facing(0, -0.05, 0.25), STRAIGHT)
    scene = np.where(left != 150, left, np.where(right != 150, right, top))
    for backend in APRILTAG_36H11:
        found = TagDetector("36h11", backend=backend).detect(frame_of(scene))
        assert [d.tag_id for d in found] == [1, 7, 7]
        assert found[1].corners[0, 0] < found[2].corners[0, 0]
        assert [d.tag_id for d in TagDetector("36h11", backend=backend, wanted=[1, 4]).detect(frame_of(scene))] == [1]


def test_bits_are_corrected_only_as_far_as_asked() -> None:
    marker = render_marker("36h11", 4, 16).astype(np.float64)
    marker[16:32, 16:32] = 255 - marker[16:32, 16:32]  # one wrong bit
    scene = np.full((240, 320), 255.0)
    scene[50 : 50 + len(marker), 80 : 80 + len(marker)] = marker
    for backend in APRILTAG_36H11:
        assert [d.tag_id for d in TagDetector("36h11", backend=backend).detect(frame_of(scene))] == [4]
        assert TagDetector("36h11", backend=backend, max_hamming=0).detect(frame_of(scene)) == []
    assert TagDetector("36h11").detect(frame_of(scene))[0].hamming == 1


@pytest.mark.parametrize("name", ["tag36h11", "36H11", "APRILTAG_36h11", "DICT_APRILTAG_36H11"])
def test_families_go_by_their_usual_names(name: str) -> None:
    assert TagDetector(name).family == "36h11"
    assert TagDetector("DICT_4X4_50").family == "4x4_50"
    assert TagDetector("DICT_ARUCO_ORIGINAL").family == "aruco_original"
    assert TagDetector("DICT_ARUCO_MIP_36h12").family == "mip_36h12"


@pytest.mark.parametrize("name", list_families())
def test_every_listed_family_has_a_detector(name: str) -> None:
    if name.startswith("stag"):
        pytest.importorskip("stag", reason="STag markers need the extra [stag]")
    blank = frame_of(np.full((48, 64), 128.0), CameraIntrinsics.from_field_of_view(64, 48))
    assert TagDetector(name).detect(blank) == []


def test_an_unknown_family_lists_those_that_exist() -> None:
    with pytest.raises(TagError, match="no tag family or dictionary '37h11'") as caught:
        TagDetector("37h11")
    assert "36h11" in caught.value.remedy
    assert "4x4_50" in caught.value.remedy


@pytest.mark.parametrize(
    ("family", "backend"), [("4x4_50", "apriltag"), ("standard41h12", "opencv"), ("circle21h7", "soft")]
)
def test_a_back_end_that_cannot_read_the_family_is_refused(family: str, backend: Backend) -> None:
    with pytest.raises(TagError, match=f"The {backend} back end cannot read {family}"):
        TagDetector(family, backend=backend)


def test_an_unknown_back_end_is_refused() -> None:
    with pytest.raises(ValueError, match="soft, apriltag, opencv or stag"):
        TagDetector("36h11", backend="zxing")  # pyright: ignore[reportArgumentType]


def test_detectors_can_be_shared_by_threads() -> None:
    frames = [frame_of(tag_view("36h11", i, SIZE, facing(0, 0, 0.2, roll_deg=i), STRAIGHT)) for i in range(4)]
    detector = TagDetector("36h11")
    alone = [detector.detect(frame)[0].corners for frame in frames]

    def detect(k: int) -> Floats:
        return detector.detect(frames[k % 4])[0].corners

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(detect, range(40)))
    for k, corners in enumerate(together):
        np.testing.assert_array_equal(corners, alone[k % 4])


def test_a_process_that_used_the_library_ends_cleanly() -> None:
    code = (
        "import numpy as np\n"
        "from vision_ik.tags import TagDetector\n"
        "from vision_ik.types import CameraIntrinsics, Frame\n"
        "lens = CameraIntrinsics.from_field_of_view(64, 48)\n"
        "frame = Frame(image=np.zeros((48, 64, 3), np.uint8), timestamp=0.0, index=0, intrinsics=lens)\n"
        "for family in ('36h11', '25h9', '36h11'): TagDetector(family).detect(frame)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize("sigma", [0.0, 2.0, 6.0])
def test_the_noise_level_is_read_off_the_flat_parts(sigma: float) -> None:
    brightness = tag_view("36h11", 1, SIZE, facing(0, 0, 0.3), STRAIGHT)
    frame = frame_of(brightness, noise=sigma)
    assert noise_level(frame.image[:, :, 0]) == pytest.approx(sigma, abs=0.15 * sigma + 0.2)
