"""Dictionaries from files and from pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tags_scene import STRAIGHT, facing, frame_of, pixels, tag_view

from vision_ik.errors import ConfigError, RecordingError, TagError
from vision_ik.tags import (
    MarkerDictionary,
    TagDetector,
    learn_dictionary,
    list_families,
    load_dictionary,
    render_marker,
    save_dictionary,
)
from vision_ik.types import tag_corners

GOOD = """\
name = "mine"
bits = 4
max_correction = 1
[markers]
0 = ["1011", "0001", "0111", "0000"]
1 = ["1110", "0101", "0000", "1101"]
"""


def test_a_dictionary_survives_its_file(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(GOOD)
    dictionary = load_dictionary(tmp_path / "mine.toml")
    save_dictionary(dictionary, tmp_path / "copy.toml", comment="Two markers.\n\nMade by hand.")
    copy = load_dictionary(tmp_path / "copy.toml")
    np.testing.assert_array_equal(copy.patterns, dictionary.patterns)
    assert (copy.name, copy.max_correction) == ("mine", 1)
    assert (tmp_path / "copy.toml").read_text().startswith("# Two markers.\n#\n# Made by hand.\nname")
    np.testing.assert_array_equal(dictionary.patterns[0][0], [1, 0, 1, 1])


def test_markers_of_a_file_are_found_upright(tmp_path: Path) -> None:
    path = str(tmp_path / "mine.toml")
    Path(path).write_text(GOOD)
    T_camera_tag = facing(0.0, 0.01, 0.25, roll_deg=140, tilt_deg=30)
    found = TagDetector(path).detect(frame_of(tag_view(path, 1, 0.05, T_camera_tag, STRAIGHT)))
    assert [(d.tag_id, d.family) for d in found] == [(1, "mine")]
    np.testing.assert_allclose(found[0].corners, pixels(tag_corners(0.05), T_camera_tag, STRAIGHT), atol=0.15)


@pytest.mark.parametrize(
    ("old", "new", "cause"),
    [
        ('name = "mine"', "", "lacks 'name'"),
        ("[markers]", "[marks]", "lacks 'markers'"),
        ('"0001"', '"001"', "marker 0 needs 4 strings"),
        ('"0001"', '"00x1"', "marker 0 needs 4 strings"),
        ("1 = [", "5 = [", "lacks '1'"),
        ("max_correction = 1", "max_correction = 9", "cannot be corrected"),
        ('1 = ["1110", "0101", "0000", "1101"]', '1 = ["1110", "1010", "0010", "1000"]', "equal"),
        ("bits = 4", "bits = 40", "needs 40 strings"),
        ("bits = 4", 'bits = "four"', "malformed"),
        ("bits = 4", "bits = ", "malformed"),
    ],
)
def test_a_malformed_file_is_named_with_its_fault(tmp_path: Path, old: str, new: str, cause: str) -> None:
    assert old in GOOD
    (tmp_path / "bad.toml").write_text(GOOD.replace(old, new))
    with pytest.raises(ConfigError, match=rf"bad\.toml.*{cause}"):
        TagDetector(tmp_path / "bad.toml")


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        TagDetector("nowhere.toml")


def test_a_name_that_would_break_the_file_is_refused(tmp_path: Path) -> None:
    dictionary = MarkerDictionary(name='a"b', patterns=np.eye(3, dtype=np.uint8)[None] ^ np.eye(3, k=1, dtype=np.uint8))
    with pytest.raises(RecordingError, match="cannot be named"):
        save_dictionary(dictionary, tmp_path / "x.toml")


@pytest.mark.parametrize("shape", [(4, 4), (1, 4, 5), (0, 4, 4), (1, 2, 2), (1, 9, 9)])
def test_patterns_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="dictionary holds"):
        MarkerDictionary(name="x", patterns=np.zeros(shape, dtype=np.uint8))


def test_patterns_are_learned_from_pictures_of_them() -> None:
    ids, views = (3, 11, 40), []
    for k in range(3):
        tags = [
            tag_view(
                "5x5_100", tag_id, 0.03, facing(0.06 * (i - 1), 0, 0.25, roll_deg=37 * (k + 1) * (i + 1)), STRAIGHT
            )
            for i, tag_id in enumerate(ids)
        ]
        views.append(np.where(tags[0] != 150, tags[0], np.where(tags[1] != 150, tags[1], tags[2])))
    learned = learn_dictionary([frame_of(v, noise=1.0).image for v in views], 5, name="found")
    assert len(learned.patterns) == 3
    truth = {render_marker("5x5_100", i, 1)[1:-1, 1:-1].tobytes() for i in ids}
    for pattern in learned.patterns:
        turns = {(np.rot90(pattern, k) * np.uint8(255)).tobytes() for k in range(4)}
        assert len(turns & truth) == 1


def test_what_is_seen_in_one_picture_only_is_not_learned() -> None:
    once = frame_of(tag_view("5x5_100", 3, 0.05, facing(0, 0, 0.25), STRAIGHT)).image
    with pytest.raises(TagError, match="No marker of 5x5 bits"):
        learn_dictionary([once, np.full_like(once, 90)], 5)
    assert len(learn_dictionary([once], 5, min_views=1).patterns) == 1


def test_the_bundled_dictionary_is_listed_and_keeps_its_distance() -> None:
    assert "mip_25h7_sample" in list_families()
    file = Path(load_dictionary.__code__.co_filename).parent / "patterns" / "mip_25h7_sample.toml"
    dictionary = load_dictionary(file)
    assert dictionary.patterns.shape == (3, 5, 5)
    assert dictionary.distance >= 7
