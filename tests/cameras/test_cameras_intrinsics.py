"""Intrinsics files of other programs mean the same lens here."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from vision_ik.camera_info import save_intrinsics
from vision_ik.cameras import load_any_intrinsics, save_any_intrinsics
from vision_ik.errors import ConfigError
from vision_ik.types import CameraIntrinsics

K = np.array([[610.0, 0, 317.5], [0, 612.0, 243.25], [0, 0, 1]])
DISTORTION = np.array([-0.21, 0.05, 0.001, -0.002, 0.01])

BOOF = """\
pinhole:
  fx: 610.0
  fy: 612.0
  cx: 318.0
  cy: 243.75
  width: 640
  height: 480
  skew: 0.0
model: {model}
radial_tangential:
  radial:
  - -0.21
  - 0.05
  t1: 0.001
  t2: -0.002
version: 0
"""


def write_opencv(path: Path, *, sized: bool = True) -> Path:
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    if sized:
        storage.write("image_width", 640)
        storage.write("image_height", 480)
    storage.write("camera_matrix", K)
    storage.write("distortion_coefficients", DISTORTION.reshape(-1, 1))
    storage.release()
    return path


@pytest.mark.parametrize("suffix", [".yml", ".xml", ".json"])
def test_opencv_files_are_read(tmp_path: Path, suffix: str) -> None:
    lens = load_any_intrinsics(write_opencv(tmp_path / f"camera{suffix}"))
    np.testing.assert_array_equal(lens.K, K)
    np.testing.assert_array_equal(lens.distortion, DISTORTION)
    assert (lens.width, lens.height, lens.model) == (640, 480, "pinhole")


def test_an_opencv_file_without_a_size_needs_one(tmp_path: Path) -> None:
    path = write_opencv(tmp_path / "camera.yml", sized=False)
    with pytest.raises(ConfigError, match="does not say the size"):
        load_any_intrinsics(path)
    assert load_any_intrinsics(path, size=(640, 480)).height == 480


def test_boofcv_counts_pixels_from_their_corner(tmp_path: Path) -> None:
    (tmp_path / "intrinsic.yaml").write_text(BOOF.format(model="pinhole_radial_tangential"))
    lens = load_any_intrinsics(tmp_path / "intrinsic.yaml")
    np.testing.assert_array_equal(lens.K, K)
    np.testing.assert_array_equal(lens.distortion, [-0.21, 0.05, 0.001, -0.002, 0.0])


def test_an_unsupported_lens_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "brown.yaml").write_text(BOOF.format(model="kannala_brandt"))
    with pytest.raises(ConfigError, match="kannala_brandt"):
        load_any_intrinsics(tmp_path / "brown.yaml")


def omnidirectional(mirror_offset: float) -> str:
    return BOOF.format(model="omnidirectional_universal").replace("0.05", "-0.01") + f"mirror_offset: {mirror_offset}\n"


def test_an_omnidirectional_lens_becomes_the_fisheye_that_sees_the_same(tmp_path: Path) -> None:
    (tmp_path / "fisheye.yaml").write_text(omnidirectional(1.1).replace("0.001", "0.0").replace("-0.002", "0.0"))
    lens = load_any_intrinsics(tmp_path / "fisheye.yaml")
    assert lens.model == "fisheye"
    angle, turn = np.meshgrid(np.linspace(0.01, 1.2, 25), np.linspace(0.0, 6.0, 12))
    rays = np.stack([np.sin(angle) * np.cos(turn), np.sin(angle) * np.sin(turn), np.cos(angle)], axis=-1).reshape(-1, 3)
    # Mei & Rives (ICRA 2007): onto the unit sphere, from a centre 1.1 above its own, then the radial distortion.
    plane = rays[:, :2] / (rays[:, 2:] + 1.1)
    squared = (plane**2).sum(axis=1, keepdims=True)
    expected = plane * (1.0 - 0.21 * squared - 0.01 * squared**2) * (610.0, 612.0) + (317.5, 243.25)
    seen, _ = cv2.fisheye.projectPoints(rays[:, None], np.zeros(3), np.zeros(3), lens.K, lens.distortion)
    inside = np.linalg.norm(expected - (317.5, 243.25), axis=1) < 400.0
    assert inside.sum() > 150
    np.testing.assert_allclose(seen.reshape(-1, 2)[inside], expected[inside], atol=0.5)


def test_an_omnidirectional_lens_that_no_fisheye_equals_is_named(tmp_path: Path) -> None:
    (tmp_path / "fisheye.yaml").write_text(omnidirectional(1.1).replace("0.001", "0.1"))
    with pytest.raises(ConfigError, match="no fisheye equals"):
        load_any_intrinsics(tmp_path / "fisheye.yaml")


def test_ros_files_are_still_read(tmp_path: Path) -> None:
    lens = CameraIntrinsics(K=K, distortion=DISTORTION, width=640, height=480)
    np.testing.assert_array_equal(load_any_intrinsics(save_intrinsics(lens, tmp_path / "camera.yaml")).K, K)


PINHOLE = CameraIntrinsics(K=K, distortion=DISTORTION[:4], width=640, height=480)
FISHEYE = CameraIntrinsics(
    K=K, distortion=np.array([0.02, -0.01, 0.003, -0.001]), width=640, height=480, model="fisheye"
)


@pytest.mark.parametrize("lens", [PINHOLE, FISHEYE], ids=["pinhole", "fisheye"])
@pytest.mark.parametrize("name", ["camera.yaml", "camera.yml", "camera.xml", "camera.json", "camchain.yaml"])
def test_what_is_written_is_read_back(tmp_path: Path, name: str, lens: CameraIntrinsics) -> None:
    back = load_any_intrinsics(save_any_intrinsics(lens, tmp_path / name))
    np.testing.assert_array_equal(back.K, lens.K)
    np.testing.assert_array_equal(back.distortion, lens.distortion)
    assert (back.width, back.height, back.model) == (640, 480, lens.model)


def test_eight_coefficients_go_where_the_format_has_them(tmp_path: Path) -> None:
    lens = replace(PINHOLE, distortion=np.arange(1, 9) / 100)
    for name in ("camera.yaml", "camera.yml"):
        np.testing.assert_array_equal(
            load_any_intrinsics(save_any_intrinsics(lens, tmp_path / name)).distortion, lens.distortion
        )
    with pytest.raises(ConfigError, match="8 distortion coefficients"):
        save_any_intrinsics(lens, tmp_path / "camchain.yaml")
    assert not (tmp_path / "camchain.yaml").exists()


def test_an_unknown_suffix_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ends in '\.txt'"):
        save_any_intrinsics(PINHOLE, tmp_path / "camera.txt")


KALIBR = """\
cam0:
  camera_model: pinhole
  distortion_coeffs: [-0.2, 0.04, 0.001, -0.002]
  distortion_model: radtan
  intrinsics: [610.0, 612.0, 317.5, 243.25]
  resolution: [640, 480]
  rostopic: /left/image_raw
