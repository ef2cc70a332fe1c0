"""Bundles and boards in files: what is saved is loaded, and each malformed one is refused by the name of its key."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vision_ik.errors import ConfigError
from vision_ik.layouts import load_bundle, save_bundle
from vision_ik.rig import Rig, load_rig, save_rig
from vision_ik.transforms import Transform
from vision_ik.types import CharucoBoard, TagBundle

BUNDLE = TagBundle.of(
    [
        (7, Transform.identity(), 0.04),
        (3, Transform.exp([0.03, -0.01, -0.02, 0.4, 1.5, -0.2]), 0.04),
        (12, Transform.exp([-0.03, 0.0, -0.02, 0.0, -1.5, 0.0]), 0.0333),
    ],
    "25h9",
)


def same(one: TagBundle, other: TagBundle) -> bool:
    return (
        one.family == other.family
        and dict(one.sizes) == pytest.approx(dict(other.sizes), rel=1e-9)
        and list(one.Ts_bundle_tag) == list(other.Ts_bundle_tag)
        and all(np.allclose(T.matrix, other.Ts_bundle_tag[i].matrix, atol=1e-8) for i, T in one.Ts_bundle_tag.items())
    )


def test_a_bundle_comes_back_from_its_own_file_and_from_the_rig(tmp_path: Path) -> None:
    path = save_bundle(BUNDLE, tmp_path / "cube.toml", comment="learned from a video\nrms 0.08 px")
    assert path.read_text().startswith("# learned from a video\n# rms 0.08 px\n")
    assert same(load_bundle(path), BUNDLE)
    one = TagBundle.of([(0, Transform.identity(), 0.05)])
    assert same(load_bundle(save_bundle(one, tmp_path / "one.toml")), one)
    save_rig(Rig(robot="panda", bundles={"cube": BUNDLE, "one": one}), tmp_path)
    rig = load_rig(tmp_path)
    assert same(rig.bundles["cube"], BUNDLE)
    assert same(rig.bundles["one"], one)


def test_a_diamond_comes_back_from_the_rig(tmp_path: Path) -> None:
    diamond = CharucoBoard.diamond((45, 7, 12, 30), 0.03, 0.02)
    save_rig(Rig(robot="panda", boards={"diamond": diamond}), tmp_path)
    assert load_rig(tmp_path).boards["diamond"] == diamond


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "tags: a bundle needs at least one tag"),
        ("[tags.3]\nsize_mm = 40", "tags.3.translation: it must be a list of 3 numbers"),
        ("[tags.3]\ntranslation = [0, 0, nan]\nsize_mm = 40", "tags.3.translation: every entry"),
        ("[tags.3]\ntranslation = [0, 0, 0]", "tags.3.size_mm: the tag has no size"),
        ("[tags.3]\ntranslation = [0, 0, 0]\nsize_mm = 0", "tags.3.size_mm"),
        ("[tags.3]\ntranslation = [0, 0, 0]\nsize_mm = -4.0", "tags.3.size_mm"),
        ("size_mm = inf\n[tags.3]\ntranslation = [0, 0, 0]", "size_mm"),
        ("size_mm = 4\n[tags.3]\ntranslation = [0, 0, 0]\n[tags.03]\ntranslation = [1, 0, 0]", "tag 3 is listed twice"),
        ("size_mm = 4\n[tags.3]\ntranslation = [0, 0, 0]\n[tags.3]\ntranslation = [1, 0, 0]", "is not TOML"),
        ("size_mm = 4\n[tags.three]\ntranslation = [0, 0, 0]", "tags.three: the id of a tag"),
        ("size_mm = 4\n[tags.3]\ntranslation = [0, 0, 0]\nrotation_xyzw = [0, 0, 0, 2]", "tags.3.rotation_xyzw"),
        ("size_mm = 4\n[tags.3]\nposition = [0, 0, 0]", "tags.3.position is not a known key"),
        ("size_mm = 4\ntags = 3", "tags: it must be a table"),
        ("family = 36\nsize_mm = 4\n[tags.3]\ntranslation = [0, 0, 0]", "family: it must be the name of a family"),
    ],
)
def test_a_malformed_bundle_is_refused_by_the_name_of_the_key(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "cube.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_bundle(path)
    assert words in caught.value.cause
    assert "cube.toml" in caught.value.cause


def test_a_bundle_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml"):
        load_bundle(tmp_path / "none.toml")


def test_a_malformed_bundle_of_a_rig_is_named_with_its_table(tmp_path: Path) -> None:
    (tmp_path / "rig.toml").write_text('robot = "panda"\n[bundles.cube.tags.3]\ntranslation = [0, 0, 0]\n')
    with pytest.raises(ConfigError, match=r"bundles\.cube\.tags\.3\.size_mm"):
        load_rig(tmp_path)


@pytest.mark.parametrize("ids", ["[1, 2, 3]", "[1, 2, 2, 3]", '["1", 2, 3, 4]', "[-1, 2, 3, 4]", "7"])
def test_malformed_ids_of_a_diamond_are_refused(tmp_path: Path, ids: str) -> None:
    board = f'kind = "charuco"\ncolumns = 3\nrows = 3\nsquare_m = 0.03\nmarker_m = 0.02\nids = {ids}\n'
    (tmp_path / "rig.toml").write_text(f'robot = "panda"\n[boards.diamond]\n{board}')
    with pytest.raises(ConfigError, match=r"boards\.diamond"):
        load_rig(tmp_path)
