"""The colours of every picture, few and with one meaning each."""

from __future__ import annotations

INK = "#0f172a"
"""Bars behind text."""
PAPER = "#f8fafc"
"""Text on bars."""
MUTED = "#94a3b8"
"""Secondary text."""
TAG = "#2dd4bf"
"""Outline of a tag."""
FIRST_CORNER = "#fbbf24"
TARGET = "#f472b6"
"""Where the arm is asked to go."""
TOOL = "#f8fafc"
"""Where the tool is."""
AXES = ("#f25f5c", "#4ade80", "#60a5fa")
"""x, y, z."""
GOOD = "#34d399"
WAITING = "#fbbf24"
BAD = "#f87171"
APPROXIMATE = "#fbbf24"


def bgr(colour: str) -> tuple[int, int, int]:
    """Return ``#rrggbb`` as OpenCV's (blue, green, red)."""
    value = int(colour.removeprefix("#"), 16)
    return value & 255, value >> 8 & 255, value >> 16