cam1:
  T_cn_cnm1:
  - [1.0, 0.0, 0.0, -0.1]
  - [0.0, 1.0, 0.0, 0.0]
  - [0.0, 0.0, 1.0, 0.0]
  - [0.0, 0.0, 0.0, 1.0]
  camera_model: pinhole
  distortion_coeffs: [0.02, -0.01, 0.003, -0.001]
  distortion_model: equidistant
  intrinsics: [300.0, 301.0, 320.0, 240.0]
  resolution: [800, 600]
  rostopic: /right/image_raw
"""


@pytest.mark.parametrize("name", ["cam1", "1", "/right/image_raw"])
def test_one_camera_of_a_camchain_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "rig.yaml").write_text(KALIBR)
    lens = load_any_intrinsics(tmp_path / "rig.yaml", camera=name)
    assert (lens.model, lens.width, lens.height, lens.K[0, 0]) == ("fisheye", 800, 600, 300.0)
    np.testing.assert_array_equal(lens.distortion, [0.02, -0.01, 0.003, -0.001])


OMNI = """\
cam0:
  camera_model: omni
  distortion_coeffs: [{k1}, 0.0, 0.0, 0.0]
  distortion_model: radtan
  intrinsics: [{xi}, 610.0, 612.0, 317.5, 243.25]
  resolution: [640, 480]
