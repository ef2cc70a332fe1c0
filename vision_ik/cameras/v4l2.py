"""What Linux knows of its video devices: names, modes and controls, asked without starting them.

Structures and numbers are those of ``linux/videodev2.h``.
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from vision_ik.cameras.modes import CameraControl, CameraInfo, CameraMode

Ioctl: TypeAlias = Callable[[int, int, bytearray], object]
"""``fcntl.ioctl`` on a buffer that it fills; raises OSError."""

_CAPABILITY = struct.Struct("=16s32s32sIII12x")
_FORMAT = struct.Struct("=III32sII12x")
_SIZE = struct.Struct("=III6I8x")
_INTERVAL = struct.Struct("=IIIII6I8x")
_CONTROL = struct.Struct("=II32siiiiI8x")
QUERYCAP, ENUM_FMT, QUERYCTRL = 0x80685600, 0xC0405602, 0xC0445624
ENUM_FRAMESIZES, ENUM_FRAMEINTERVALS = 0xC02C564A, 0xC034564B
_CAPTURE = 0x1
"""Capability and buffer type of a device that gives pictures; others carry metadata or take pictures."""
_HAS_DEVICE_CAPS = 0x80000000
_DISCRETE = 1
_DISABLED = 0x1
_MOST = 64
"""Entries asked for in one list; drivers that never end theirs exist."""
_CONTROLS = {
    0x9A0902: ("exposure", 1e-4, "s"),
    0x980913: ("gain", 1.0, ""),
    0x9A090A: ("focus", 1.0, ""),
    0x98091A: ("white balance", 1.0, "K"),
}
"""Number of a control: our name, what one count is worth, and its unit."""
_COMMON_SIZES = ((640, 480), (1280, 720), (1920, 1080))
"""[px] Named for devices that take any size between bounds."""


def list_v4l2(devices: Path = Path("/dev"), ioctl: Ioctl | None = None) -> list[CameraInfo]:
    """Return the video devices that give pictures, by increasing index.

    Args:
        devices: Folder of the ``video*`` files.
        ioctl: How devices are asked; the system's by default.
    """
    nodes = [node for node in devices.glob("video*") if re.fullmatch(r"video\d+", node.name)]
    nodes.sort(key=lambda node: int(node.name[5:]))
    found = (_look(node, ioctl or _system_ioctl()) for node in nodes)
    return [info for info in found if info is not None]


def _look(node: Path, ioctl: Ioctl) -> CameraInfo | None:
    """Return what one device says; None when it gives no pictures."""
    source = node.name[5:]
    try:
        with _opened(node) as handle:
            device = _Device(handle, ioctl)
            fields = device.ask(QUERYCAP, _CAPABILITY)
            if fields is None:
                return CameraInfo(source=source, name=str(node), back_end="V4L2", trouble=f"{node} is no video device.")
            capabilities = fields[5] if fields[4] & _HAS_DEVICE_CAPS else fields[4]
            if not capabilities & _CAPTURE:
                return None
            return CameraInfo(
                source=source,
                name=_text(fields[1]),
                back_end="V4L2",
                modes=tuple(device.modes()),
                controls=tuple(device.controls()),
            )
    except PermissionError:
        trouble = "You may not open it: sudo usermod -aG video $USER, then log in again."
    except OSError as error:
        trouble = f"It cannot be opened: {error.strerror}."
    return CameraInfo(source=source, name=str(node), back_end="V4L2", trouble=trouble)


@dataclass(frozen=True, slots=True)
class _Device:
    """An open video device."""

    handle: int
    ioctl: Ioctl

    def ask(self, request: int, form: struct.Struct, *values: int) -> tuple[Any, ...] | None:
        """Return the fields of a structure that the driver filled in; None when it has no such entry."""
        fields = [field[:0] if isinstance(field, bytes) else 0 for field in form.unpack(bytes(form.size))]
        fields[: len(values)] = values
        buffer = bytearray(form.pack(*fields))
        try:
            self.ioctl(self.handle, request, buffer)
        except OSError:
            return None
        return form.unpack(buffer)

    def modes(self) -> Iterator[CameraMode]:
        """Give every pixel format in every size."""
        for index in range(_MOST):
            fields = self.ask(ENUM_FMT, _FORMAT, index, _CAPTURE)
            if fields is None:
                return
            code = fields[4]
            for width, height in self._sizes(code):
                rates = tuple(sorted(set(self._rates(code, width, height)), reverse=True))
                yield CameraMode(width=width, height=height, pixel_format=_four(code), rates=rates)

    def controls(self) -> Iterator[CameraControl]:
        """Give the controls that settings can ask for."""
        for number, (name, scale, unit) in _CONTROLS.items():
            fields = self.ask(QUERYCTRL, _CONTROL, number)
            if fields is not None and not fields[7] & _DISABLED:
                yield CameraControl(
                    name=name, least=round(fields[3] * scale, 6), most=round(fields[4] * scale, 6), unit=unit
                )

    def _sizes(self, code: int) -> Iterator[tuple[int, int]]:
        for index in range(_MOST):
            fields = self.ask(ENUM_FRAMESIZES, _SIZE, index, code)
            if fields is None:
                return
            if fields[2] == _DISCRETE:
                yield fields[3], fields[4]
                continue
            widths, heights = (
                range(fields[3], fields[4] + 1, fields[5] or 1),
                range(fields[6], fields[7] + 1, fields[8] or 1),
            )
            largest = (fields[4], fields[7])
            yield from (
                size for size in dict.fromkeys((*_COMMON_SIZES, largest)) if size[0] in widths and size[1] in heights
            )
            return

    def _rates(self, code: int, width: int, height: int) -> Iterator[float]:
        for index in range(_MOST):
            fields = self.ask(ENUM_FRAMEINTERVALS, _INTERVAL, index, code, width, height)
            if fields is None:
                return
            # An interval is a fraction of a second; a range begins with its shortest.
            numerator, denominator = fields[5], fields[6]
            if numerator > 0:
                yield round(denominator / numerator, 3)
            if fields[4] != _DISCRETE:
                return


@contextlib.contextmanager
def _opened(node: Path) -> Generator[int]:
    handle = os.open(node, os.O_RDWR | os.O_NONBLOCK)
    try:
        yield handle
    finally:
        os.close(handle)


def _system_ioctl() -> Ioctl:
    import fcntl  # there is none on Windows

    return fcntl.ioctl


def _four(code: int) -> str:
    return "".join(chr(code >> (8 * place) & 0x7F) for place in range(4)).rstrip()


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "replace")
