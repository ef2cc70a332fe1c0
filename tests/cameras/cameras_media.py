"""Media written for the tests: pictures, videos with uneven times, a webcam over loopback."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

import av
import cv2
import numpy as np
from av.video.stream import VideoStream

from vision_ik.types import Image


def flat_image(level: int, width: int = 64, height: int = 48) -> Image:
    """Return a BGR picture of one brightness."""
    return np.full((height, width, 3), level, dtype=np.uint8)


def write_video(
    path: Path,
    levels: Sequence[int],
    times: Sequence[float],
    codec: str = "mpeg4",
    *,
    noise: int = 0,
    key_frame_every: int = 0,
) -> Path:
    """Write one frame per level, at the times given [s]; noise [grey levels] makes its data large.

    An MP4 has its index in front, so that a cut-off one can still be opened.
    """
    rng = np.random.default_rng(0)
    with av.open(str(path), "w", options={"movflags": "faststart"} if path.suffix == ".mp4" else {}) as container:
        stream = cast("VideoStream", container.add_stream(codec, rate=1000))
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        if key_frame_every:
            stream.codec_context.gop_size = key_frame_every
            stream.codec_context.options = {"sc_threshold": "1000000000"}  # none where the picture changes
        for level, t in zip(levels, times, strict=True):
            image = (
                flat_image(level) // 2 + rng.integers(0, noise, (48, 64, 3), dtype=np.uint8)
                if noise
                else flat_image(level)
            )
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts, frame.time_base = round(t * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_grey_video(path: Path, values: Sequence[int]) -> Path:
    """Write a lossless video of 16-bit grey, one flat frame per value."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "gray16le"
        for value in values:
            picture = np.full((48, 64), value, dtype=np.uint16)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="gray16le")))
        container.mux(stream.encode(None))
    return path


def packet_places(path: Path) -> list[tuple[int, int]]:
    """Return where each compressed frame lies in a file, and its size [bytes]."""
    with av.open(str(path)) as container:
        return [
            (packet.pos, packet.size) for packet in container.demux(video=0) if packet.pos is not None and packet.size
        ]


def half_jpeg(shade: int) -> bytes:
    """Return a JPEG of noise around one shade whose data break off, closed again with an end marker."""
    noise = np.random.default_rng(0).integers(shade - 30, shade + 30, (48, 64, 3), dtype=np.uint8)
    whole = cv2.imencode(".jpg", noise)[1].tobytes()
    return whole[: len(whole) * 2 // 3] + b"\xff\xd9"


class MjpegSender:
    """A webcam on loopback: multipart JPEG whose brightness counts the pictures."""

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self.silent = threading.Event()
        self.sent = 0
        self.answered = 0
        self.cut_next = 0
        """So many pictures to come lack their end."""
        self._hung_up = 0
        sender = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                sender.answered += 1
                line = sender.answered
                while not sender.stopped.is_set() and line > sender._hung_up:
                    if not sender.silent.is_set() and not sender.send_one(self):
                        return
                    time.sleep(0.01)

            def log_message(self, format: str, *args: object) -> None:
                """Keep the test's output clean."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/video.mjpg"

    def send_one(self, handler: BaseHTTPRequestHandler) -> bool:
        """Write one part of the stream; return whether the receiver still listens."""
        _, jpeg = cv2.imencode(".jpg", flat_image(self.sent % 200))
        if self.cut_next > 0:
            self.cut_next -= 1
            jpeg = np.frombuffer(half_jpeg(100), dtype=np.uint8)
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {jpeg.size}\r\n\r\n"
        try:
            handler.wfile.write(head.encode() + jpeg.tobytes() + b"\r\n")
        except (BrokenPipeError, ConnectionResetError):
            return False
        self.sent += 1
        return True

    def hang_up(self) -> None:
        """End the stream of all who listen now; who asks again gets a new one."""
        self._hung_up = self.answered

    def stop(self) -> None:
        """Hang up and stop listening."""
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def mjpeg_sender() -> Generator[MjpegSender]:
    """Run a sender for the duration of a test."""
    sender = MjpegSender()
    try:
        yield sender
    finally:
        sender.stop()
