"""The main job, whole but short: calibrate, follow, rest, report."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import av
import pytest

from vision_ik.cli.main import main
from vision_ik.rig import load_rig

pytest.importorskip("pybullet", reason="PyBullet has no wheel for this Python")
pytest.importorskip("open3d")
ROOT = Path(__file__).parents[2]


def test_the_demo_finds_its_camera_follows_the_tag_and_knows_how_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, str(ROOT / "demo.py"), "--seconds", "4", "--views", "8", "--headless", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    metrics = json.loads(done.stdout)
    assert metrics == json.loads(Path("out/demo/metrics.json").read_text())

    eye = metrics["hand_eye"]
    assert eye["views"] == 8
    assert eye["error_mm"] < 1.5
    assert eye["error_deg"] < 0.2
    assert 0.05 < eye["sigma_mm"] < 1.5
    assert metrics["tracking"]["true_rms_mm"] < 3.0
    assert metrics["at_rest"]["true_median_mm"] < 1.5
    assert metrics["at_rest"]["true_median_deg"] < 0.3
    assert metrics["ik"]["success"] > 0.99
    assert "camera found" in done.stderr

    rig = load_rig("out/demo/rig")
    assert rig.mount == "eye_to_hand"
    assert rig.camera_covariance is not None
    with av.open("out/demo/demo.mp4") as video:
        # One picture for two frames of the loop, and the time lapse of the calibration before them.
        assert sum(1 for _ in video.decode(video=0)) > metrics["frames"] / 2
    assert Path("out/demo/report.html").stat().st_size > 50_000


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--views", "3"], "3 views"),
        (["--seconds", "0"], "--seconds"),
        (["--robot", "pandaa"], "panda"),
        (["--camera", "nothing.mp4"], "nothing.mp4"),
        (["--exposure-ms", "8"], "--camera"),
    ],
)
def test_a_demo_that_cannot_run_says_why(
    words: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--headless", *words]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert "help:" in said
