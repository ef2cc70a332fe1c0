"""Stored and live sources keep the contract of a camera."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
from cameras_media import MjpegSender, flat_image, mjpeg_sender, write_video

from vision_ik.cameras import open_camera
from vision_ik.testing import camera_contract

KINDS = ("video", "folder", "stream")
CLAUSES = len(camera_contract(lambda: open_camera("never opened")))


@pytest.fixture(scope="module")
def sender() -> Iterator[MjpegSender]:
    with mjpeg_sender() as running:
        yield running


@pytest.mark.parametrize("clause", range(CLAUSES))
@pytest.mark.parametrize("kind", KINDS)
def test_it_keeps_the_camera_contract(kind: str, clause: int, tmp_path: Path, sender: MjpegSender) -> None:
    for k in range(4):
        cv2.imwrite(str(tmp_path / f"{k}.png"), flat_image(40 * k))
    video = write_video(tmp_path / "v.mp4", (20, 60, 100, 140), (0.0, 0.04, 0.08, 0.2))
    source = {"video": str(video), "folder": str(tmp_path), "stream": sender.url}[kind]
    camera_contract(lambda: open_camera(source))[clause]()
