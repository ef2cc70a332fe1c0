"""What every tag detector must keep, shown on drawn tags whose corners are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np

from vision_ik.tags import render_marker
from vision_ik.testing.contract import Check, require
from vision_ik.types import CameraIntrinsics, Detector, Floats, Frame, Image

_CELL = 14
"""[px] Edge of one cell of a drawn tag."""


def detector_contract(
    make: Callable[[], Detector], *, family: str = "36h11", ids: tuple[int, int] = (3, 11), tolerance_px: float = 0.5
) -> list[Check]:
    """Return the checks for a detector of one family.

    Args:
        make: Builds the detector.
        family: That `vision_ik.tags.render_marker` knows.
        ids: Two different tags of it, the smaller first.
        tolerance_px: Largest distance of a corner from the truth [px].
    """
    detector = make()

    def corners_are_in_order() -> None:
        for turns in range(4):
            frame, truth = _scene(family, {ids[0]: turns})
            found = detector.detect(frame)
            require([d.tag_id for d in found] == [ids[0]], f"Turned by {90 * turns} deg, {len(found)} tags were found.")
            error = float(np.linalg.norm(found[0].corners - truth[ids[0]], axis=1).max())
            require(error <= tolerance_px, f"Turned by {90 * turns} deg, a corner is {error:.2f} px off.")

    def ids_increase() -> None:
        frame, _ = _scene(family, {ids[1]: 0, ids[0]: 0})
        found = [d.tag_id for d in detector.detect(frame)]
        require(found == sorted(ids), f"The ids came as {found}.")

    def detections_carry_the_frames_time() -> None:
        frame, _ = _scene(family, {ids[0]: 0})
        stamps = {d.timestamp for d in detector.detect(frame)}
        require(stamps == {frame.timestamp}, f"The stamps are {stamps}, the frame's is {frame.timestamp}.")

    def nothing_is_found_in_nothing() -> None:
        frame, _ = _scene(family, {})
        found = detector.detect(frame)
        require(found == [], f"{len(found)} tags were found on a blank wall.")

    def noise_and_tiny_pictures_do_no_harm() -> None:
        rng = np.random.default_rng(0)
        for height, width in ((1, 1), (3, 200), (200, 300)):
            detector.detect(_frame(rng.integers(0, 256, (height, width, 3)).astype(np.uint8)))

    return [
        Check("Corners are top-left, top-right, bottom-right, bottom-left of the upright tag.", corners_are_in_order),
        Check("Detections come by increasing id.", ids_increase),
        Check("Detections carry the time of their frame.", detections_carry_the_frames_time),
        Check("A blank wall shows no tag.", nothing_is_found_in_nothing),
        Check("Noise and tiny pictures do no harm.", noise_and_tiny_pictures_do_no_harm),
    ]


def _scene(family: str, turns_by_id: Mapping[int, int]) -> tuple[Frame, dict[int, Floats]]:
    """Draw tags side by side on a grey wall, each turned clockwise; return their corners (4, 2) [px] as well."""
    image = np.full((360, 720, 3), 200, dtype=np.uint8)
    truth: dict[int, Floats] = {}
    for place, (tag_id, turns) in enumerate(turns_by_id.items()):
        marker = np.rot90(render_marker(family, tag_id, _CELL), -turns)
        size = marker.shape[0]
        x, y = 40 + place * 340, 50
        image[y - 20 : y + size + 20, x - 20 : x + size + 20] = 255
        image[y : y + size, x : x + size] = marker[..., None] if marker.ndim == 2 else marker
        # The edge of a pixel lies half a pixel from its centre.
        left, top, right, bottom = x - 0.5, y - 0.5, x + size - 0.5, y + size - 0.5
        corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
        truth[tag_id] = np.roll(corners, -turns, axis=0)
    image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.7), dtype=np.uint8)
    return _frame(image), truth


def _frame(image: Image) -> Frame:
    height, width = image.shape[:2]
    lens = CameraIntrinsics.from_field_of_view(width, height)
    return Frame(image=image, timestamp=12.5, index=0, intrinsics=lens)
