"""`vision-ik calibrate camera` on pictures: any board, any file, and what is wrong with either is said."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import cv2
import numpy as np
import pytest

from calibration.lens.pictures import edge_width
from calibration.views.sights import visible_poses
from sim.stress import Conditions, shoot
from sim.targets import board_texture
from vision_ik.camera_info import load_intrinsics
from vision_ik.cameras import load_any_intrinsics
from vision_ik.cli.calibrate import BoardOptions
from vision_ik.cli.calibrate_rig import described_board, measured
from vision_ik.cli.main import EXIT_ERROR, EXIT_OK, main
from vision_ik.errors import ConfigError
from vision_ik.rig import load_rig
from vision_ik.tags import detect_board
from vision_ik.transforms import Transform
from vision_ik.types import Board, CameraIntrinsics, CharucoBoard, Chessboard, Frame, TagGridBoard

BOARD = Chessboard(columns=6, rows=5, square_m=0.03)
LENS = CameraIntrinsics(
    K=np.array([[300.0, 0.0, 162.0], [0.0, 301.0, 118.0], [0.0, 0.0, 1.0]]),
    distortion=np.array([-0.2, 0.05, 0.0, 0.0]),
    width=320,
    height=240,
)
WORDS = ["calibrate", "camera", "--board", "chessboard", "--rows", "5", "--square-mm", "30"]
ROOT = Path(__file__).resolve().parents[2]


def picture(T_camera_board: Transform, seed: int, *, board: Board = BOARD, blur_px: float = 0.6) -> Frame:
    width, height = board.size_m
    rim = np.array([[0, height, 0], [width, height, 0], [width, 0, 0], [0, 0, 0]])
    texture = board_texture(board, 0.01)
    return shoot(texture, {0: rim}, T_camera_board, LENS, Conditions(noise=1.0, blur_px=blur_px), seed=seed).frame


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of ten good pictures, one turned on its side, one blurred, and one that is no picture."""
    path = tmp_path_factory.mktemp("pictures")
    poses = visible_poses(BOARD, LENS, 2000, np.random.default_rng(5))
    for i, T in enumerate(poses[:12]):
        image = picture(Transform(T), i, blur_px=4.0 if i == 11 else 0.6).image
        cv2.imwrite(str(path / f"p{i:02d}.png"), np.rot90(image) if i == 10 else image)
    (path / "p99.png").write_bytes(b"no picture")
    return path


def written_in(document: str, beginning: str) -> list[str]:
    """Return the words after ``vision-ik`` of the line of a document that begins like this."""
    lines = (ROOT / document).read_text().splitlines()
    line = next(line for line in lines if line.strip().startswith(f"vision-ik {beginning}"))
    return shlex.split(line, comments=True)[1:]


