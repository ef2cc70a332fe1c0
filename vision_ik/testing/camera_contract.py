"""What every source of frames must keep."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import cast

import numpy as np

from vision_ik.errors import CameraError
from vision_ik.testing.contract import Check, require, require_raises
from vision_ik.types import Camera, Frame

_FARTHEST = 1000.0
"""[m] Beyond what any camera measures: such depth is in millimetres."""


def camera_contract(make: Callable[[], Camera], *, frames: int = 3, timeout: float = 5.0) -> list[Check]:
    """Return the checks for a camera.

    Args:
        make: Opens a fresh source that gives at least ``frames`` frames.
        frames: How many to read.
        timeout: Granted to each read [s].
    """

    def read(camera: Camera) -> list[Frame]:
        taken = [frame for _ in range(frames) if (frame := camera.read(timeout)) is not None]
        require(len(taken) == frames, f"{len(taken)} of {frames} frames came.")
        return taken

    def picture_fits_its_lens() -> None:
        with make() as camera:
            for frame in read(camera):
                size = frame.image.shape[1], frame.image.shape[0]
                lens = frame.intrinsics.width, frame.intrinsics.height
                require(size == lens, f"The picture has {size} px, its intrinsics say {lens}.")

    def pictures_are_read_only() -> None:
        with make() as camera:
            require(not read(camera)[0].image.flags.writeable, "A picture can be written to.")

    def time_and_index_increase() -> None:
        with make() as camera:
            taken = read(camera)
            for a, b in pairwise(taken):
                require(b.timestamp > a.timestamp, f"Time went from {a.timestamp} to {b.timestamp} s.")
                require(b.index > a.index, f"The index went from {a.index} to {b.index}.")

    def depth_is_in_metres() -> None:
        with make() as camera:
            for frame in read(camera):
                if frame.depth is None:
                    continue
                known = frame.depth[~np.isnan(frame.depth)]
                require(frame.depth.dtype == np.float32, f"Depth has the type {frame.depth.dtype}.")
                require(bool((known > 0).all()), "A depth is not positive: what is unknown is NaN.")
                farthest = float(known.max(initial=0.0))
                require(farthest < _FARTHEST, f"A depth of {farthest:g} is no distance in metres.")

    def poll_gives_a_frame_or_none() -> None:
        with make() as camera:
            polled = cast("object", camera.read(timeout=0.0))
            require(polled is None or isinstance(polled, Frame), f"A poll gave {type(polled).__name__}.")

    def a_finite_source_ends_and_a_live_one_does_not() -> None:
        with make() as camera:
            read(camera)
            if camera.live:
                require(not camera.ended, "A live source says that it has ended.")
                return
            for _ in range(100_000):
                if camera.ended:
                    break
                camera.read(timeout)
            require(camera.ended, "The source did not end within 100,000 reads.")
            require(camera.read(timeout=0.0) is None, "A frame came after the end.")
            require(camera.ended, "The end was taken back.")

    def closing_twice_does_no_harm() -> None:
        camera = make()
        camera.close()
        camera.close()

    def a_closed_camera_refuses_to_read() -> None:
        camera = make()
        with camera:
            pass
        require_raises(CameraError, lambda: camera.read(timeout=0.0))

    return [
        Check("Each picture has the size that its intrinsics say.", picture_fits_its_lens),
        Check("Pictures are read-only.", pictures_are_read_only),
        Check("Timestamps and indices increase strictly.", time_and_index_increase),
        Check("Depth, where there is some, is in metres.", depth_is_in_metres),
        Check("A poll gives a frame or None.", poll_gives_a_frame_or_none),
        Check("A finite source ends for good, a live one never.", a_finite_source_ends_and_a_live_one_does_not),
        Check("Closing twice does no harm.", closing_twice_does_no_harm),
        Check("A closed camera raises CameraError.", a_closed_camera_refuses_to_read),
    ]
