"""Lens files: what is written is read back, and each malformed one is refused by the name of its key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from vision_ik.camera_info import load_intrinsics, save_intrinsics
from vision_ik.errors import ConfigError
from vision_ik.types import CameraIntrinsics, LensModel

_K = np.array([[501.25, 0.5, 319.5], [0, 510.0, 239.5], [0, 0, 1]])


@pytest.mark.parametrize(
    ("model", "count", "written"),
    [
        ("pinhole", 0, "plumb_bob"),
        ("pinhole", 4, "plumb_bob"),
        ("pinhole", 5, "plumb_bob"),
        ("pinhole", 8, "rational_polynomial"),
        ("pinhole", 14, "rational_polynomial"),
        ("fisheye", 4, "equidistant"),
    ],
)
@pytest.mark.parametrize("approximate", [False, True])
def test_a_lens_comes_back_as_it_was_saved(
    tmp_path: Path, model: LensModel, count: int, written: str, approximate: bool
) -> None:
    distortion = 0.01 * np.arange(1, count + 1) / 3
    lens = CameraIntrinsics(K=_K, distortion=distortion, width=640, height=480, model=model, approximate=approximate)
    path = save_intrinsics(lens, tmp_path / "camera.yaml", name="left")
    document = yaml.safe_load(path.read_text())
    assert document["distortion_model"] == written
    assert document["camera_name"] == "left"
    back = load_intrinsics(path)
    np.testing.assert_array_equal(back.K, lens.K)
    np.testing.assert_array_equal(back.distortion, distortion if count else np.zeros(5))
    assert (back.width, back.height, back.model, back.approximate) == (640, 480, model, approximate)


def test_a_file_written_by_ros_tools_is_read(tmp_path: Path) -> None:
    path = tmp_path / "head_camera.yaml"
    path.write_text(
        """
image_width: 640
image_height: 480
camera_name: head_camera
camera_matrix:
  rows: 3
  cols: 3
  data: [500, 0, 320, 0, 501, 240, 0, 0, 1]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [0.1, -0.2, 0.001, 0.0, 0]
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
projection_matrix: {rows: 3, cols: 4, data: [500, 0, 320, 0, 0, 501, 240, 0, 0, 0, 1, 0]}
"""
    )
    lens = load_intrinsics(path)
    assert lens.K.tolist() == [[500, 0, 320], [0, 501, 240], [0, 0, 1]]
    assert lens.distortion.tolist() == [0.1, -0.2, 0.001, 0.0, 0.0]
    assert not lens.approximate


def _document(tmp_path: Path) -> dict[str, Any]:
    lens = CameraIntrinsics(K=_K, width=640, height=480)
    return yaml.safe_load(save_intrinsics(lens, tmp_path / "good.yaml").read_text())


_MISSING = object()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("image_width", _MISSING),
        ("image_width", "wide"),
        ("image_width", -640),
        ("image_height", 480.5),
        ("image_height", True),
        ("camera_matrix", _MISSING),
        ("camera_matrix", [500, 0, 320]),
        ("camera_matrix", {"rows": 3}),
        ("camera_matrix", {"data": [1, 2, 3]}),
        ("camera_matrix", {"data": [[500, 0, 320], [0, 500, 240], [0, 0, 1]]}),
        ("camera_matrix", {"data": ["a"] * 9}),
        ("camera_matrix", {"data": [float("nan")] * 9}),
        ("camera_matrix", {"data": [-500, 0, 320, 0, 500, 240, 0, 0, 1]}),
        ("distortion_model", "brown"),
        ("distortion_model", ["plumb_bob"]),
        ("distortion_coefficients", _MISSING),
        ("distortion_coefficients", {"data": [0.1, 0.2]}),
        ("distortion_coefficients", {"data": 0.1}),
        ("approximate", "perhaps"),
    ],
)
def test_a_malformed_lens_file_is_refused_by_the_name_of_the_key(tmp_path: Path, key: str, value: object) -> None:
    document = _document(tmp_path)
    document.pop(key)
    if value is not _MISSING:
        document[key] = value
    path = tmp_path / "camera.yaml"
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(ConfigError, match=key) as caught:
        load_intrinsics(path)
    assert str(path) in caught.value.cause
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"image_width: [640", "not YAML"),
        (b"\xff\xfe\x00\x01", "not YAML"),
        (b"just a sentence", "must be a table"),
        (b"- 1\n- 2\n", "must be a table"),
        (b"", "must be a table"),
    ],
)
def test_what_is_no_lens_file_is_refused_by_its_path(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "camera.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=said) as caught:
        load_intrinsics(path)
    assert str(path) in caught.value.cause


def test_a_lens_file_that_is_not_there_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file") as caught:
        load_intrinsics(tmp_path / "nowhere.yaml")
    assert "camera_info" in caught.value.remedy


def test_the_covariance_comes_back_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    A = rng.normal(size=(8, 8))
    lens = CameraIntrinsics(K=_K, distortion=np.zeros(4), width=640, height=480, covariance=A @ A.T)
    back = load_intrinsics(save_intrinsics(lens, tmp_path / "camera.yaml"))
    assert lens.covariance is not None
    assert back.covariance is not None
    np.testing.assert_array_equal(back.covariance, lens.covariance)


@pytest.mark.parametrize(("change", "said"), [("[1.0, 2.0]", "64 numbers"), (str([1.0] + 63 * [-1.0]), "diagonal")])
def test_a_covariance_that_is_none_is_refused(tmp_path: Path, change: str, said: str) -> None:
    lens = CameraIntrinsics(K=_K, distortion=np.zeros(4), width=640, height=480)
    path = save_intrinsics(lens, tmp_path / "camera.yaml")
    path.write_text(path.read_text() + f"covariance: {{rows: 8, cols: 8, data: {change}}}\n")
    with pytest.raises(ConfigError, match=said):
        load_intrinsics(path)
