"""The verb for printed tags: a bundle learned from pictures, and boards checked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from vision_ik.cli.benches._boards_scenes import CONDITIONS, LENS, board_shot, cube, film
from vision_ik.cli.main import EXIT_ERROR, EXIT_FOUND, EXIT_OK, main
from vision_ik.layouts import load_bundle
from vision_ik.rig import Rig, load_rig, save_rig
from vision_ik.types import CharucoBoard, Image

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


def test_a_board_is_checked_as_the_rig_describes_it_and_one_must_be_described(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store(board_shot(BOARD, CONDITIONS, 3).frame.image, tmp_path / "photo.png")
    rig = save_rig(Rig(robot="panda", boards={"desk": BOARD}), tmp_path / "desk").parent
    assert main(["tags", "check", str(tmp_path / "photo.png"), "--rig", str(rig)]) == EXIT_OK
    assert "10 of 10 markers" in capsys.readouterr().out
    assert main(["tags", "check", str(tmp_path / "photo.png")]) == EXIT_ERROR
    assert "No board is described" in capsys.readouterr().err