@pytest.mark.parametrize(
    ("document", "board"),
    [
        ("docs/seeing.md", CharucoBoard(columns=7, rows=5, square_m=0.03, marker_m=0.022)),
        ("", TagGridBoard(columns=4, rows=3, tag_m=0.05, gap_m=0.01)),
    ],
)
def test_the_command_in_the_documents_gives_a_lens_and_a_rig(
    document: str, board: CharucoBoard | TagGridBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pictures").mkdir()
    poses = visible_poses(board, LENS, 2000, np.random.default_rng(5))
    for i, T in enumerate(poses[:9]):
        cv2.imwrite(f"pictures/{i}.png", picture(Transform(T), i, board=board).image)
    told = written_in(document, "calibrate camera 0") if document else []
    words = told or shlex.split(
        "calibrate camera 0 --board tags --columns 4 --rows 3 --marker-mm 50 --gap-mm 10 --rig rigs/desk"
    )
    words[2:3] = ["--from", "pictures"]
    words = [word.removesuffix(".html") for word in words]  # a page ends in it, told or not
    assert main(words) == EXIT_OK
    rig = load_rig("rigs/desk")
    assert rig.boards["board"] == board
    assert rig.intrinsics is not None
    assert rig.intrinsics.K[0, 0] == pytest.approx(300.0, rel=0.03)
    assert Path("lens.html").exists() == ("--report" in words)


def test_a_folder_of_chessboards_gives_a_lens_in_any_format(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, report = tmp_path / "camchain.yaml", tmp_path / "lens.html"
    words = [*WORDS, "--columns", "6", "--from", str(folder), "--rig", str(tmp_path / "rig")]
    assert main([*words, "--out", str(out), "--report", str(report), "--json"]) == EXIT_OK
    written = capsys.readouterr()
    said = json.loads(written.out)
    assert said["files"] == [str(out), str(report)]
    assert not (tmp_path / "rig").exists()
    lens = load_any_intrinsics(out)
    assert lens.K[0, 0] == pytest.approx(300.0, abs=max(6.0, 4.0 * said["sigma"][0]))
    assert 8 <= said["views_used"] <= 10
    assert "turned on its side" in said["left_out"]["p10.png"]
    assert "p11.png" in said["left_out"]
    assert said["left_out"]["p99.png"] == "it cannot be read"
    assert [c["chosen"] for c in said["models"]].count(True) == 1
    assert said["next_views"][0]["focal_sigma_px"] < max(said["sigma"][:2])
    page = report.read_text()
    assert "What to show next" in page
    assert "p10.png" in page
    assert "--measured-edge-mm" in written.err


def test_the_measured_edge_scales_the_board_in_the_rig(folder: Path, tmp_path: Path) -> None:
    words = [*WORDS, "--columns", "6", "--from", str(folder), "--rig", str(tmp_path / "rig")]
    assert main([*words, "--model", "pinhole", "--coefficients", "4", "--measured-edge", "174.6"]) == EXIT_OK
    board = load_rig(tmp_path / "rig").boards["board"]
    assert isinstance(board, Chessboard)
    assert board.square_m == pytest.approx(0.0291)
    kept = load_intrinsics(tmp_path / "rig" / "camera.yaml").covariance
    assert kept is not None
    assert kept.shape == (8, 8)


def test_a_wrong_count_of_squares_is_named(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*WORDS, "--columns", "8", "--from", str(folder / "p00.png"), "--rig", str(tmp_path / "rig")]
    assert main([*words, "--out", str(tmp_path / "lens.yaml")]) == EXIT_ERROR
    assert "6x5 squares, not one of 8x5" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", "lens.txt"], "No format of intrinsics ends in '.txt'"),
        (["--out", "."], "is a folder, and a lens is a file"),
        (["--report", "."], "is a folder, and a report is a file"),
        (["--model", "fisheye", "--coefficients", "8"], "--coefficients 8 belongs to --model pinhole, not to"),
    ],
)
def test_what_cannot_be_had_is_said_before_a_picture_is_read(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # which holds no pictures, and would be refused for that
    assert main([*WORDS, "--columns", "6", "--from", "pictures", *words]) == EXIT_ERROR
    assert said in " ".join(capsys.readouterr().err.split())


def test_edges_are_as_wide_as_the_picture_is_blurred() -> None:
    T = Transform(visible_poses(BOARD, LENS, 500, np.random.default_rng(1))[0])
    widths: list[float] = []
    for blur_px in (0.5, 1.5, 2.5):
        frame = picture(T, 3, blur_px=blur_px)
        found = detect_board(frame, BOARD)
        assert found is not None
        widths.append(edge_width(frame.image, found))
    np.testing.assert_allclose(widths, [0.6, 1.55, 2.5], rtol=0.25)


@pytest.mark.parametrize(
    ("board", "edge_mm", "factor"),
    [
        (CharucoBoard(columns=7, rows=5, square_m=0.03, marker_m=0.022), 205.8, 0.98),
        (CharucoBoard(columns=7, rows=5, square_m=0.03, marker_m=0.022), 29.7, 0.99),
        (CharucoBoard(columns=7, rows=5, square_m=0.03, marker_m=0.022), 22.44, 1.02),
        (TagGridBoard(columns=4, rows=3, tag_m=0.05, gap_m=0.01), 51.0, 1.02),
        (Chessboard(columns=9, rows=9, square_m=0.02), 178.2, 0.99),
    ],
)
def test_which_edge_was_measured_shows_from_its_length(
    board: CharucoBoard | TagGridBoard | Chessboard, edge_mm: float, factor: float
) -> None:
    scaled = measured(board, edge_mm)
    np.testing.assert_allclose(scaled.size_m, np.multiply(board.size_m, factor), rtol=1e-9)


@pytest.mark.parametrize(("edge_mm", "said"), [(120.0, "is no edge"), (195.0, "could be width or height")])
def test_an_edge_that_could_be_none_or_two_is_refused(edge_mm: float, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        measured(CharucoBoard(columns=7, rows=6, square_m=0.03, marker_m=0.022), edge_mm)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (BoardOptions(board="chessboard", columns=9, rows=7), "--square-mm is missing"),
        (BoardOptions(board="chessboard", columns=9, rows=7, square_mm=20, marker_mm=5), "has no --marker-mm"),
        (BoardOptions(board="tags", columns=9, rows=7, marker_mm=20), "--gap-mm is missing"),
        (BoardOptions(board="chessboard", columns=2, rows=7, square_mm=20), "at least 3x3"),
    ],
)
def test_a_board_described_wrongly_is_refused(options: BoardOptions, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        described_board(options)
