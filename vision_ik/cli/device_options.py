"""Options of webcams and depth cameras, for every verb that opens one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vision_ik.errors import ConfigError

if TYPE_CHECKING:
    from vision_ik.cameras import CameraSettings


@dataclass(frozen=True, kw_only=True)
class DeviceOptions:
    """Wishes for a webcam or depth camera; `vision-ik cameras` shows what it offers.

    What the camera does not grant is said.
    """

    frame_size: tuple[int, int] | None = None
    """Width and height in pixels."""
    frame_rate: float | None = None
    """Frames per second."""
    pixel_format: str | None = None
    """Four characters, such as MJPG: many webcams reach their full rate with it alone."""
    exposure_ms: float | Literal["auto", "lock"] | None = None
    """Exposure time; auto lets the camera choose, lock stops it at what it chose for the first pictures."""
    gain: float | None = None
    """On the driver's own scale."""
    focus: float | Literal["auto", "lock"] | None = None
    """On the driver's own scale, or as for the exposure; a lens that refocuses changes its calibration."""
    white_balance: float | Literal["auto", "lock"] | None = None
    """Colour temperature in kelvin, or as for the exposure."""
    patience_s: float = 30.0
    """How long to look for a camera that went away before giving up."""

    def settings(self) -> CameraSettings:
        """Return the wishes in SI units.

        Raises:
            ConfigError: One of them can be granted by no camera.
        """
        from vision_ik.cameras import CameraSettings

        exposure = self.exposure_ms
        try:
            return CameraSettings(
                size=self.frame_size,
                rate=self.frame_rate,
                pixel_format=self.pixel_format,
                exposure=exposure if exposure is None or isinstance(exposure, str) else exposure / 1000.0,
                gain=self.gain,
                focus=self.focus,
                white_balance=self.white_balance,
                patience=self.patience_s,
            )
        except ValueError as error:
            raise ConfigError(str(error), "`vision-ik cameras SOURCE` shows what the camera offers.") from error
