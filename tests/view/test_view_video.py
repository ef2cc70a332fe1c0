from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from vision_ik.errors import RecordingError
from vision_ik.types import Floats, Image
from vision_ik.view import VideoWriter

BLUE, RED = (200, 60, 20), (30, 40, 210)


def picture(width: int, height: int, colour: tuple[int, int, int]) -> Image:
    return np.full((height, width, 3), colour, np.uint8)


def read_back(path: Path) -> tuple[tuple[int, int], float, list[Image]]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        frames = [np.asarray(frame.to_ndarray(format="bgr24"), np.uint8) for frame in container.decode(video=0)]
        return (stream.width, stream.height), float(stream.average_rate or 0), frames


def colour_of(image: Image) -> Floats:
    return image.reshape(-1, 3).mean(axis=0)


@pytest.mark.parametrize(
    ("size", "padded"), [((64, 48), (64, 48)), ((65, 47), (66, 48)), ((64, 49), (64, 50)), ((3, 3), (4, 4))]
)
def test_a_video_reads_back_with_its_frames_in_order(
    tmp_path: Path, size: tuple[int, int], padded: tuple[int, int]
) -> None:
    path = tmp_path / "new" / "clip.mp4"
    with VideoWriter(path, fps=25, size=size) as video:
        for i in range(12):
            video.write(picture(*size, BLUE if i < 6 else RED))
    read_size, fps, frames = read_back(path)
    assert read_size == padded
    assert fps == 25
    assert len(frames) == video.frames == 12
    np.testing.assert_allclose(colour_of(frames[2]), BLUE, atol=8)
    np.testing.assert_allclose(colour_of(frames[9]), RED, atol=8)
    assert [file.name for file in path.parent.iterdir()] == ["clip.mp4"]


def test_padding_repeats_the_edge(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", fps=10, size=(33, 33)) as video:
        video.write(picture(33, 33, RED))
    _, _, (frame,) = read_back(tmp_path / "a.mp4")
    np.testing.assert_allclose(frame[-1, -1], RED, atol=8)


def test_the_target_appears_only_when_the_video_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"an older video")
    with VideoWriter(path, fps=10, size=(64, 48)) as video:
        video.write(picture(64, 48, RED))
        assert path.read_bytes() == b"an older video"
    assert read_back(path)[0] == (64, 48)


def test_an_exception_leaves_a_playable_partial_and_the_old_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"an older video")

    def interrupted() -> None:
        with VideoWriter(path, fps=10, size=(64, 48)) as video:
            for _ in range(5):
                video.write(picture(64, 48, BLUE))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as raised:
        interrupted()
    assert path.read_bytes() == b"an older video"
    assert len(read_back(tmp_path / "a.partial.mp4")[2]) == 5
    assert any("a.partial.mp4" in note for note in raised.value.__notes__)


@pytest.mark.parametrize("fails", [False, True])
def test_a_video_without_frames_leaves_no_file(tmp_path: Path, fails: bool) -> None:
    try:
        with VideoWriter(tmp_path / "a.mp4", fps=10, size=(64, 48)):
            if fails:
                raise ZeroDivisionError
    except ZeroDivisionError:
        assert fails
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_one_error_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordingError, match=r"Could not write .*clip\.mp4") as raised:
        VideoWriter(tmp_path / "file" / "clip.mp4", fps=10, size=(64, 48))
    assert raised.value.remedy


def test_a_full_disk_is_told_while_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class FullDisk:
        def mux(self, _: object) -> None:
            raise OSError(28, "No space left on device")

    video = VideoWriter(tmp_path / "a.mp4", fps=10, size=(64, 48))
    monkeypatch.setattr(video, "_container", FullDisk())
    with pytest.raises(RecordingError, match="No space left"):
        video.write(picture(64, 48, RED))


def test_frames_of_another_size_are_refused(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", fps=10, size=(64, 48)) as video, pytest.raises(ValueError, match="64x48"):
        video.write(picture(48, 64, RED))


def test_a_closed_video_takes_no_more_frames(tmp_path: Path) -> None:
    video = VideoWriter(tmp_path / "a.mp4", fps=10, size=(64, 48))
    video.write(picture(64, 48, RED))
    video.close()
    video.close()
    with pytest.raises(RecordingError, match="closed"):
        video.write(picture(64, 48, RED))


@pytest.mark.parametrize(
    ("name", "fps", "size"), [("a.avi", 10, (64, 48)), ("a.mp4", 0, (64, 48)), ("a.mp4", 10, (1, 9))]
)
def test_bad_arguments_are_value_errors(tmp_path: Path, name: str, fps: float, size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="video"):
        VideoWriter(tmp_path / name, fps=fps, size=size)
