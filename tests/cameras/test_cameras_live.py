"""Live sources: the newest frame, honest stamps, a clean end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
from cameras_media import flat_image, mjpeg_sender

from vision_ik.cameras import CameraSettings, open_camera
from vision_ik.cameras.live import Grabber, LiveCamera, Shot
from vision_ik.errors import CameraError, CameraNotFoundError, FrameReadError
from vision_ik.types import Camera, CameraIntrinsics, Frame


def wait_until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait for another thread; fails only when it is stuck."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)


def must_read(camera: Camera) -> Frame:
    frame = camera.read(5.0)
    assert frame is not None
    return frame


def exhaust(camera: Camera) -> None:
    while True:
        camera.read(5.0)


class Tap(Grabber):
    """A grabber that gives a picture per permit, so that the test decides when."""

    def __init__(self, age: float = 0.0) -> None:
        self.permits = threading.Semaphore(1)
        self.age = age
        self.given = 0
        self.unplugged = False
        self.size: tuple[int, int] = (64, 48)
        self.released = threading.Event()

    def grab(self) -> Shot:
        self.permits.acquire()
        if self.unplugged:
            raise FrameReadError("The tap stopped.", "Plug it in again.")
        self.given += 1
        return Shot(image=flat_image(self.given % 256, *self.size), age=self.age)

    def give(self, n: int = 1) -> None:
        before = self.given
        self.permits.release(n)
        wait_until(lambda: self.given == before + n)

    def release(self) -> None:
        self.released.set()


@pytest.fixture
def tap() -> Tap:
    return Tap()


def close(camera: LiveCamera, tap: Tap) -> None:
    tap.permits.release(2)
    camera.close()
    assert tap.released.wait(5.0)


def test_an_unread_frame_is_replaced_by_the_newest(tap: Tap) -> None:
    camera = LiveCamera(tap, source="tap")
    tap.give(4)
    # The fifth picture is stored a moment after it was grabbed.
    seen = must_read(camera)
    while seen.index < 4:
        seen = must_read(camera)
    assert (seen.index, int(seen.image[0, 0, 0])) == (4, 5)
    assert camera.read(0.0) is None
    assert camera.live
    assert not camera.ended
    close(camera, tap)


def test_a_frame_is_stamped_when_it_came_less_its_age(tap: Tap) -> None:
    tap.age = 0.250
    before = time.monotonic()
    camera = LiveCamera(tap, source="tap")
    frame = must_read(camera)
    assert before - 0.250 <= frame.timestamp <= time.monotonic() - 0.250
    close(camera, tap)


def test_an_unplugged_device_raises_after_its_last_frame(tap: Tap) -> None:
    camera = LiveCamera(tap, source="tap")
    tap.unplugged = True
    tap.permits.release()
    assert tap.released.wait(5.0)
    assert must_read(camera).index == 0
    for _ in range(2):
        with pytest.raises(FrameReadError, match="stopped"):
            camera.read(5.0)
    camera.close()


def test_a_fault_in_a_driver_reaches_the_reader(tap: Tap) -> None:
    camera = LiveCamera(tap, source="tap")
    must_read(camera)
    tap.size = (-1, -1)
    tap.permits.release()
    with pytest.raises(FrameReadError, match="tap failed while reading: ValueError") as caught:
        camera.read(5.0)
    assert isinstance(caught.value.__cause__, ValueError)
    camera.close()


def test_a_device_that_gives_no_first_frame_is_released(tap: Tap) -> None:
    tap.unplugged = True
    with pytest.raises(FrameReadError, match="stopped"):
        LiveCamera(tap, source="tap")
    assert tap.released.wait(5.0)


def test_a_lens_that_does_not_fit_releases_the_device(tap: Tap) -> None:
    tap.permits.release(10_000)  # it runs freely, as a device does
    with pytest.raises(CameraError, match="no resized version"):
        LiveCamera(tap, source="tap", intrinsics=CameraIntrinsics.from_field_of_view(100, 30))
    assert tap.released.wait(5.0)


def test_a_change_of_size_while_running_is_an_error(tap: Tap) -> None:
    camera = LiveCamera(tap, source="tap")
    must_read(camera)
    tap.size = (32, 24)
    tap.give()
    with pytest.raises(CameraError, match="changed its picture size to 32x24"):
        camera.read(5.0)
    close(camera, tap)


def test_a_closed_camera_refuses_to_read(tap: Tap) -> None:
    camera = LiveCamera(tap, source="tap")
    close(camera, tap)
    with pytest.raises(FrameReadError, match="closed"):
        camera.read()


def test_a_stream_over_http_gives_its_newest_frames_until_the_sender_stops() -> None:
    with mjpeg_sender() as sender, open_camera(sender.url, settings=CameraSettings(patience=0.0)) as camera:
        first = must_read(camera)
        assert first.image.shape == (48, 64, 3)
        assert camera.intrinsics.approximate
        sent = sender.sent
        wait_until(lambda: sender.sent >= sent + 15)
        # Whatever was buffered while nobody read is dropped: at most the frames under way are older.
        late = must_read(camera)
        late = must_read(camera) if late.index == first.index + 1 else late
        assert float(late.image.mean()) >= sent
        assert late.timestamp > first.timestamp
        sender.stop()
        with pytest.raises(FrameReadError, match="stopped") as caught:
            exhaust(camera)
        assert caught.value.remedy


def test_half_a_picture_in_a_stream_is_never_given() -> None:
    with mjpeg_sender() as sender, open_camera(sender.url, settings=CameraSettings(patience=0.0)) as camera:
        must_read(camera)
        sender.cut_next = 1_000_000
        given: list[Frame] = []
        with pytest.raises(FrameReadError, match="stopped: Invalid data"):
            given.extend(must_read(camera) for _ in range(300))
    assert all(frame.image.std() < 2.0 for frame in given)  # whole ones are of one brightness


def test_closing_a_stream_that_fell_silent_does_not_hang() -> None:
    with mjpeg_sender() as sender:
        camera = open_camera(sender.url)
        must_read(camera)
        sender.silent.set()
        start = time.monotonic()
        camera.close()
        assert time.monotonic() - start < 30.0  # a hang, not a speed


def test_an_address_nobody_answers_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    with mjpeg_sender() as sender:
        url = sender.url
    with pytest.raises(CameraNotFoundError, match=r"No video stream could be opened at http://127\.0\.0\.1") as caught:
        open_camera(url)
    assert "sender" in caught.value.remedy
    assert capfd.readouterr().err == ""


def test_pictures_of_a_live_source_are_not_shared_with_the_device(tap: Tap) -> None:
    camera = LiveCamera(tap, source="tap")
    frame = must_read(camera)
    copy = np.array(frame.image)
    tap.give(2)
    np.testing.assert_array_equal(frame.image, copy)
    close(camera, tap)
