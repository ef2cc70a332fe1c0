"""The main job as a user runs it: its accuracy, and its pace with pictures and video included."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from vision_ik.cli import demo
from vision_ik.cli.benches import Figure, Level

TITLE = "The demo: accuracy against the truth, and pace with rendering, overlay and video"


def run(*, level: Level = Level.NORMAL) -> list[Figure]:
    """Run the demo with several seeds; give the median of each figure, and the worst pace."""
    seconds = level.pick(quick=5.0, normal=20.0, full=20.0)
    runs = [_one(seed, seconds=seconds) for seed in range(level.pick(quick=1, normal=3, full=5))]
    note = f"median of {len(runs)} seeds; Panda, 15 planned views, arm 0.3 mm / 0.05 deg off, pictures 50 ms late"
    pace = min(_at(metrics, "loop.real_time_factor") for metrics in runs)
    return [
        _median(runs, "camera found, error", "hand_eye.error_mm", "mm", 1.5, note),
        _median(runs, "camera found, error", "hand_eye.error_deg", "deg", 0.2, note),
        _median(runs, "camera found, predicted", "hand_eye.sigma_mm", "mm", None, note),
        _median(runs, "tag at rest, true error", "at_rest.true_median_mm", "mm", 1.5, note),
        _median(runs, "tag at rest, true error", "at_rest.true_median_deg", "deg", 0.3, note),
        _median(runs, "moving tag, true error rms", "tracking.true_rms_mm", "mm", None, note),
        _median(runs, "IK, one solve in the loop", "ik.median_us", "us", None, note),
        Figure(
            name="pace of the loop, times real time",
            value=pace,
            target="at least 1",
            met=pace >= 1.0,
            note=f"slowest of {len(runs)} runs, wall time; camera and scene rendered, drawn, encoded",
        ),
        _median(runs, "calibration, wall time", "hand_eye.wall_s", "s", None, note),
    ]


def _one(seed: int, *, seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        demo.run(demo.Options(seed=seed, seconds=seconds, headless=True, out=out))
        return json.loads((out / "metrics.json").read_text(encoding="utf-8"))


def _median(runs: list[dict[str, Any]], name: str, key: str, unit: str, most: float | None, note: str) -> Figure:
    values = sorted(_at(metrics, key) for metrics in runs)
    value = values[len(values) // 2]
    if most is None:
        return Figure(name=name, value=value, unit=unit, note=note)
    return Figure(name=name, value=value, unit=unit, target=f"at most {most:g}", met=value <= most, note=note)


def _at(metrics: dict[str, Any], key: str) -> float:
    room, name = key.split(".")
    return float(metrics[room][name])
