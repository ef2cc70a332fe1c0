"""What people look at: overlays on pictures, videos, plots, the report, a window.

Names load on first use: cv2, PyAV, matplotlib and jinja2 are imported only when drawn with.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vision_ik.view import plots as plots
    from vision_ik.view.layout import side_by_side as side_by_side
    from vision_ik.view.machine import environment as environment
    from vision_ik.view.overlay import OverlayStatus as OverlayStatus
    from vision_ik.view.overlay import draw_overlay as draw_overlay
    from vision_ik.view.report import Picture as Picture
    from vision_ik.view.report import Plot as Plot
    from vision_ik.view.report import Table as Table
    from vision_ik.view.report import Tile as Tile
    from vision_ik.view.report import write_report as write_report
    from vision_ik.view.video import VideoWriter as VideoWriter
    from vision_ik.view.window import LiveWindow as LiveWindow
    from vision_ik.view.window import has_display as has_display

_HOME = {
    "LiveWindow": "window",
    "OverlayStatus": "overlay",
    "Picture": "report",
    "Plot": "report",
    "Table": "report",
    "Tile": "report",
    "VideoWriter": "video",
    "draw_overlay": "overlay",
    "environment": "machine",
    "has_display": "window",
    "side_by_side": "layout",
    "write_report": "report",
}

__all__ = sorted([*_HOME, "plots"])  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    if name == "plots":
        return importlib.import_module("vision_ik.view.plots")
    if name not in _HOME:
        raise AttributeError(f"module 'vision_ik.view' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"vision_ik.view.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
