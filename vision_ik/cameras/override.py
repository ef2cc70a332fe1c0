"""A camera seen through another lens description."""

from __future__ import annotations

from dataclasses import replace

from vision_ik.cameras.base import BaseCamera
from vision_ik.cameras.pictures import fit_intrinsics
from vision_ik.types import Camera, CameraIntrinsics, Frame


class OtherLens(BaseCamera):
    """Passes a camera's frames on with the user's intrinsics in place of its own.

    Raises:
        CameraError: The intrinsics do not fit the camera's pictures; the camera is closed.
    """

    def __init__(self, camera: Camera, intrinsics: CameraIntrinsics) -> None:
        own = camera.intrinsics
        source = str(getattr(camera, "source", "the camera"))
        try:
            fitted = fit_intrinsics(intrinsics, None, own.width, own.height, source)
        except BaseException:
            camera.close()
            raise
        super().__init__(source, fitted)
        self.camera = camera

    @property
    def live(self) -> bool:
        """As the camera behind."""
        return self.camera.live

    @property
    def ended(self) -> bool:
        """As the camera behind."""
        return self.camera.ended

    def read(self, timeout: float = 1.0) -> Frame | None:
        """Return the camera's frame with the other intrinsics.

        Raises:
            CameraError: They do not fit this frame: its size is another than the camera's own intrinsics told.
        """
        frame = self.camera.read(timeout)
        if frame is None:
            return None
        height, width = frame.image.shape[:2]
        return replace(frame, intrinsics=fit_intrinsics(self._intrinsics, None, width, height, self.source))

    def close(self) -> None:
        """Close the camera behind."""
        self.camera.close()
        super().close()
