"""H.264 video through PyAV (OpenCV's wheels cannot encode it)."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import av.error
import numpy as np
from av import library_versions
from av.container import OutputContainer
from av.video.reformatter import Colorspace
from av.video.stream import VideoStream

from vision_ik.errors import RecordingError
from vision_ik.types import Image

_BT709 = 1
"""Code of ITU-T H.273 for the primaries, transfer and matrix of BT.709, which players assume for HD."""
_LIMITED_RANGE = 1
_HYBRID_SINCE = (61, 7, 0)
"""libavformat from which an MP4 stays playable even if the process is killed (FFmpeg 7.1)."""

_KEYFRAME_INTERVAL = 2.0
"""[s] Players seek to key frames, and a killed process loses what came after the last one."""


class VideoWriter:
    """Write an MP4 (H.264, yuv420p) that any browser plays.

    Frames go to ``NAME.partial.mp4`` beside the target, which takes the target's name when
    the video is closed. If the block ends in an exception, the partial file is completed and
    stays under that name; the target is never half a video.

    Args:
        path: Ends in ``.mp4``.
        fps: Frames per second.
        size: Width and height [px] of the frames to come; odd ones are padded by a row or column.

    Raises:
        RecordingError: The file cannot be written, or this PyAV has no H.264 encoder.
    """

    def __init__(self, path: str | Path, *, fps: float, size: tuple[int, int]) -> None:
        self.path = Path(path)
        self.frames = 0
        if self.path.suffix.lower() != ".mp4":
            raise ValueError(f"A video's name must end in .mp4, not {self.path.name!r}.")
        if not fps > 0 or min(size) < 2:
            raise ValueError(f"A video needs a positive rate and at least 2x2 pixels, not {fps} fps and {size}.")
        self._size = size
        self._partial = self.path.with_name(f"{self.path.stem}.partial.mp4")
        self._container: OutputContainer | None = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._container = av.open(str(self._partial), "w", options=_container_options())
            self._stream = _h264_stream(self._container, fps, size)
        except (OSError, ValueError, av.error.FFmpegError) as error:
            self._discard()
            raise self._failure(error) from error

    def write(self, image: Image) -> None:
        """Append one (H, W, 3) uint8 BGR picture of the video's size.

        Raises:
            RecordingError: The disk is full or gone.
        """
        if self._container is None:
            raise RecordingError(f"{self.path} is closed.", "Write inside the with block.", path=self.path)
        if image.shape != (self._size[1], self._size[0], 3):
            raise ValueError(f"The video is {self._size[0]}x{self._size[1]} BGR; this picture has {image.shape}.")
        try:
            frame = av.VideoFrame.from_ndarray(_even(image), format="bgr24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)
            frame.pts = self.frames
            self._container.mux(self._stream.encode(frame))
        except (OSError, av.error.FFmpegError) as error:
            raise self._failure(error) from error
        self.frames += 1

    def close(self) -> None:
        """Complete the file and give it its name; a video without frames leaves no file.

        Raises:
            RecordingError: The disk is full or gone.
        """
        if self._container is None:
            return
        if self.frames == 0:
            self._discard()
            return
        try:
            self._complete()
            self._partial.replace(self.path)
        except (OSError, av.error.FFmpegError) as error:
            raise self._failure(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        if raised is None:
            self.close()
        elif self._container is not None and self.frames == 0:
            self._discard()
        elif self._container is not None:
            try:
                self._complete()
            except (OSError, av.error.FFmpegError) as error:
                raised.add_note(f"The video so far could not be completed either: {error}")
            else:
                raised.add_note(f"The video so far is in {self._partial}.")

    def _complete(self) -> None:
        container, self._container = self._container, None
        if container is not None:
            try:
                container.mux(self._stream.encode(None))
            finally:
                container.close()

    def _discard(self) -> None:
        container, self._container = self._container, None
        if container is not None:
            container.close()
            self._partial.unlink(missing_ok=True)

    def _failure(self, error: Exception) -> RecordingError:
        reason = getattr(error, "strerror", None) or error
        return RecordingError(
            f"Could not write {self.path}: {reason}.",
            "Free some space or choose a folder you may write to; `vision-ik doctor` checks the encoder.",
            path=self.path,
        )


def _container_options() -> dict[str, str]:
    hybrid = library_versions["libavformat"] >= _HYBRID_SINCE
    return {"movflags": "+hybrid_fragmented" if hybrid else "+faststart"}


def _h264_stream(container: OutputContainer, fps: float, size: tuple[int, int]) -> VideoStream:
    rate = Fraction(fps).limit_denominator(1001)
    stream = container.add_stream("libx264", rate=rate, options={"preset": "veryfast", "crf": "20"})
    stream.width, stream.height = (side + side % 2 for side in size)
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.time_base = 1 / rate
    context.gop_size = max(1, round(_KEYFRAME_INTERVAL * fps))
    context.colorspace = context.color_primaries = context.color_trc = _BT709
    context.color_range = _LIMITED_RANGE
    return stream


def _even(image: Image) -> Image:
    """Return the picture with even sides: yuv420p halves both for colour."""
    height, width = image.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return np.ascontiguousarray(image)
    return np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
