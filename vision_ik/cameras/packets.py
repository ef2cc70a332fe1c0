"""Frames of a compressed video that were drawn from whole data."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import av.error
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream


class BrokenDataError(Exception):
    """Data of a frame are missing or make no sense; what comes later may be whole."""


class WholeFrames:
    """Gives the frames of a stream; after damage goes on with the next that needs no frame before it.

    Decoders draw what builds on a damaged frame all the same, wrong and without a mark. A tag in it
    would have wrong corners.

    Args:
        container: Open file or connection.
        stream: The video in it.
    """

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        self._packets: Iterator[Packet[VideoStream]] = container.demux(stream)
        self._decoder = stream.codec_context
        if self._decoder.name == "mjpeg":
            # It would fill the missing part of a picture with grey, and not mark it.
            self._decoder.options = {"err_detect": "explode"}
        self._waiting: deque[VideoFrame] = deque()
        self._damaged = False

    def take(self) -> VideoFrame | None:
        """Return the next whole frame, None at the end.

        Raises:
            BrokenDataError: A frame is damaged; taking goes on behind it.
            FFmpegError, OSError: The source itself cannot be read on.
        """
        while not self._waiting:
            packet = next(self._packets, None)
            if packet is None:
                return None
            if self._damaged:
                if not packet.is_keyframe:
                    continue
                self._decoder.flush_buffers()
                self._damaged = False
            try:
                self._waiting.extend(packet.decode())
            except (av.error.FFmpegError, OSError) as error:
                self._damaged = True
                raise BrokenDataError(str(getattr(error, "strerror", None) or error)) from error
        frame = self._waiting.popleft()
        if frame.is_corrupt:
            self._waiting.clear()
            self._damaged = True
            raise BrokenDataError("some of its data are missing")
        return frame
