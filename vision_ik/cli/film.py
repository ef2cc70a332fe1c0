"""The video of a run, drawn and encoded beside the loop so that the loop keeps its pace."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

import numpy as np

from vision_ik.types import Image
from vision_ik.view import VideoWriter, side_by_side

_WAITING = 8
"""Pictures that may wait to be encoded; then the loop waits, and nothing is dropped."""
_THIRD_PERSON_EVERY = 2
"""Pictures that share one from outside, which costs as much as the camera's."""
ThirdPerson: TypeAlias = Callable[[], Callable[[], Image]]
"""Keeps the scene as it is now, and returns what draws it (BGR) later, on another thread."""


class Film:
    """A video that grows by pictures of the camera, each beside the scene at that moment.

    Args:
        path: Ends in ``.mp4``.
        fps: Frames per second of the video.
        third_person: The scene from outside; None leaves it out.

    Raises:
        RecordingError: The video cannot be written; raised by the call that finds out.
    """

    def __init__(self, path: Path, *, fps: float, third_person: ThirdPerson | None = None) -> None:
        self.picture: Image | None = None
        """The newest finished picture (BGR), for a window."""
        self._path = path
        self._fps = fps
        self._third_person = third_person
        self._scene: Image | None = None
        self._count = 0
        self._size = (0, 0)
        self._video: VideoWriter | None = None
        self._stack = ExitStack()
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="film")
        self._pending: deque[Future[None]] = deque()

    def add(self, draw: Callable[[], Image]) -> None:
        """Append the picture that ``draw`` returns; it is called soon, on another thread."""
        if self._third_person is not None and self._count % _THIRD_PERSON_EVERY == 0:
            develop = self._third_person()
        else:
            develop = None
        self._count += 1
        self._pending.append(self._pool.submit(self._append, draw, develop))
        while self._pending and (len(self._pending) > _WAITING or self._pending[0].done()):
            self._pending.popleft().result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._pool.shutdown(wait=True)
            if error is None:
                while self._pending:
                    self._pending.popleft().result()
        except BaseException as late:
            self._stack.__exit__(type(late), late, late.__traceback__)
            raise
        self._stack.__exit__(kind, error, trace)

    def _append(self, draw: Callable[[], Image], develop: Callable[[], Image] | None) -> None:
        picture = draw()
        if develop is not None:
            self._scene = develop()
        if self._scene is not None:
            picture = side_by_side([picture, self._scene], captions=["camera", "simulated arm"])
        self.picture = picture
        if self._video is None:
            self._size = (picture.shape[1], picture.shape[0])
            self._video = self._stack.enter_context(VideoWriter(self._path, fps=self._fps, size=self._size))
        self._video.write(_fitted(picture, self._size))


def _fitted(picture: Image, size: tuple[int, int]) -> Image:
    """Return the picture cut or padded to ``size`` (width, height): sources may change their size."""
    width, height = size
    if picture.shape[:2] == (height, width):
        return picture
    canvas = np.zeros((height, width, 3), np.uint8)
    h, w = min(height, picture.shape[0]), min(width, picture.shape[1])
    canvas[:h, :w] = picture[:h, :w]
    return canvas
