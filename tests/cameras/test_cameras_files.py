"""Stored sources: every frame, in order, at its true time; damaged ones say what is wrong."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from cameras_media import flat_image, packet_places, write_grey_video, write_video
from numpy.typing import NDArray

from vision_ik.cameras import open_camera
from vision_ik.cameras.images import ImageCamera
from vision_ik.cameras.override import OtherLens
from vision_ik.cameras.pictures import to_bgr
from vision_ik.cameras.video import VideoCamera
from vision_ik.clock import VirtualClock
from vision_ik.errors import CameraError, CameraNotFoundError, FrameReadError
from vision_ik.testing import FakeCamera, blank_frame
from vision_ik.types import Camera, CameraIntrinsics, Frame

UNEVEN = (0.0, 0.040, 0.055, 0.200, 0.233)


def drain(camera: Camera) -> list[Frame]:
    frames: list[Frame] = []
    while not camera.ended:
        frame = camera.read()
        assert frame is not None
        frames.append(frame)
    assert camera.read() is None
    return frames


def read_past_damage(camera: Camera) -> list[Frame]:
    frames: list[Frame] = []
    while not camera.ended:
        try:
            frame = camera.read()
        except FrameReadError:
            continue
        frames += [] if frame is None else [frame]
    return frames


def level(frame: Frame) -> float:
    return float(frame.image.mean())


def test_a_video_gives_every_frame_at_its_true_time(tmp_path: Path) -> None:
    path = write_video(tmp_path / "uneven.mp4", (20, 60, 100, 140, 180), UNEVEN)
    with open_camera(path) as camera:
        frames = drain(camera)
        assert not camera.live
    assert [f.index for f in frames] == [0, 1, 2, 3, 4]
    np.testing.assert_allclose([f.timestamp for f in frames], UNEVEN, atol=1.1e-3)
    np.testing.assert_allclose([level(f) for f in frames], (20, 60, 100, 140, 180), atol=6)


def test_on_a_clock_a_video_plays_at_its_own_pace(tmp_path: Path) -> None:
    path = write_video(tmp_path / "uneven.mp4", (20, 60, 100, 140, 180), UNEVEN)
    clock = VirtualClock(100.0)
    with open_camera(path, clock=clock) as camera:
        first = camera.read(0.0)
        assert first is not None
        assert first.timestamp == 100.0
        assert camera.read(0.0) is None  # the second is due in 40 ms
        assert clock.now() == 100.0
        assert camera.read(0.010) is None
        assert clock.now() == pytest.approx(100.010)
        second = camera.read(1.0)
        assert second is not None
        assert clock.now() == pytest.approx(100.040, abs=1.1e-3)
        assert second.timestamp == pytest.approx(100.040, abs=1.1e-3)


def test_a_slow_reader_loses_no_frame_of_a_video(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", (20, 60, 100, 140, 180), UNEVEN)
    clock = VirtualClock()
    with open_camera(path, clock=clock) as camera:
        frames: list[Frame] = []
        while not camera.ended:
            frame = camera.read(0.0)
            frames += [] if frame is None else [frame]
            clock.advance(0.5)
    assert [f.index for f in frames] == [0, 1, 2, 3, 4]
    np.testing.assert_allclose([f.timestamp for f in frames], UNEVEN, atol=1.1e-3)


def test_a_folder_is_read_in_natural_order(tmp_path: Path) -> None:
    for number, brightness in ((10, 200), (2, 100), (1, 50)):
        cv2.imwrite(str(tmp_path / f"frame{number}.png"), flat_image(brightness))
    (tmp_path / "notes.txt").write_text("not a picture")
    with open_camera(tmp_path) as camera:
        frames = drain(camera)
    assert [level(f) for f in frames] == [50, 100, 200]
    np.testing.assert_allclose(np.diff([f.timestamp for f in frames]), 0.1)


@pytest.mark.parametrize(
    "names",
    [
        ("1305031102.175304", "1305031102.211214", "1305031102.275326"),
        ("1403636579763555584", "1403636579799465584", "1403636579863577584"),
        ("1403636579763555", "1403636579799465", "1403636579863577"),
    ],
)
def test_a_folder_whose_names_are_times_keeps_them(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        cv2.imwrite(str(tmp_path / f"{name}.png"), flat_image(50))
    with open_camera(tmp_path) as camera:
        np.testing.assert_allclose([f.timestamp for f in drain(camera)], (0.0, 0.035910, 0.100022), atol=1e-9)
    with open_camera(tmp_path, rate=5.0) as camera:  # whoever says a rate means it
        np.testing.assert_allclose([f.timestamp for f in drain(camera)], (0.0, 0.2, 0.4))


@pytest.mark.parametrize("names", [("20260101", "20260102"), ("1403636579763", "frame2"), ("1403636579763",)])
def test_other_numbers_in_names_are_no_times(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        cv2.imwrite(str(tmp_path / f"{name}.png"), flat_image(50))
    with open_camera(tmp_path) as camera:
        np.testing.assert_allclose([f.timestamp for f in drain(camera)], 0.1 * np.arange(len(names)))


def test_a_single_picture_is_one_frame(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "one.png"), flat_image(77))
    with open_camera(str(tmp_path / "one.png")) as camera:
        assert [level(f) for f in drain(camera)] == [77]
        assert camera.intrinsics.approximate


def test_grey_and_16_bit_pictures_become_bgr(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), np.full((48, 64), 90, dtype=np.uint8))
    cv2.imwrite(str(tmp_path / "2.png"), np.full((48, 64), 90 * 256 + 13, dtype=np.uint16))
    cv2.imwrite(str(tmp_path / "3.png"), np.full((48, 64, 4), (90, 90, 90, 7), dtype=np.uint8))
    with open_camera(tmp_path) as camera:
        frames = drain(camera)
    assert [f.image.shape for f in frames] == [(48, 64, 3)] * 3
    assert [level(f) for f in frames] == [90, 90, 90]


@pytest.mark.parametrize(("bits", "brightest"), [(8, 200), (10, 1000), (12, 4000), (14, 16000), (16, 65000)])
def test_16_bit_pictures_are_scaled_by_the_bits_in_use(tmp_path: Path, bits: int, brightest: int) -> None:
    levels = [brightest // 8, brightest // 2, brightest]
    for k, value in enumerate(levels):
        cv2.imwrite(str(tmp_path / f"{k}.png"), np.full((48, 64), value, dtype=np.uint16))
    camera = ImageCamera(tmp_path)
    frames = drain(camera)
    # One scale for all of them: the dark ones stay dark.
    assert [level(f) for f in frames] == [value >> (bits - 8) for value in levels]
    assert camera.remarks == (f"{tmp_path} gives 16-bit pictures of which {bits} bits are used; they are scaled to 8.",)


def test_8_bit_pictures_are_left_alone_and_nothing_is_remarked(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), flat_image(3))
    camera = ImageCamera(tmp_path)
    assert camera.remarks == ()
    assert [level(f) for f in drain(camera)] == [3]


def test_a_10_bit_marker_keeps_its_contrast(tmp_path: Path) -> None:
    picture = np.full((48, 64), 900, dtype=np.uint16)
    picture[10:30, 20:40] = 60
    cv2.imwrite(str(tmp_path / "p.png"), picture)
    (frame,) = drain(open_camera(tmp_path / "p.png"))
    assert int(frame.image.max()) - int(frame.image.min()) == 210  # the upper 8 bits alone would give 3


def test_a_folder_with_depth_gives_it_in_metres(tmp_path: Path) -> None:
    (tmp_path / "depth").mkdir()
    for name in ("1", "2"):
        cv2.imwrite(str(tmp_path / f"{name}.jpg"), flat_image(50))
    millimetres = np.full((48, 64), 1234, dtype=np.uint16)
    millimetres[0, :] = 0
    cv2.imwrite(str(tmp_path / "depth" / "1.png"), millimetres)
    with_depth, without = drain(open_camera(tmp_path))
    assert without.depth is None
    assert with_depth.depth is not None
    assert with_depth.depth.dtype == np.float32
    assert np.isnan(with_depth.depth[0]).all()
    np.testing.assert_allclose(with_depth.depth[1:], 1.234, atol=1e-6)


@pytest.mark.parametrize(
    ("depth", "named"),
    [
        (np.ones((48, 64), np.uint8), r"1 channels of uint8 and no depth"),
        (np.ones((48, 64, 3), np.uint16), r"3 channels of uint16 and no depth"),
        (np.ones((24, 32), np.uint16), r"has 32x24 px, its picture 64x48"),
    ],
)
def test_depth_that_does_not_belong_to_its_picture_is_named(
    tmp_path: Path, depth: NDArray[np.uint8] | NDArray[np.uint16], named: str
) -> None:
    (tmp_path / "depth").mkdir()
    cv2.imwrite(str(tmp_path / "1.png"), flat_image(50))
    (tmp_path / "depth" / "1.png").write_bytes(cv2.imencode(".png", depth)[1].tobytes())
    with open_camera(tmp_path) as camera, pytest.raises(FrameReadError, match=named):
        camera.read()


def test_pictures_of_other_sizes_get_their_own_lens(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), flat_image(50, 64, 48))
    cv2.imwrite(str(tmp_path / "2.png"), flat_image(50, 128, 96))
    lens = CameraIntrinsics(K=np.array([[60.0, 0, 31.5], [0, 60.0, 23.5], [0, 0, 1]]), width=64, height=48)
    with open_camera(tmp_path, intrinsics=lens) as camera:
        frames = drain(camera)
    assert frames[0].intrinsics is lens
    assert (frames[1].intrinsics.width, frames[1].intrinsics.K[0, 0]) == (128, 120.0)
    assert frames[1].intrinsics.K[0, 2] == 63.5  # the centre stays the centre


def test_a_video_that_changes_its_size_gets_a_lens_for_each(tmp_path: Path) -> None:
    sizes = [(64, 48)] * 3 + [(128, 96)] * 3
    jpegs = [cv2.imencode(".jpg", np.full((h, w, 3), 90, np.uint8))[1].tobytes() for w, h in sizes]
    (tmp_path / "clip.mjpeg").write_bytes(b"".join(jpegs))
    with VideoCamera(tmp_path / "clip.mjpeg") as camera:
        lenses = [frame.intrinsics for frame in drain(camera)]
    assert [(lens.width, lens.height) for lens in lenses] == sizes


def test_other_intrinsics_follow_frames_that_change_their_size() -> None:
    sizes = [CameraIntrinsics.from_field_of_view(64, 48), CameraIntrinsics.from_field_of_view(128, 96)]
    frames = [blank_frame(float(k), k, lens) for k, lens in enumerate(sizes)]
    given = CameraIntrinsics.from_field_of_view(640, 480, 1.0)
    camera = OtherLens(FakeCamera(frames, clock=VirtualClock()), given)
    lenses = [frame.intrinsics for frame in (camera.read(), camera.read()) if frame is not None]
    assert [lens.width for lens in lenses] == [64, 128]
    assert lenses[1].K[0, 0] == pytest.approx(0.2 * given.K[0, 0])


def test_intrinsics_of_another_shape_are_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "wide.png"), flat_image(50, 128, 48))
    lens = CameraIntrinsics.from_field_of_view(64, 48)
    with pytest.raises(CameraError, match=r"64x48, but .*wide\.png gives 128x48"):
        open_camera(tmp_path / "wide.png", intrinsics=lens)


@pytest.mark.parametrize(
    ("width", "height", "named"),
    [(48, 64, "a quarter turn of it"), (64, 24, "half a picture"), (128, 48, "two pictures side by side")],
)
def test_turned_half_and_double_pictures_are_named(tmp_path: Path, width: int, height: int, named: str) -> None:
    cv2.imwrite(str(tmp_path / "odd.png"), flat_image(50, width, height))
    with pytest.raises(CameraError, match=named) as caught:
        open_camera(tmp_path / "odd.png", intrinsics=CameraIntrinsics.from_field_of_view(64, 48))
    assert caught.value.remedy


def test_the_guessed_lens_follows_the_field_of_view(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "p.png"), flat_image(50, 64, 48))
    with open_camera(tmp_path / "p.png", fov=float(np.deg2rad(90))) as camera:
        assert camera.intrinsics.K[0, 0] == pytest.approx(32.0)
        assert camera.intrinsics.approximate


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_cut_off_picture_is_named_and_not_filled_up(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    whole = cv2.imencode(suffix, noise)[1].tobytes()
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(FrameReadError, match=r"cut\.\w+ is cut off") as caught:
        open_camera(path)
    assert caught.value.remedy


def test_a_cut_off_picture_in_a_folder_fails_only_at_its_turn(tmp_path: Path) -> None:
    whole = cv2.imencode(".jpg", flat_image(50))[1].tobytes()
    (tmp_path / "1.jpg").write_bytes(whole)
    (tmp_path / "2.jpg").write_bytes(whole[:300])
    with open_camera(tmp_path) as camera:
        assert camera.read() is not None
        assert not camera.ended
        with pytest.raises(FrameReadError, match=r"2\.jpg"):
            camera.read()


@pytest.mark.parametrize(("name", "data"), [("a.png", b""), ("a.jpg", b"not a picture at all")])
def test_what_is_no_picture_is_named(tmp_path: Path, name: str, data: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(FrameReadError, match=name):
        open_camera(tmp_path / name)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("picture", [np.ones((4, 4), np.float32), np.ones((4, 4, 2), np.uint8)])
def test_other_kinds_of_picture_are_refused_by_name(picture: NDArray[np.generic]) -> None:
    with pytest.raises(FrameReadError, match=r"depth holds \d channels of (float32|uint8)"):
        to_bgr(picture, "depth")


def test_an_empty_picture_is_refused() -> None:
    with pytest.raises(FrameReadError, match=r"shape \(0, 4, 3\)"):
        to_bgr(np.ones((0, 4, 3), np.uint8), "camera")


@pytest.mark.parametrize("data", [b"", b"junk" * 500])
def test_what_is_no_video_is_named(tmp_path: Path, data: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "clip.mp4").write_bytes(data)
    with pytest.raises(FrameReadError, match=r"clip\.mp4 cannot be read as a video") as caught:
        open_camera(tmp_path / "clip.mp4")
    assert caught.value.remedy
    assert capfd.readouterr().err == ""


def test_a_video_without_its_index_is_unreadable(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "v.mov", range(0, 200, 2), [k / 25 for k in range(100)]).read_bytes()
    (tmp_path / "cut.mov").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FrameReadError, match=r"cut\.mov"):
        open_camera(tmp_path / "cut.mov")


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "mpeg4"), (".webm", "libvpx")])
def test_a_video_that_breaks_off_says_so_at_the_break(tmp_path: Path, suffix: str, codec: str) -> None:
    path = write_video(tmp_path / f"v{suffix}", range(0, 200, 4), [k / 25 for k in range(50)], codec, noise=120)
    whole = path.read_bytes()
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole[: len(whole) * 6 // 10])
    with open_camera(cut) as camera, pytest.raises(FrameReadError, match=r"cut\.\w+ is cut off or damaged"):
        list(iter(camera.read, None))
    with open_camera(cut) as camera:
        given = read_past_damage(camera)
    assert 5 <= len(given) <= 45


def test_after_a_hole_a_video_goes_on_with_pictures_that_are_whole(tmp_path: Path) -> None:
    levels, times = range(10, 210, 4), [k / 25 for k in range(50)]
    path = write_video(tmp_path / "v.mp4", levels, times, key_frame_every=10)
    packets = packet_places(path)
    data = bytearray(path.read_bytes())
    start, size = packets[13]
    data[start : start + size] = bytes(255 - byte for byte in data[start : start + size])
    (tmp_path / "hole.mp4").write_bytes(data)
    with open_camera(tmp_path / "hole.mp4") as camera:
        faults = 0
        given: list[Frame] = []
        while not camera.ended:
            try:
                frame = camera.read()
            except FrameReadError as error:
                assert "damaged" in str(error)  # noqa: PT017 # others may be read between two errors
                faults += 1
            else:
                given += [] if frame is None else [frame]
    assert faults == 1
    # Frames 14 to 19 build on the broken one.
    expected = [*range(13), *range(20, 50)]
    assert [round(25 * frame.timestamp) for frame in given] == expected
    assert [frame.index for frame in given] == list(range(len(expected)))
    np.testing.assert_allclose([level(f) for f in given], [levels[k] for k in expected], atol=10)


def test_a_16_bit_grey_video_is_scaled_by_the_bits_in_use(tmp_path: Path) -> None:
    path = write_grey_video(tmp_path / "v.mkv", (1000, 500, 250))
    camera = VideoCamera(path)
    assert [level(f) for f in drain(camera)] == [250, 125, 62]
    assert camera.remarks == (f"{path} gives 16-bit pictures of which 10 bits are used; they are scaled to 8.",)


@pytest.mark.parametrize("fov", [0.0, -1.0, 4.0, float("nan")])
def test_a_field_of_view_no_lens_has_is_refused(tmp_path: Path, fov: float) -> None:
    cv2.imwrite(str(tmp_path / "p.png"), flat_image(50))
    with pytest.raises(ValueError, match="between 0 and pi rad"):
        open_camera(tmp_path / "p.png", fov=fov)


@pytest.mark.parametrize(("suffix", "codec"), [(".avi", "mpeg4"), (".webm", "libvpx"), (".mp4", "mpeg4")])
def test_a_whole_video_of_uneven_rate_is_not_called_cut_off(tmp_path: Path, suffix: str, codec: str) -> None:
    path = write_video(tmp_path / f"v{suffix}", (20, 60, 100, 140, 180), UNEVEN, codec)
    with open_camera(path) as camera:
        assert len(drain(camera)) == 5


def test_a_folder_without_pictures_is_named(tmp_path: Path) -> None:
    with pytest.raises(CameraNotFoundError, match="holds no picture"):
        open_camera(tmp_path)


def test_a_closed_source_refuses_to_read(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "p.png"), flat_image(50))
    camera = open_camera(tmp_path / "p.png")
    camera.close()
    camera.close()
    assert camera.ended
    with pytest.raises(FrameReadError, match="is closed"):
        camera.read()
