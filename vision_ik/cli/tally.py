"""What a run amounted to, counted while it goes."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vision_ik.control import Mode, ServoStep, Verdict
from vision_ik.types import IkStatus

_NUMBER = re.compile(r"-?\d+(\.\d+)?")


@dataclass(slots=True, kw_only=True)
class Tally:
    """Counts and series of one run; feed it every step."""

    frames: int = 0
    frames_with_tags: int = 0
    sightings: Counter[int] = field(default_factory=Counter[int])
    """Frames in which each tag was seen, by id."""
    shared: Counter[int] = field(default_factory=Counter[int])
    """Frames in which several tags had one id, by id."""
    modes: Counter[str] = field(default_factory=Counter[str])
    """Control steps in each mode of the supervisor."""
    reasons: Counter[str] = field(default_factory=Counter[str])
    """Control steps not tracked, by their reason; its numbers are left out."""
    ik_status: Counter[str] = field(default_factory=Counter[str])
    ik_durations: list[float] = field(default_factory=list[float])
    """[s] Wall time of each solve."""
    see_durations: list[float] = field(default_factory=list[float])
    """[s] Wall time of detection and pose estimation, by frame."""
    clipped: Counter[str] = field(default_factory=Counter[str])
    stop: Verdict | None = None
    """Why the supervisor stopped the arm, if it did."""

    def add(self, step: ServoStep) -> None:
        """Count one control step."""
        self.modes[step.verdict.mode.value] += 1
        if step.verdict.mode is Mode.STOPPED:
            self.stop = step.verdict
        if step.verdict.mode is not Mode.TRACKING and step.verdict.reason:
            self.reasons[_NUMBER.sub("…", step.verdict.reason.split(";")[0])] += 1
        if step.frame is not None:
            self.frames += 1
            self.frames_with_tags += bool(step.detections)
            seen = Counter(detection.tag_id for detection in step.detections)
            self.sightings.update(seen.keys())
            self.shared.update(tag_id for tag_id, count in seen.items() if count > 1)
            self.see_durations.append(step.timings.get("see", float("nan")))
        if step.solution is not None:
            self.ik_status[step.solution.status.name.lower()] += 1
            self.ik_durations.append(step.solution.duration)
        if step.command is not None:
            self.clipped.update(step.command.clipped_by)

    @property
    def ik_success(self) -> float:
        """Share of solves that converged, NaN when none was asked for."""
        total = sum(self.ik_status.values())
        return self.ik_status[IkStatus.CONVERGED.name.lower()] / total if total else float("nan")

    def summary(self) -> dict[str, Any]:
        """Return the figures for metrics.json."""
        ik_us = 1e6 * np.array(self.ik_durations) if self.ik_durations else np.array([np.nan])
        return {
            "frames": self.frames,
            "frames_with_tags": self.frames_with_tags,
            "tags_seen": {str(tag): count for tag, count in sorted(self.sightings.items())},
            "tags_sharing_an_id": {str(tag): count for tag, count in sorted(self.shared.items())},
            "control_steps": dict(self.modes),
            "reasons": dict(self.reasons.most_common(5)),
            "ik": {
                "solves": len(self.ik_durations),
                "success": self.ik_success,
                "status": dict(self.ik_status),
                "median_us": float(np.median(ik_us)),
                "p99_us": float(np.percentile(ik_us, 99)),
            },
            "see_median_ms": 1e3 * float(np.median(self.see_durations)) if self.see_durations else None,
            "clipped": dict(self.clipped),
            "stopped_by": None if self.stop is None else {"reason": self.stop.reason, "remedy": self.stop.remedy},
        }
