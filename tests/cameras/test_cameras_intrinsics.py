"""Intrinsics files of other programs mean the same lens here."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from vision_ik.camera_info import save_intrinsics
from vision_ik.cameras import load_any_intrinsics
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
    (tmp_path / "fisheye.yaml").write_text(BOOF.format(model="omnidirectional_universal"))
    with pytest.raises(ConfigError, match="omnidirectional_universal"):
        load_any_intrinsics(tmp_path / "fisheye.yaml")


def test_ros_files_are_still_read(tmp_path: Path) -> None:
    lens = CameraIntrinsics(K=K, distortion=DISTORTION, width=640, height=480)
    np.testing.assert_array_equal(load_any_intrinsics(save_intrinsics(lens, tmp_path / "camera.yaml")).K, K)


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
