"""A live camera that goes away: read gives None and a reason, frames come back, patience ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from cameras_media import flat_image, mjpeg_sender

from vision_ik.cameras import CameraSettings, open_camera
from vision_ik.cameras.live import Grabber, LiveCamera, Shot
from vision_ik.cameras.reconnecting import Absence
from vision_ik.clock import VirtualClock
from vision_ik.errors import CameraNotFoundError, FrameReadError
from vision_ik.types import Frame

GONE = FrameReadError("The plug is out.", "Plug it in again.")


class Socket:
    """A place to plug cameras into: gives a picture per permit, and counts attempts to open."""

    def __init__(self) -> None:
        self.plugged = True
        self.permits = threading.Semaphore(1)
        self.attempts: list[float] = []
        self.clock = VirtualClock(100.0)
        self.alive = 0
        self.age = 0.0
        self.identified = True

    def open(self) -> Plugged:
        self.attempts.append(self.clock.now())
        if not self.plugged:
            raise CameraNotFoundError("Nothing is plugged in.", "Plug it in again.")
        return Plugged(self)

    def camera(self, patience: float = 10.0) -> LiveCamera:
        return LiveCamera(
            Plugged(self), source="plug", clock=self.clock, reopen=self.open, patience=patience
        )  # fmt: skip


class Plugged(Grabber):
    def __init__(self, socket: Socket) -> None:
        self.socket = socket
        self.identified = socket.identified
        self.mismatches = (f"opened {len(socket.attempts)} times",)
        socket.alive += 1

    def grab(self) -> Shot:
        self.socket.permits.acquire()
        if not self.socket.plugged:
            raise GONE
        return Shot(image=flat_image(50), age=self.socket.age)

    def release(self) -> None:
        self.socket.alive -= 1


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5.0
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)


def must_read(camera: LiveCamera) -> Frame:
    frame = camera.read(5.0)
    assert frame is not None
    return frame


@pytest.fixture
def socket() -> Iterator[Socket]:
    made = Socket()
    yield made
    made.plugged = False
    made.permits.release(100)


def unplug(socket: Socket, camera: LiveCamera) -> None:
    socket.plugged = False
    socket.permits.release()
    wait_until(lambda: camera.trouble != "")


def test_frames_flow_again_with_increasing_index_and_stamp(socket: Socket) -> None:
    camera = socket.camera()
    first = must_read(camera)
    unplug(socket, camera)
    assert camera.read(0.0) is None
    assert camera.trouble == "The plug is out. It is being opened again."
    assert not camera.ended
    socket.plugged = True
    socket.clock.advance(1.0)
    socket.permits.release()
    second = must_read(camera)
    assert second.index > first.index
    assert second.timestamp > first.timestamp
    assert camera.trouble == ""
    assert camera.mismatches == ("opened 1 times",)  # those of the device that is open now
    assert socket.alive == 1
    socket.permits.release(2)
    camera.close()


@pytest.mark.parametrize("identified", [True, False])
def test_a_camera_found_again_by_its_number_alone_is_told_to_be_maybe_another(socket: Socket, identified: bool) -> None:
    socket.identified = identified
    camera = socket.camera()
    must_read(camera)
    assert camera.remarks == ()
    unplug(socket, camera)
    socket.plugged = True
    socket.clock.advance(1.0)
    socket.permits.release()
    must_read(camera)
    assert [("found again by its number alone" in remark) for remark in camera.remarks] == [True] * (not identified)
    socket.permits.release(2)
    camera.close()


def test_no_frame_is_made_up_while_the_device_is_away(socket: Socket) -> None:
    camera = socket.camera()
    must_read(camera)
    unplug(socket, camera)
    socket.clock.advance(3.0)
    wait_until(lambda: len(socket.attempts) >= 1)
    assert camera.read(0.05) is None
    camera.close()


def test_patience_ends_with_an_error_that_says_how_long_and_why(socket: Socket) -> None:
    camera = socket.camera(patience=2.0)
    must_read(camera)
    unplug(socket, camera)
    for _ in range(40):
        socket.clock.advance(0.1)
        time.sleep(0.002)
    with pytest.raises(FrameReadError, match=r"plug has been gone for \d s: The plug is out\. Plug it in again\.") as e:
        _ = [camera.read(5.0) for _ in range(3)]
    assert isinstance(e.value.__cause__, CameraNotFoundError)
    assert camera.trouble.startswith("plug has been gone")
    assert socket.alive == 0
    camera.close()


def test_a_device_that_was_never_there_is_not_waited_for(socket: Socket) -> None:
    socket.plugged = False
    with pytest.raises(FrameReadError, match="plug is out"):
        socket.camera()
    assert socket.attempts == []


def test_closing_ends_the_search(socket: Socket) -> None:
    camera = socket.camera(patience=1e9)
    must_read(camera)
    unplug(socket, camera)
    camera.close()
    wait_until(lambda: not any(thread.name == "capture plug" for thread in threading.enumerate()))
    assert socket.alive == 0


def test_pauses_double_up_to_a_bound_and_end_with_the_patience() -> None:
    absence = Absence(source="plug", since=10.0, patience=12.0, first=GONE)
    due = [10.0]
    while due[-1] < 22.0:
        due.append(absence.next_attempt(due[-1], GONE))
    assert due == [10.0, 10.25, 10.75, 11.75, 13.75, 17.75, 21.75, 22.0]
    with pytest.raises(FrameReadError, match="gone for 12 s"):
        absence.next_attempt(22.0, GONE)


def test_a_device_that_fell_silent_is_told(socket: Socket) -> None:
    camera = socket.camera()
    must_read(camera)
    assert camera.trouble == ""
    socket.clock.advance(2.5)
    assert camera.trouble == "plug has given no frame for 2.5 s."
    socket.permits.release(3)
    camera.close()


@pytest.mark.parametrize("ages", [(0.0, 0.4, 0.8), (0.5, 0.0, 0.6)])
def test_stamps_increase_and_never_lie_in_the_future(socket: Socket, ages: tuple[float, ...]) -> None:
    socket.age = ages[0]
    camera = socket.camera()
    stamps = [must_read(camera).timestamp]
    for age in ages[1:]:
        socket.age = age
        socket.clock.advance(0.1)
        socket.permits.release()
        stamps.append(must_read(camera).timestamp)
        assert stamps[-2] < stamps[-1] <= socket.clock.now()
    socket.permits.release(2)
    camera.close()


def test_a_stream_that_breaks_off_is_opened_again() -> None:
    with mjpeg_sender() as sender, open_camera(sender.url, settings=CameraSettings(patience=60.0)) as camera:
        assert isinstance(camera, LiveCamera)
        before = must_read(camera)
        sender.hang_up()
        wait_until(lambda: sender.answered >= 2)
        while (after := must_read(camera)).index <= before.index + 1:
            continue
        assert after.timestamp > before.timestamp
