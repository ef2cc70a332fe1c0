"""The verb for printed tags: printing, a bundle learned from pictures, boards and bundles checked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from calibration.views import missing
from vision_ik.cli.benches._boards_scenes import CONDITIONS, LENS, board_shot, cube, film
from vision_ik.cli.main import EXIT_ERROR, EXIT_FOUND, EXIT_OK, main
from vision_ik.layouts import load_bundle, save_bundle
from vision_ik.rig import Rig, load_rig, save_rig
from vision_ik.tags import save_board_pdf, save_bundle_pdf, save_tags_pdf
from vision_ik.transforms import Transform
from vision_ik.types import Board, CharucoBoard, Frame, Image, TagBundle
from vision_ik.view import VideoWriter

BOARD = CharucoBoard(columns=5, rows=4, square_m=0.04, marker_m=0.03)


def store(image: Image, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    assert cv2.imwrite(str(path), image)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("film")
    for frame, _ in film(cube(), 40, seed=5):
        store(frame.image, folder / f"{frame.index:03}.png")
    return folder


def test_a_bundle_is_learned_printed_and_written_to_file_and_rig(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rig = save_rig(Rig(robot="panda", intrinsics=LENS, default_tag_size=0.04), tmp_path / "desk").parent
    out = tmp_path / "cube.toml"
    words = ["tags", "learn", str(pictures), "--rig", str(rig), "--out", str(out), "--name", "cube", "--json"]
    assert main(words) == EXIT_OK
    facts = json.loads(capsys.readouterr().out)
    assert facts["reference"] == 0
    assert set(facts["tags"]) == {"0", "1", "2", "3", "4"}
    assert 0 < facts["tags"]["1"]["sigma_mm"] < 0.2
    learned = load_bundle(out)
    np.testing.assert_allclose(learned.Ts_bundle_tag[1].translation, [0.025, 0.0, -0.025], atol=2e-4)
    written = load_rig(rig).bundles["cube"]
    np.testing.assert_allclose(written.Ts_bundle_tag[1].matrix, learned.Ts_bundle_tag[1].matrix, atol=1e-8)


def test_a_bundle_is_not_learned_without_sizes_or_lens(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tags", "learn", str(pictures), "--size-mm", "40"]) == EXIT_ERROR
    assert "The lens is not known" in capsys.readouterr().err
    rig = save_rig(Rig(robot="panda", intrinsics=LENS), tmp_path / "desk").parent
    few = tmp_path / "few"
    for path in sorted(pictures.iterdir())[:2]:
        store(np.asarray(cv2.imread(str(path)), dtype=np.uint8), few / path.name)
    assert main(["tags", "learn", str(few), "--rig", str(rig)]) == EXIT_ERROR
    assert "No size of the tags is known" in capsys.readouterr().err
    assert main(["tags", "learn", str(few), "--size-mm", "40", "--name", "cube"]) == EXIT_ERROR
    assert "no rig is given" in capsys.readouterr().err
    assert main(["tags", "learn", str(few), "--rig", str(rig), "--size-mm", "40"]) == EXIT_ERROR
    assert "two tags or more in each picture" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("printed", "flip", "code", "words"),
    [
        (BOARD, False, EXIT_OK, "10 of 10 markers"),
        (replace(BOARD, legacy=True), False, EXIT_FOUND, "Set legacy = true"),
        (replace(BOARD, columns=4, rows=5), False, EXIT_FOUND, "are swapped"),
        (BOARD, True, EXIT_FOUND, "mirrored"),
        (replace(BOARD, first_id=20), False, EXIT_FOUND, "markers 20-29"),
    ],
)
def test_a_board_is_checked_and_what_is_wrong_is_named(
    printed: CharucoBoard, flip: bool, code: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = board_shot(printed, CONDITIONS, 3).frame.image
    store(np.ascontiguousarray(image[:, ::-1]) if flip else image, tmp_path / "photo.png")
    described = ["--columns", "5", "--rows", "4", "--square-mm", "40", "--marker-mm", "30"]
    assert main(["tags", "check", str(tmp_path / "photo.png"), *described]) == code
    assert words in " ".join(capsys.readouterr().out.split())


def test_pictures_are_named_and_one_that_cannot_be_read_does_not_cost_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store(board_shot(BOARD, CONDITIONS, 3).frame.image, tmp_path / "front.png")
    for name in ("a.png", "last.png"):
        (tmp_path / name).write_bytes(b"no picture")
    described = ["--columns", "5", "--rows", "4", "--square-mm", "40", "--marker-mm", "30"]
    assert main(["tags", "check", str(tmp_path), *described]) == EXIT_FOUND
    told = capsys.readouterr()
    rows = {words[0]: line for line in told.out.splitlines() if (words := line.split())}
    assert "10 of 10 markers" in rows["front.png"]
    assert "cannot be read" in rows["a.png"]
    assert "cannot be read" in rows["last.png"]
    assert "Look at the pictures: 1 of 3 as described" in told.err


def test_a_film_without_the_board_is_explained_a_few_times_only_and_has_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[int] = []

    def explain(frame: Frame, board: Board) -> None:
        del board
        asked.append(frame.index)

    monkeypatch.setattr(missing, "explain_missing", explain)
    with VideoWriter(tmp_path / "film.mp4", fps=10, size=(96, 64)) as film:
        for _ in range(14):
            film.write(np.full((64, 96, 3), 160, np.uint8))
    described = ["--columns", "5", "--rows", "4", "--square-mm", "40", "--marker-mm", "30", "--frames", "9"]
    assert main(["tags", "check", str(tmp_path / "film.mp4"), *described]) == EXIT_FOUND
    told = capsys.readouterr()
    assert asked == [0, 1, 2, 3]
    assert "frame 8" in told.out
    assert "frame 9" not in told.out
    assert "Only the first 9 pictures" in told.err


def test_a_family_that_is_none_is_an_error_and_no_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store(np.full((64, 96, 3), 160, np.uint8), tmp_path / "photo.png")
    described = ["--columns", "5", "--rows", "4", "--family", "nonsense"]
    assert main(["tags", "check", str(tmp_path / "photo.png"), *described]) == EXIT_ERROR
    assert "no tag family or dictionary 'nonsense'" in capsys.readouterr().err


def test_metres_given_for_millimetres_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store(board_shot(BOARD, CONDITIONS, 3).frame.image, tmp_path / "photo.png")
    described = ["--columns", "5", "--rows", "4", "--square-mm", "0.04", "--marker-mm", "0.03"]
    assert main(["tags", "check", str(tmp_path / "photo.png"), *described]) == EXIT_FOUND
    assert "were metres given for millimetres?" in " ".join(capsys.readouterr().out.split())


def test_a_board_is_checked_as_the_rig_describes_it_and_one_must_be_described(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store(board_shot(BOARD, CONDITIONS, 3).frame.image, tmp_path / "photo.png")
    rig = save_rig(Rig(robot="panda", boards={"desk": BOARD}), tmp_path / "desk").parent
    assert main(["tags", "check", str(tmp_path / "photo.png"), "--rig", str(rig)]) == EXIT_OK
    assert "10 of 10 markers" in capsys.readouterr().out
    assert main(["tags", "check", str(tmp_path / "photo.png")]) == EXIT_ERROR
    assert "No board is described" in capsys.readouterr().err


def test_a_bundle_is_checked_from_its_file_or_the_rig_and_a_tag_that_was_moved_is_named(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = tmp_path / "few"
    for path in sorted(pictures.iterdir())[:3]:
        store(np.asarray(cv2.imread(str(path)), dtype=np.uint8), few / path.name)
    save_bundle(cube(), tmp_path / "cube.toml")
    rig = save_rig(Rig(robot="panda", intrinsics=LENS, bundles={"cube": cube()}), tmp_path / "desk").parent
    for told in (str(tmp_path / "cube.toml"), "cube"):
        assert main(["tags", "check", str(few), "--rig", str(rig), "--bundle", told]) == EXIT_OK
        said = " ".join(capsys.readouterr().out.split())
        assert "of 5 tags" in said
        assert "px rms beside where the bundle has them" in said
    poses = dict(cube().Ts_bundle_tag)
    poses[0] = poses[0] @ Transform.from_translation((0.03, 0.0, 0.0))
    save_bundle(replace(cube(), Ts_bundle_tag=poses), tmp_path / "moved.toml")
    assert main(["tags", "check", str(few), "--rig", str(rig), "--bundle", str(tmp_path / "moved.toml")]) == EXIT_FOUND
    assert "Not where the bundle has it: 0." in " ".join(capsys.readouterr().out.split())


def test_what_is_told_is_printed_as_the_library_prints_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flat = TagBundle.of([(3, Transform.identity(), 0.04), (9, Transform.from_translation((0.07, 0.0, 0.0)), 0.05)])
    rig = save_rig(
        Rig(robot="panda", boards={"desk": BOARD}, bundles={"front": flat}, tag_sizes={4: 0.03}), tmp_path / "desk"
    ).parent
    expected = save_tags_pdf("36h11", [4, 2], 0.03, tmp_path / "expected.pdf").read_bytes()
    out = tmp_path / "out.pdf"
    assert main(["tags", "print", str(out), "--ids", "4", "2", "--size-mm", "30"]) == EXIT_OK
    assert out.read_bytes() == expected
    assert "measure the ruler" in capsys.readouterr().err
    assert main(["tags", "print", str(out), "--ids", "4", "--rig", str(rig)]) == EXIT_OK
    assert out.read_bytes() == save_tags_pdf("36h11", [4], 0.03, tmp_path / "expected.pdf").read_bytes()
    board = save_board_pdf(BOARD, tmp_path / "expected.pdf", page="A3").read_bytes()
    described = ["--columns", "5", "--rows", "4", "--square-mm", "40", "--marker-mm", "30"]
    for words in (described, ["--rig", str(rig)], ["--rig", str(rig), "--board", "desk"]):
        out.unlink()
        assert main(["tags", "print", str(out), "--page", "A3", *words]) == EXIT_OK
        assert out.read_bytes() == board
    assert main(["tags", "print", str(out), "--rig", str(rig), "--bundle", "front"]) == EXIT_OK
    assert out.read_bytes() == save_bundle_pdf(flat, tmp_path / "expected.pdf").read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Nothing to print is told"),
        (["--ids", "1"], "No size of the tags is known"),
        (["--ids", "1", "--size-mm", "-4"], "must be positive"),
        (["--ids", "1", "--size-mm", "400"], "do not fit A4"),
        (["--ids", "1", "--size-mm", "40", "--columns", "4"], "both told"),
        (["--ids", "1", "2", "--rig", "desk"], "measure 30, 50 mm in the rig"),
        (["--columns", "4"], "only one of them is told"),
        (["--columns", "4", "--rows", "4", "--marker-mm", "50"], "cannot be"),
        (["--rig", "desk", "--board", "table"], "No board 'table' is known"),
        (["--bundle", "none.toml"], "Could not read none.toml"),
    ],
)
def test_what_cannot_be_printed_is_one_sentence_and_leaves_no_file(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save_rig(Rig(robot="panda", tag_sizes={1: 0.03, 2: 0.05}), Path("desk"))
    assert main(["tags", "print", "out.pdf", *words]) == EXIT_ERROR
    assert said in " ".join(capsys.readouterr().err.split())
    assert not Path("out.pdf").exists()
