"""What a camera that is plugged in says of itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraMode:
    """One combination that a camera offers."""

    width: int
    """[px]"""
    height: int
    """[px]"""
    pixel_format: str
    """Four characters; empty where not known."""
    rates: tuple[float, ...]
    """Frames per second, fastest first; empty where not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraControl:
    """One setting that a driver offers."""

    name: str
    least: float
    most: float
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraInfo:
    """A camera that is plugged in."""

    source: str
    """What `open_camera` and the command line take."""
    name: str
    back_end: str
    """Who drives it: V4L2, RealSense, DepthAI, or OpenCV's name of the system's."""
    modes: tuple[CameraMode, ...] = ()
    controls: tuple[CameraControl, ...] = ()
    trouble: str = ""
    """Why it cannot be used now, as a sentence."""
