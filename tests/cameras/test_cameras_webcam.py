"""Webcams: what was asked for is read back, what was refused is said, stamps are the driver's where they can be."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from cameras_media import flat_image, half_jpeg
from cameras_webcams import AppleCapture, DshowCapture, FakeCapture, UvcCapture

from vision_ik.cameras import CameraSettings, open_camera
from vision_ik.cameras.devices import Webcam, lasting_path, stable_path
from vision_ik.cameras.pictures import is_half_drawn
from vision_ik.errors import CameraNotFoundError, FrameReadError

Plug = Callable[[type[FakeCapture]], list[FakeCapture]]


@pytest.fixture
def plug(monkeypatch: pytest.MonkeyPatch) -> Plug:
    """Return what makes every camera one of a kind, and lists those opened."""

    def use(kind: type[FakeCapture]) -> list[FakeCapture]:
        made: list[FakeCapture] = []

        def capture(index: int) -> FakeCapture:
            made.append(kind(index))
            return made[-1]

        monkeypatch.setattr(cv2, "VideoCapture", capture)
        return made

    return use


def test_settings_that_were_not_granted_are_reported(plug: Plug) -> None:
    webcams = plug(FakeCapture)
    webcam = Webcam(0, CameraSettings(size=(128, 48), rate=30.0, pixel_format="MJPG"))
    assert webcam.mismatches == (
        "camera 0 gives width 64 instead of 128.",
        "camera 0 gives YUYV instead of MJPG.",
    )
    webcam.release()
    assert not webcams[0].open


def test_the_pixel_format_is_set_before_the_size_and_the_rate(plug: Plug) -> None:
    (made,) = (plug(FakeCapture),)
    Webcam(0, CameraSettings(size=(64, 48), rate=30.0, pixel_format="YUYV"))
    order = [key for key, _ in made[0].written if key != cv2.CAP_PROP_BUFFERSIZE]
    wanted = [cv2.CAP_PROP_FOURCC, cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FPS]
    assert order == wanted


def test_wishes_of_the_arguments_go_before_those_of_the_settings(plug: Plug) -> None:
    plug(UvcCapture)
    with open_camera("0", size=(64, 48), settings=CameraSettings(size=(640, 480), rate=25.0)) as camera:
        assert vars(camera)["_grabber"].mismatches == ()


@pytest.mark.parametrize(
    ("settings", "key", "value"),
    [
        (CameraSettings(exposure=0.004), cv2.CAP_PROP_EXPOSURE, 40.0),
        (CameraSettings(exposure="lock"), cv2.CAP_PROP_EXPOSURE, 100.0),
        (CameraSettings(exposure="lock"), cv2.CAP_PROP_AUTO_EXPOSURE, 1.0),
        (CameraSettings(exposure="auto"), cv2.CAP_PROP_AUTO_EXPOSURE, 3.0),
        (CameraSettings(focus=25.0), cv2.CAP_PROP_FOCUS, 25.0),
        (CameraSettings(focus="lock"), cv2.CAP_PROP_AUTOFOCUS, 0.0),
        (CameraSettings(white_balance=5000.0), cv2.CAP_PROP_WB_TEMPERATURE, 5000.0),
        (CameraSettings(white_balance="lock"), cv2.CAP_PROP_AUTO_WB, 0.0),
        (CameraSettings(gain=7.0), cv2.CAP_PROP_GAIN, 7.0),
    ],
)
def test_v4l2_grants_what_it_can_in_its_own_numbers(
    plug: Plug, settings: CameraSettings, key: int, value: float
) -> None:
    made = plug(UvcCapture)
    webcam = Webcam(0, settings)
    assert webcam.mismatches == ()
    assert made[0].values[key] == value


def test_a_value_the_driver_clamps_is_reported_in_seconds(plug: Plug) -> None:
    plug(UvcCapture)
    (sentence,) = Webcam(0, CameraSettings(exposure=0.5)).mismatches
    assert sentence == "camera 0 gives exposure 0.2047 s instead of 0.5 s."
    (sentence,) = Webcam(0, CameraSettings(gain=120.0)).mismatches
    assert sentence == "camera 0 gives gain 100 instead of 120."


def test_a_lock_at_another_value_than_the_one_in_use_is_noticed_in_the_pictures(
    plug: Plug, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug(UvcCapture)
    monkeypatch.setattr(UvcCapture, "honest", False)
    (sentence,) = Webcam(0, CameraSettings(exposure="lock")).mismatches
    assert "changed its mean brightness from 100 to 30" in sentence


def test_directshow_stops_its_automatic_by_a_written_value(plug: Plug) -> None:
    made = plug(DshowCapture)
    webcam = Webcam(0, CameraSettings(exposure="lock", focus="lock"))
    assert webcam.mismatches == ()
    assert made[0].values[cv2.CAP_PROP_EXPOSURE] == -5.0
    assert made[0].values[cv2.CAP_PROP_AUTOFOCUS] == 2.0
    assert not vars(made[0])["automatic"]


def test_directshow_rounds_exposures_to_powers_of_two_and_says_so(plug: Plug) -> None:
    plug(DshowCapture)
    assert Webcam(0, CameraSettings(exposure=0.25)).mismatches == ()
    (sentence,) = Webcam(0, CameraSettings(exposure=0.01)).mismatches
    assert sentence == "camera 0 gives exposure 0.0078125 s instead of 0.01 s."
    (sentence,) = Webcam(0, CameraSettings(exposure="auto")).mismatches
    assert sentence == "camera 0 refuses automatic exposure."


def test_a_back_end_without_controls_says_so_for_each(plug: Plug) -> None:
    plug(AppleCapture)
    wishes = CameraSettings(exposure="auto", gain=5.0, focus=30.0, white_balance=5000.0)
    assert Webcam(0, wishes).mismatches == (
        "camera 0 refuses automatic exposure.",
        "camera 0 offers no control of its gain; 5 was asked for.",
        "camera 0 offers no control of its focus.",
        "camera 0 offers no control of its white balance.",
    )


def test_an_automatic_that_does_not_stop_is_named(plug: Plug, monkeypatch: pytest.MonkeyPatch) -> None:
    plug(UvcCapture)

    def stubborn(capture: FakeCapture, key: int, value: float) -> bool:
        return True

    monkeypatch.setattr(UvcCapture, "set", stubborn)
    assert Webcam(0, CameraSettings(focus=10.0)).mismatches == ("camera 0 keeps its automatic focus.",)


def test_the_drivers_stamp_is_used_when_it_is_on_our_clock(plug: Plug) -> None:
    webcams = plug(FakeCapture)
    webcam = Webcam(0)
    webcams[0].stamp = time.monotonic() - 0.2
    assert 0.2 <= webcam.grab().age < 1.0
    webcams[0].stamp = 12.0  # a position in a file, or another clock
    assert webcam.grab().age == 0.0


def test_positions_of_other_back_ends_are_no_stamps(plug: Plug) -> None:
    webcams = plug(DshowCapture)
    webcam = Webcam(0)
    webcams[0].stamp = time.monotonic() - 0.2
    assert webcam.grab().age == 0.0


@pytest.mark.parametrize("given", [0.04, None])
def test_a_known_exposure_moves_the_stamp_to_its_middle(plug: Plug, given: float | None) -> None:
    webcams = plug(DshowCapture if given is None else UvcCapture)
    webcam = Webcam(0, CameraSettings(exposure=2.0**-5 if given is None else given))
    webcams[0].stamp = 0.0
    assert webcam.grab().age == pytest.approx(0.5 * (given or 2.0**-5))


def test_an_exposure_somebody_fixed_before_is_known_too(plug: Plug, monkeypatch: pytest.MonkeyPatch) -> None:
    webcams = plug(UvcCapture)
    before = Webcam(0)
    webcams[0].stamp = 0.0
    assert before.grab().age == 0.0  # automatic: nobody knows
    fixed = {cv2.CAP_PROP_AUTO_EXPOSURE: 1.0, cv2.CAP_PROP_EXPOSURE: 80.0}

    def get(capture: FakeCapture, key: int) -> float:
        return fixed.get(key, 0.0)

    monkeypatch.setattr(UvcCapture, "get", get)
    assert Webcam(0).grab().age == pytest.approx(0.004)


def test_an_empty_picture_now_and_then_is_skipped(plug: Plug) -> None:
    webcams = plug(UvcCapture)
    webcam = Webcam(0)
    webcams[0].pictures = [np.zeros((0, 64, 3), np.uint8), np.zeros((48, 64, 2), np.uint8), flat_image(55)]
    assert webcam.grab().image.mean() == 55


def test_nothing_but_empty_pictures_is_an_error(plug: Plug) -> None:
    webcams = plug(UvcCapture)
    webcam = Webcam(0)
    webcams[0].pictures = [np.zeros((0, 64, 3), np.uint8)] * 20
    with pytest.raises(FrameReadError, match=r"camera 0 gave a picture of shape \(0, 64, 3\)"):
        webcam.grab()


def test_half_a_picture_of_a_compressing_webcam_is_left_out(
    plug: Plug, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = plug(UvcCapture)
    get = UvcCapture.get

    def compressing(capture: UvcCapture, key: int) -> float:
        return float(cv2.VideoWriter.fourcc(*"MJPG")) if key == cv2.CAP_PROP_FOURCC else get(capture, key)

    monkeypatch.setattr(UvcCapture, "get", compressing)
    webcam = Webcam(0)
    half = np.asarray(cv2.imdecode(np.frombuffer(half_jpeg(100), np.uint8), cv2.IMREAD_COLOR))
    capfd.readouterr()  # the decoder's own complaint
    made[0].pictures = [half, half, flat_image(77)]
    assert webcam.grab().image.mean() == 77
    made[0].pictures = [half] * 10
    with pytest.raises(FrameReadError, match="Camera 0 gives half pictures"):
        webcam.grab()


@pytest.mark.parametrize("shade", [0, 128, 255])
def test_whole_and_flat_pictures_are_not_taken_for_half_ones(shade: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    bar = noise.copy()
    bar[-16:] = shade
    assert not is_half_drawn(noise)
    assert not is_half_drawn(flat_image(shade))
    assert is_half_drawn(bar) is (shade == 128)  # bars of films are black, overexposed floors white


def test_a_sixteen_bit_webcam_is_scaled_by_its_bits_and_does_not_flicker(plug: Plug) -> None:
    webcams = plug(UvcCapture)
    webcam = Webcam(0)
    bright = np.full((48, 64), 1000, np.uint16)
    webcams[0].pictures = [bright, bright // 8, bright]
    assert [webcam.grab().image.mean() for _ in range(3)] == [250, 31, 250]
    assert webcam.remarks == ("camera 0 gives 16-bit pictures of which 10 bits are used; they are scaled to 8.",)


def test_a_webcam_that_stops_is_released_and_named(plug: Plug) -> None:
    webcams = plug(FakeCapture)
    with (
        open_camera("0", settings=CameraSettings(patience=0.0)) as camera,
        pytest.raises(FrameReadError, match="Camera 0 stopped giving frames"),
    ):
        list(iter(lambda: camera.read(5.0), None))
    deadline = time.monotonic() + 5.0
    while webcams[0].open:
        assert time.monotonic() < deadline, "it was never released"
        time.sleep(0.005)


def test_a_missing_webcam_is_named(plug: Plug) -> None:
    webcams = plug(FakeCapture)
    with pytest.raises(CameraNotFoundError, match="There is no camera 5") as caught:
        open_camera(5)
    assert caught.value.facts["index"] == 5
    assert not webcams[0].open


def test_a_webcam_is_found_by_the_link_that_names_it(tmp_path: Path, plug: Plug) -> None:
    (tmp_path / "video0").touch()
    links = tmp_path / "by-id"
    links.mkdir()
    assert stable_path(0, links) is None
    (links / "usb-Good_Webcam").symlink_to("../video0")
    (links / "usb-Gone_Webcam").symlink_to("../video3")
    assert stable_path(0, links) == links / "usb-Good_Webcam"
    assert lasting_path(tmp_path / "video0", links) == links / "usb-Good_Webcam"
    assert lasting_path(tmp_path / "video3", links) == tmp_path / "video3"
    webcams = plug(FakeCapture)
    assert Webcam.at(links / "usb-Good_Webcam").identified
    assert webcams[0].index == 0
    assert not Webcam.at(tmp_path / "video0").identified
    with pytest.raises(CameraNotFoundError, match=r"no camera at .*Gone_Webcam"):
        Webcam.at(links / "usb-Gone_Webcam")
    with pytest.raises(CameraNotFoundError, match="no camera at /dev/video97"):
        open_camera("/dev/video97")


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"size": (0, 480)}, "size must be positive"),
        ({"rate": float("nan")}, "rate must be positive"),
        ({"pixel_format": "MJPEG"}, "four ASCII characters"),
        ({"exposure": 0.0}, "exposure must be finite"),
        ({"exposure": "manual"}, "auto or lock"),
        ({"focus": float("inf")}, "focus must be finite"),
        ({"white_balance": 10.0}, "white balance must be finite"),
        ({"patience": -1.0}, "patience"),
    ],
)
def test_wishes_no_camera_can_grant_are_refused(wrong: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        CameraSettings(**wrong)  # pyright: ignore[reportArgumentType]