"""


@pytest.mark.parametrize(("xi", "k1"), [(0.7, -0.01), (1.0, -0.01), (0.7, 0.01), (1.6, 0.0), (1.0, 0.0)])
def test_an_omni_camchain_is_read_without_a_warning_whether_or_not_its_plane_is_unbounded(
    tmp_path: Path, xi: float, k1: float
) -> None:
    (tmp_path / "rig.yaml").write_text(OMNI.format(xi=xi, k1=k1))
    lens = load_any_intrinsics(tmp_path / "rig.yaml")
    angle = np.linspace(0.05, 0.5, 10)
    plane = np.sin(angle) / (np.cos(angle) + xi)
    rays = np.column_stack([np.sin(angle), np.zeros(10), np.cos(angle)])
    seen, _ = cv2.fisheye.projectPoints(rays[:, None], np.zeros(3), np.zeros(3), lens.K, lens.distortion)
    np.testing.assert_allclose(seen[:, 0, 0], 317.5 + 610.0 * plane * (1.0 + k1 * plane**2), atol=0.5)


def test_an_omni_camchain_that_lets_no_light_through_is_named(tmp_path: Path) -> None:
    (tmp_path / "rig.yaml").write_text(OMNI.format(xi=-1.0, k1=0.0))
    with pytest.raises(ConfigError, match="lets no light through"):
        load_any_intrinsics(tmp_path / "rig.yaml")


@pytest.mark.parametrize("name", [None, "cam2"])
def test_a_camchain_of_two_cameras_needs_to_know_which(tmp_path: Path, name: str | None) -> None:
    (tmp_path / "rig.yaml").write_text(KALIBR)
    with pytest.raises(ConfigError, match=r"cam0 \(/left/image_raw\), cam1"):
        load_any_intrinsics(tmp_path / "rig.yaml", camera=name)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("radtan", "fov"), "pinhole-fov"),
        (("610.0", ".nan"), "finite"),
        (("[640, 480]", "[640]"), "unpack"),
        (("[-0.2, 0.04, 0.001, -0.002]", "[-0.2]"), "coefficients"),
        (("  intrinsics", "  extrinsics"), "'intrinsics'"),
    ],
)
def test_a_malformed_camchain_is_named(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    (tmp_path / "rig.yaml").write_text(KALIBR.replace(*change))
    with pytest.raises(ConfigError, match=said):
        load_any_intrinsics(tmp_path / "rig.yaml", camera="cam0")


@pytest.mark.parametrize("bad", [".nan", ".inf"])
@pytest.mark.parametrize("name", ["camera.yaml", "camera.yml", "boof.yaml", "camchain.yaml"])
def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, name: str, bad: str) -> None:
    path = tmp_path / name
    if name == "boof.yaml":
        path.write_text(BOOF.format(model="pinhole_radial_tangential"))
    else:
        save_any_intrinsics(PINHOLE, path)
    text = path.read_text()
    spoilt = re.sub(r"610\.0?", bad, text)
    assert spoilt != text
    path.write_text(spoilt)
    with pytest.raises(ConfigError, match=name):
        load_any_intrinsics(path)


@pytest.mark.parametrize(
    "text",
    [
        "%YAML:1.0\n---\nimage_width: 640\n",
        "%YAML:1.0\n---\nimage_width: [unclosed\n",
        "%YAML:1.0\n---\ncamera_matrix: 3\ndistortion_coefficients: 4\n",
        "pinhole:\n  fx: abc\nradial_tangential: {}\n",
        "pinhole: [\n",
        "just: a yaml\n",
        "",
    ],
)
def test_a_malformed_file_is_named(tmp_path: Path, text: str, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.yml").write_text(text)
    with pytest.raises(ConfigError, match=r"bad\.yml"):
        load_any_intrinsics(tmp_path / "bad.yml")
    assert capfd.readouterr().err == ""


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yml"):
        load_any_intrinsics(tmp_path / "none.yml")
