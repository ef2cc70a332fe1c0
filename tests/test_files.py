"""Atomic writing: whatever happens, the file is the old one or the new one, whole."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from vision_ik.errors import RecordingError
from vision_ik.files import claimed_folder, write_atomic


@pytest.mark.parametrize(("data", "stored"), [("é\n", b"\xc3\xa9\n"), (b"\x00\xff", b"\x00\xff"), ("", b"")])
def test_text_is_stored_as_utf8_and_bytes_as_they_are(tmp_path: Path, data: str | bytes, stored: bytes) -> None:
    path = write_atomic(tmp_path / "new" / "folder" / "file.bin", data)
    assert path.read_bytes() == stored
    assert [each.name for each in path.parent.iterdir()] == ["file.bin"]


def test_a_new_file_replaces_the_old_one_and_others_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "rig.toml"
    write_atomic(path, "old and longer")
    write_atomic(str(path), "new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o444 == 0o444


@pytest.mark.parametrize("step", ["os.fsync", "Path.replace"])
def test_a_crash_before_the_rename_leaves_the_old_file(tmp_path: Path, step: str) -> None:
    path = tmp_path / "rig.toml"
    path.write_text("old")
    script = f"""
import os
from pathlib import Path
from vision_ik.files import write_atomic
{step} = lambda *_: os._exit(9)
write_atomic({str(path)!r}, "new" * 100_000)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 9
    assert path.read_text() == "old"


def _failing(code: int) -> Any:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize(
    ("owner", "name", "code", "said"),
    [
        (tempfile, "mkstemp", errno.EACCES, "Permission denied"),
        (tempfile, "mkstemp", errno.EROFS, "Read-only file system"),
        (os, "fsync", errno.ENOSPC, "No space left"),
        (Path, "replace", errno.EPERM, "not permitted"),
    ],
)
def test_a_failed_write_says_why_keeps_the_old_file_and_leaves_no_rubbish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, code: int, said: str
) -> None:
    path = tmp_path / "rig.toml"
    path.write_text("old")
    monkeypatch.setattr(owner, name, _failing(code))
    with pytest.raises(RecordingError, match=said) as caught:
        write_atomic(path, "new")
    monkeypatch.undo()
    assert str(path) in caught.value.cause
    assert "folder you may write to" in caught.value.remedy
    assert caught.value.facts["path"] == path
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["rig.toml"]


def test_an_interrupt_while_writing_leaves_the_old_file_and_no_rubbish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "rig.toml"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["rig.toml"]


def test_a_folder_that_is_really_a_file_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(RecordingError, match="Could not write"):
        write_atomic(tmp_path / "taken" / "rig.toml", "new")
    with pytest.raises(RecordingError, match="directory"):
        write_atomic(tmp_path, "new")


def test_a_folder_is_claimed_by_one_at_a_time_and_free_afterwards(tmp_path: Path) -> None:
    with claimed_folder(tmp_path / "deep" / "out") as out:
        (out / "run.csv").write_text("kept")
        with pytest.raises(RecordingError, match="Another run is writing into"), claimed_folder(out):
            pytest.fail("two have it")
    with claimed_folder(out):
        assert (out / "run.csv").read_text() == "kept"


def test_a_folder_that_nothing_was_written_into_is_not_left_behind(tmp_path: Path) -> None:
    with claimed_folder(tmp_path / "out"):
        pass
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["file", "file/under"])
def test_a_file_is_no_folder_to_write_into(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RecordingError, match="not a folder: a file has that name"), claimed_folder(tmp_path / name):
        pytest.fail("it is a file")
    assert (tmp_path / "file").read_text() == "mine"
